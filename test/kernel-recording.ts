/** Recorded kernels, in `kernel/` of the hosts of test/fixtures: layouts, memory, and what other sources say of it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { Btf } from '../model/kernel/btf.ts';
import { parseCoreHeader } from '../model/kernel/elf.ts';
import { type KernelLayout, resolveLayout, WANTED_TYPES } from '../model/kernel/layout.ts';
import { hostsWith } from './fixtures.ts';
import type { Expected } from './kernel-expected.ts';
import { KernelImage } from './kernel-image.ts';

/** One recorded kernel. Everything that may be changed by a test is made anew at every call. */
export class RecordedKernel {
  readonly expected: Expected;
  readonly btf: Uint8Array;
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly vmemmap: bigint;
  readonly head: Uint8Array;
  readonly vmcoreinfo: ReadonlyMap<string, string>;
  readonly layout: KernelLayout;
  private readonly image: KernelImage;

  constructor(
    /** `6.12` */
    readonly id: string,
    private readonly directory: string,
  ) {
    this.expected = JSON.parse(this.text('expected.json'));
    this.btf = new Uint8Array(readFileSync(`${directory}/btf`));
    const { symbols, vmemmap } = JSON.parse(this.text('symbols.json')) as {
      symbols: Record<string, string>;
      vmemmap: string;
    };
    this.symbols = new Map(Object.entries(symbols).map(([name, address]) => [name, BigInt(address)]));
    this.vmemmap = BigInt(vmemmap);
    this.head = new Uint8Array(this.unpacked('kcore-head.gz'));
    this.vmcoreinfo = parseCoreHeader(this.head).vmcoreinfo;
    const layout = resolveLayout(
      Btf.parse(this.btf, WANTED_TYPES),
      this.symbols,
      this.vmcoreinfo,
      this.vmemmap,
    );
    if ('missing' in layout) throw new Error(`${id}: ${layout.missing}`);
    this.layout = layout;
    this.image = KernelImage.decode(readFileSync(`${directory}/memory.gz`));
  }

  text(name: string): string {
    return readFileSync(`${this.directory}/${name}`, 'utf8');
  }

  unpacked(name: string): Buffer {
    return gunzipSync(readFileSync(`${this.directory}/${name}`));
  }

  /** Its memory, free to be changed. */
  memory(): KernelImage {
    return this.image.clone();
  }
}

export const recordedKernels: readonly RecordedKernel[] = hostsWith('/kernel/expected.json').map(
  host =>
    new RecordedKernel(
      host.replace('linux-', ''),
      fileURLToPath(new URL(`./fixtures/${host}/kernel`, import.meta.url)),
    ),
);
