/** The inside half of a recording of hugetlb pools: what following their free lists looks at, with the same pages by kpageflags. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Btf } from '../../../model/kernel/btf.ts';
import {
  POOL_SYMBOLS,
  POOL_TYPES,
  readFreeHugePages,
  resolvePools,
} from '../../../model/kernel/huge-pools.ts';
import { openHost } from '../../../sampler/access.ts';
import { openKernel, readKernel } from '../../../sampler/kernel.ts';
import { KernelImage, RecordingMemory } from '../../kernel-image.ts';
import type { RecordedPools } from '../../recorded-pools.ts';
import { Buffers } from './buffers.ts';
import { freeHugePages, freeInSysfs } from './free-huge-pages.ts';
import { kallsymsOf } from './kallsyms.ts';
import { trimBtf } from './trim-btf.ts';

const SIZES = [2 ** 21, 2 ** 30];
/** Taken out of the pool while it is recorded, and taken and given back before, so that the list is in no order. */
const kept = ['--memfd', 'huge2m,8M'];
const returned = ['--memfd', 'huge2m,64M'];

/** Records the pools of this machine below `out`. To be run as root in a rig VM with both sizes of huge pages. */
export async function recordPools(out: string, helper: string): Promise<void> {
  mkdirSync(out, { recursive: true });
  const first = await Buffers.start([helper], returned);
  const second = await Buffers.start([helper], kept);
  await first.quit();
  try {
    const { files, native } = openHost();
    const opened = await openKernel(files, native, readKernel(files));
    if (opened.state !== 'ok') throw new Error(JSON.stringify(opened));
    const { memory, layout } = opened.value;
    const btf = trimBtf(readFileSync('/sys/kernel/btf/vmlinux'), POOL_TYPES);
    const symbols = kallsymsOf(POOL_SYMBOLS);
    const pools = resolvePools(Btf.parse(btf, POOL_TYPES), symbols);
    if ('missing' in pools) throw new Error(pools.missing);
    const recording = new RecordingMemory(memory);
    const free: RecordedPools['free'][number][] = [];
    for (const bytes of SIZES) {
      const pfns = freeHugePages(bytes);
      if (pfns.length !== freeInSysfs(bytes))
        throw new Error(`${pfns.length} free by kpageflags, ${freeInSysfs(bytes)} by sysfs`);
      const live = await readFreeHugePages(recording, layout.page, pools, bytes, [0]);
      if (live.state !== 'whole') throw new Error(`the pool of ${bytes} is ${live.state}`);
      free.push({ bytes, pfns });
    }
    const gz = recording.image.encode();
    for (const { bytes } of free) {
      const read = (from: KernelImage | typeof memory) =>
        readFreeHugePages(from, layout.page, pools, bytes, [0]);
      if (!isDeepStrictEqual(await read(memory), await read(KernelImage.decode(gz))))
        throw new Error('the recording does not read as the machine');
    }
    const hex = (value: bigint) => `0x${value.toString(16)}`;
    const told: RecordedPools = {
      symbols: Object.fromEntries([...symbols].map(([name, at]) => [name, hex(at)])),
      page: { bytes: layout.page.bytes, vmemmap: hex(layout.page.vmemmap) },
      free,
    };
    writeFileSync(join(out, 'btf'), btf);
    writeFileSync(join(out, 'memory.gz'), gz);
    writeFileSync(join(out, 'pools.json'), `${JSON.stringify(told)}\n`);
    writeFileSync(join(out, 'COMMANDS.md'), notes);
    memory.close();
  } finally {
    await second.quit();
  }
}

const notes = `# Pools of huge pages

Made by \`node dist/rig/rig.js record-pools\` (test/rig/guest/record-pools.ts) on the machine that the file above this directory
describes, in a boot of its own. \`buffers ${returned.join(' ')}\` has ended, so that what it had is back in another order, and
\`buffers ${kept.join(' ')}\` holds four pages.

| file | what it is |
|---|---|
| \`btf\` | /sys/kernel/btf/vmlinux, only ${POOL_TYPES.join(', ')} and what they hold by value |
| \`memory.gz\` | kernel memory: the bytes that following the free lists looked at |
| \`pools.json\` | \`grep\` of /proc/kallsyms for ${POOL_SYMBOLS.join(' and ')}; bytes of a struct page and the value of vmemmap_base; free pages: heads of hugetlb pages in /proc/kpageflags whose /proc/kpagecount is 0, as many as free_hugepages |
`;
