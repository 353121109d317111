import type { Btf } from './btf.ts';
import { u32, wordsOf } from './bytes.ts';
import type { KernelLayout, Missing } from './layout.ts';
import type { ListLayout } from './list.ts';
import type { KernelMemory } from './memory.ts';

/*
 * Which pages of a hugetlb pool are free: the lists of `struct hstate` (include/linux/hugetlb.h), a pool for each page size, in it a
 * list for each node, whose links lie in the struct pages themselves. Nothing else tells: sysfs counts free pages by node, and the
 * kernel says of no page that it is in a pool but by its own map.
 */

/** Types and symbols that {@link resolvePools} looks for; only asked for where they matter. */
export const POOL_TYPES = ['hstate', 'list_head', 'folio'] as const;
export const POOL_SYMBOLS = ['hstates', 'hugetlb_max_hstate'] as const;

/** Where the pools are. */
export interface PoolLayout {
  /** Address of the array of pools, and of the number of those in use. */
  readonly pools: bigint;
  readonly count: bigint;
  /** Bytes of one pool. */
  readonly bytes: number;
  /** Offsets in it: log2 of its page in pages of 4 KiB; heads of the lists, and lengths as u32, one a node. */
  readonly order: number;
  readonly freeLists: number;
  readonly freeCounts: number;
  /** Nodes that the arrays have room for. */
  readonly nodes: number;
  readonly list: ListLayout;
  /** Of the link in the struct page of a free huge page's head. */
  readonly lru: number;
}

/** HUGE_MAX_HSTATE of any architecture is at most this. */
const MAX_POOLS = 16;
const MAX_ORDER = 22;
const MAX_STRUCT_BYTES = 1 << 20;
const LIST_HEAD_BYTES = 16;

/** @param btf of {@link POOL_TYPES}; `symbols` of {@link POOL_SYMBOLS}. A kernel without hugetlb has neither. */
export function resolvePools(btf: Btf, symbols: ReadonlyMap<string, bigint>): PoolLayout | Missing {
  const bytes = btf.sizeOf('hstate') ?? 0;
  const order = btf.member('hstate', 'order');
  const lists = btf.member('hstate', 'hugepage_freelists');
  const counts = btf.member('hstate', 'free_huge_pages_node');
  const [next, prev] = [btf.member('list_head', 'next'), btf.member('list_head', 'prev')];
  const lru = btf.member('folio', 'lru');
  const [pools, count] = POOL_SYMBOLS.map(name => symbols.get(name));
  if (!pools || !count) return { missing: `the symbols ${POOL_SYMBOLS.join(' and ')}` };
  if (!order || !lists || !counts || !next || !prev || !lru)
    return { missing: 'order, hugepage_freelists, free_huge_pages_node of struct hstate in BTF' };
  const nodes = Math.min(lists.size / LIST_HEAD_BYTES, counts.size / 4);
  const end = Math.max(order.offset + 4, lists.offset + lists.size, counts.offset + counts.size);
  if (bytes > MAX_STRUCT_BYTES || end > bytes || !Number.isInteger(nodes) || nodes < 1)
    return { missing: 'a believable struct hstate in BTF' };
  if (next.offset > 8 || prev.offset > 8 || lru.offset > 4096)
    return { missing: 'a believable list_head in BTF' };
  return {
    ...{ pools, count, bytes, order: order.offset, nodes, lru: lru.offset },
    ...{ freeLists: lists.offset, freeCounts: counts.offset },
    list: { next: next.offset, prev: prev.offset },
  };
}

export type FreeHugePages =
  /** PFNs of their heads, in the order of the lists. */
  | { readonly state: 'whole'; readonly pfns: Float64Array }
  /** The lists changed under every attempt. */
  | { readonly state: 'raced' }
  /** Too many for one sample, as they follow one another by no rule. */
  | { readonly state: 'scattered' }
  /** The kernel has no pool of this size. */
  | { readonly state: 'none' };

const ATTEMPTS = 4;
/** Above any PFN: 52 bits of physical address. */
const MAX_PFN = 2 ** 40;
/** Links that are read with one on each side of it: pools are filled, and emptied, along memory. */
const AHEAD = 16;
/** Reads for one pool: 130,000 pages in a row, or 4,000 that lie anywhere. */
const MAX_READS = 4096;

/**
 * Follows the free lists of one pool. The kernel changes them under hugetlb_lock, which we cannot take: each link must point back to the
 * one before, each must be the head of a huge page of this size, and the kernel's own counts must be the same before and after,
 * and the lengths of the lists.
 * @param nodes those that have memory
 */
