import { wordsOf } from './bytes.ts';
import { type PageCache, pageAddress } from './memory.ts';

/** Offsets in `struct list_head`. */
export interface ListLayout {
  readonly next: number;
  readonly prev: number;
}

export interface ListWalk {
  /** Addresses of the nodes (of their `list_head`, not of what holds it); empty unless asked for. */
  readonly nodes: readonly bigint[];
  readonly count: number;
  /** The walk came back to the head, and every node pointed back to the one before it. */
  readonly whole: boolean;
}

/** Pages in the span of a pointer's low word. */
const PAGES_4G = 0x10_0000;
/** Page numbers of the upper half of the address space; list poison (0xdead…, 0x100) and NULL are outside it. */
const FIRST_KERNEL_PAGE = 0xff00_0000 * 0x10_0000;

/** Whether a pointer may be one to kernel memory. */
export const isKernelAddress = (address: bigint): boolean => address >= 0xff00_0000_0000_0000n;

/**
 * Follows a circular list of include/linux/list.h. Each node must point back to the one before it (list_add and list_del keep
 * that but for the instant of the change), so a walk that strayed is noticed; `whole` is false then, and when there are more
 * than `limit` nodes. Works on page numbers and offsets: a list of 65,536 nodes takes no BigInt.
 */
export async function followList(
  cache: PageCache,
  list: ListLayout,
  head: bigint,
  limit: number,
  collect: boolean,
): Promise<ListWalk> {
  const nodes: bigint[] = [];
  let count = 0;
  const headPage = Number(head >> 12n);
  const headOffset = Number(head & 0xfffn);
  let page = headPage;
  let offset = headOffset;
  let beforePage = -1;
  let beforeOffset = -1;
  const end = (whole: boolean): ListWalk => ({ nodes, count, whole });
  /** The last node proved to be none. */
  const strayed = (): ListWalk => {
    nodes.pop();
    count = Math.max(0, count - 1);
    return end(false);
  };
  for (;;) {
    let words = cache.peekWords(page);
    if (words === undefined) {
      await cache.load(page);
      words = cache.peekWords(page) ?? null;
    }
    let at = offset;
    if (words !== null && at > 4096 - 16) {
      // The node lies across the border of two pages.
      const node = await cache.read(pageAddress(page) + BigInt(offset), 16);
      words = node ? wordsOf(node) : null;
      at = 0;
    }
    // A node that is not aligned is none.
    if (words === null || (at & 7) !== 0) return strayed();
    const prev = (at + list.prev) >>> 2;
    const prevLow = words[prev] as number;
    const prevPage = (words[prev + 1] as number) * PAGES_4G + (prevLow >>> 12);
    if (beforePage >= 0 && (prevPage !== beforePage || (prevLow & 0xfff) !== beforeOffset)) return strayed();
    beforePage = page;
    beforeOffset = offset;
    const next = (at + list.next) >>> 2;
    const nextLow = words[next] as number;
    offset = nextLow & 0xfff;
    page = (words[next + 1] as number) * PAGES_4G + (nextLow >>> 12);
    if (page === headPage && offset === headOffset) return end(true);
    if (page < FIRST_KERNEL_PAGE || count >= limit) return end(false);
    count++;
    if (collect) nodes.push(pageAddress(page) + BigInt(offset));
  }
}
