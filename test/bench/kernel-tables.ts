import { readFileSync } from 'node:fs';
import { WANTED_SYMBOLS } from '../../model/kernel/layout.ts';
import { HostFiles } from '../../sampler/files.ts';
import { readKernel, scanKallsyms } from '../../sampler/kernel.ts';
import { alternate, type Bench, Skip } from './result.ts';
import { timed } from './timed.ts';

/** Understanding BTF and /proc/kallsyms (what a kernel without tables in VMCOREINFO needs), against only reading both files. */
export const kernelTables: Bench = {
  name: 'btf-and-kallsyms',
  async run() {
    const files = new HostFiles();
    if (files.head('/sys/kernel/btf/vmlinux', 1).state !== 'ok') throw new Skip('this kernel has no BTF');
    const { value, baseline, ratio } = await alternate(
      7,
      () =>
        timed(async () => {
          readFileSync('/sys/kernel/btf/vmlinux');
          readFileSync('/proc/kallsyms');
        }),
      () =>
        timed(async () => {
          readKernel(files);
          scanKallsyms(files, WANTED_SYMBOLS);
        }),
    );
    return { name: this.name, unit: 'ms', value, baseline, ratio };
  },
};
