import { u32 } from './bytes.ts';
import { type PageCache, pageAddress, pointedPage } from './memory.ts';

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
  for (;;) {
    let data = cache.peek(page);
    if (data === undefined) data = await cache.load(page);
    let at = offset;
    if (data !== null && at > 4096 - 16) {
      // The node lies across the border of two pages.
      data = (await cache.read(pageAddress(page) + BigInt(offset), 16)) ?? null;
      at = 0;
    }
    if (data === null) return end(false);
    const low = u32(data, at + list.prev);
    if (
      beforePage >= 0 &&
      (pointedPage(data, at + list.prev) !== beforePage || (low & 0xfff) !== beforeOffset)
    ) {
      return end(false);
    }
    beforePage = page;
    beforeOffset = offset;
    offset = u32(data, at + list.next) & 0xfff;
    page = pointedPage(data, at + list.next);
    if (page === headPage && offset === headOffset) return end(true);
    if (page < FIRST_KERNEL_PAGE || count >= limit) return end(false);
    count++;
    if (collect) nodes.push(pageAddress(page) + BigInt(offset));
  }
}
