import { formatBytes } from '../model/format.ts';
import { countFillable } from '../model/join/fillable.ts';
import type { FrameMap } from '../model/join/frames.ts';
import { Btf } from '../model/kernel/btf.ts';
import {
  POOL_SYMBOLS,
  POOL_TYPES,
  type PoolLayout,
  readFreeHugePages,
  resolvePools,
} from '../model/kernel/huge-pools.ts';
import { readPageblockTypes } from '../model/kernel/pages.ts';
import { absent, ok, type Reading, raced } from '../model/reading.ts';
import { type HostFiles, understood } from './files.ts';
import { kcoreFailure } from './kcore.ts';
import { BTF_PATH, findSymbols, type OpenKernel } from './kernel.ts';

export interface PoolRequest {
  readonly kernel: OpenKernel;
  readonly pageSizeBytes: number;
  /** Nodes that have memory. */
  readonly nodes: readonly number[];
  readonly frames: FrameMap | undefined;
  /** Whether the host has CMA, and the order of its pageblocks. */
  readonly hasCma: boolean;
  readonly blockOrder: number | undefined;
}

/** Reads which free pages of hugetlb pools can fill a hole. Keeps where the pools are: it holds until the next boot. */
export class PoolReader {
  private layout: Reading<PoolLayout> | undefined;

  constructor(private readonly files: HostFiles) {}

  /** Free pages of one pool that lie where a hole can be filled from. `absent` where the kernel does not tell. */
  async fillable(request: PoolRequest): Promise<Reading<number>> {
    const { kernel, pageSizeBytes, nodes, frames } = request;
    const source = '/proc/kcore';
    try {
      if (this.layout?.state !== 'ok') this.layout = await this.findPools(kernel);
      if (this.layout.state !== 'ok') return this.layout as Reading<never>;
      if (!frames) return absent(source, 'the zones of the host are not known');
      const { memory, layout } = kernel;
      const free = await readFreeHugePages(memory, layout.page, this.layout.value, pageSizeBytes, nodes);
      const pool = `the pool of ${formatBytes(pageSizeBytes)} pages`;
      if (free.state === 'none') return absent(source, `the kernel has no ${pool.slice(4)}`);
      if (free.state === 'raced')
        return raced(source, `the free list of ${pool} changed under every attempt`);
      if (free.state === 'scattered')
        return absent(source, `the free pages of ${pool} are too many and too scattered to be followed`);
      const typeOf = request.hasCma ? await this.typesOf(request, free.pfns) : undefined;
      const count = countFillable(free.pfns, frames, typeOf);
      return count === null
        ? absent(source, `zone or pageblock type of a free page of ${pool} is not known`)
        : ok(source, count);
    } catch (error) {
      return kcoreFailure(error);
    }
  }

  private async typesOf(
    { kernel: { memory, layout }, blockOrder }: PoolRequest,
    pfns: Float64Array,
  ): Promise<(pfn: number) => string | null> {
    const { pageblocks } = layout;
    if (!pageblocks || blockOrder === undefined) return () => null;
    const values = await readPageblockTypes(memory, pageblocks, pfns, blockOrder);
    const rows = new Map([...pfns].map((pfn, row) => [pfn, row]));
    return pfn => pageblocks.types.get(values[rows.get(pfn) ?? -1] ?? -1) ?? null;
  }

  private async findPools({ memory }: OpenKernel): Promise<Reading<PoolLayout>> {
    const btf = understood(this.files.bytes(BTF_PATH), data => Btf.parse(data, POOL_TYPES));
    if (btf.state !== 'ok') return btf as Reading<never>;
    const symbols = await findSymbols(this.files, memory, POOL_SYMBOLS);
    if (symbols.state !== 'ok') return symbols as Reading<never>;
    const layout = resolvePools(btf.value, symbols.value.addresses);
    return 'missing' in layout
      ? absent(BTF_PATH, `this kernel lacks ${layout.missing}`)
      : ok(BTF_PATH, layout);
  }
}