export async function readFreeHugePages(
  memory: KernelMemory,
  page: Pick<KernelLayout['page'], 'bytes' | 'vmemmap'>,
  layout: PoolLayout,
  pageSizeBytes: number,
  nodes: readonly number[],
): Promise<FreeHugePages> {
  const pool = await findPool(memory, layout, pageSizeBytes);
  if (pool === undefined) return { state: 'none' };
  const mine = nodes.filter(node => node < layout.nodes);
  const lists: ListPlace[] = mine.map(node => ({
    head: pool + BigInt(layout.freeLists + node * LIST_HEAD_BYTES),
    count: pool + BigInt(layout.freeCounts + node * 4),
  }));
  let reads = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const counts = await readCounts(memory, lists);
    const links = new Links(memory, page, layout, pageSizeBytes / 4096, MAX_READS - reads);
    const found: number[] = [];
    let whole = counts !== undefined;
    for (const [i, { head }] of lists.entries()) {
      if (!whole) break;
      const pfns = await links.follow(head, counts?.[i] ?? 0);
      whole = pfns?.length === counts?.[i];
      for (const pfn of pfns ?? []) found.push(pfn);
    }
    reads += links.reads;
    if (reads >= MAX_READS) return { state: 'scattered' };
    const after = whole ? await readCounts(memory, lists) : undefined;
    if (after?.every((count, i) => count === counts?.[i]))
      return { state: 'whole', pfns: Float64Array.from(found) };
  }
  return { state: 'raced' };
}

interface ListPlace {
  readonly head: bigint;
  readonly count: bigint;
}

/** Address of the pool of a page size. */
async function findPool(
  memory: KernelMemory,
  layout: PoolLayout,
  pageSizeBytes: number,
): Promise<bigint | undefined> {
  const [countBytes] = await memory.read([{ address: layout.count, bytes: 4 }]);
  const count = countBytes ? Math.min(u32(countBytes, 0), MAX_POOLS) : 0;
  const pools = Array.from({ length: count }, (_, i) => layout.pools + BigInt(i * layout.bytes));
  const orders = await memory.read(
    pools.map(address => ({ address: address + BigInt(layout.order), bytes: 4 })),
  );
  return pools.find((_, i) => {
    const data = orders[i];
    const order = data ? u32(data, 0) : Number.NaN;
    return order <= MAX_ORDER && 4096 * 2 ** order === pageSizeBytes;
  });
}

async function readCounts(memory: KernelMemory, lists: readonly ListPlace[]): Promise<number[] | undefined> {
  const read = await memory.read(lists.map(({ count }) => ({ address: count, bytes: 4 })));
  const counts = read.flatMap(data => (data ? [u32(data, 0)] : []));
  return counts.length === lists.length ? counts : undefined;
}

/** The links of free huge pages, by the address of the link. */
class Links {
  private readonly known = new Map<bigint, Uint32Array>();
  reads = 0;

  constructor(
    private readonly memory: KernelMemory,
    private readonly page: Pick<KernelLayout['page'], 'bytes' | 'vmemmap'>,
    private readonly layout: PoolLayout,
    /** Pages of 4 KiB in a huge page. */
    private readonly pages: number,
    private readonly budget: number,
  ) {}

  /** PFNs of a list; `undefined`: it strayed, has more than `most`, or took too many reads. */
  async follow(head: bigint, most: number): Promise<number[] | undefined> {
    const { list } = this.layout;
    const [bytes] = await this.memory.read([{ address: head, bytes: LIST_HEAD_BYTES }]);
    if (!bytes) return undefined;
    const pfns: number[] = [];
    const ends = wordsOf(bytes);
    let before = head;
    let at = pointer(ends, list.next);
    while (at !== head) {
      const pfn = this.pfnOf(at);
      const link = pfn === undefined ? undefined : await this.at(at, pfn);
      if (pfn === undefined || !link || pointer(link, list.prev) !== before || pfns.length >= most)
        return undefined;
      pfns.push(pfn);
      before = at;
      at = pointer(link, list.next);
    }
    return pointer(ends, list.prev) === before ? pfns : undefined;
  }

  /** PFN of the huge page whose link lies at this address; `undefined`: no huge page's does. */
  private pfnOf(address: bigint): number | undefined {
    const offset = address - BigInt(this.layout.lru) - this.page.vmemmap;
    const step = BigInt(this.page.bytes * this.pages);
    if (offset < 0n || offset % step !== 0n) return undefined;
    const pfn = Number(offset / step) * this.pages;
    return pfn < MAX_PFN ? pfn : undefined;
  }

  private async at(address: bigint, pfn: number): Promise<Uint32Array | undefined> {
    const known = this.known.get(address);
    if (known || this.reads >= this.budget) return known;
    this.reads++;
    const step = BigInt(this.page.bytes * this.pages);
    const around = Array.from({ length: 2 * AHEAD + 1 }, (_, i) => i - AHEAD)
      .filter(by => pfn + by * this.pages >= 0)
      .map(by => address + BigInt(by) * step);
    const read = await this.memory.read(around.map(each => ({ address: each, bytes: LIST_HEAD_BYTES })));
    for (const [i, each] of around.entries()) {
      const data = read[i];
      // What was read first stays: a list is only whole if all of it was read in one state.
      if (data && !this.known.has(each)) this.known.set(each, wordsOf(data.slice()));
    }
    return this.known.get(address);
  }
}

const pointer = (words: Uint32Array, at: number): bigint =>
  (BigInt(words[(at >>> 2) + 1] ?? 0) << 32n) | BigInt(words[at >>> 2] ?? 0);
