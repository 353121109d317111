import type { ZoneState } from '../snapshot.ts';
import type { FrameMap } from './frames.ts';

/*
 * A hole of a hugetlb memfd is filled at UDMABUF_CREATE (memfd_alloc_folio) under PF_MEMALLOC_PIN: mm/hugetlb.c
 * dequeue_hugetlb_folio_node_exact() then passes over every free page that is not folio_is_longterm_pinnable(), which are those of
 * ZONE_MOVABLE and of CMA pageblocks, and over those of isolated ones.
 */

export const hasMovable = (zones: readonly ZoneState[]): boolean =>
  zones.some(({ zone, presentPages }) => zone === 'Movable' && presentPages > 0);

/** Whether some free huge pages may be of no use for a hole: the host has ZONE_MOVABLE, or CMA. */
export const mayBeUnfillable = (zones: readonly ZoneState[]): boolean =>
  hasMovable(zones) || zones.some(({ cmaPages }) => (cmaPages ?? 0) > 0);

/** Pageblock types from which no hole is filled. */
const PASSED_OVER = ['CMA', 'Isolate'];

/**
 * How many of these pages can fill a hole; null: zone or type of one is not known.
 * @param typeOf pageblock type by name, null where it is not known; `undefined`: the host has no CMA, and none is asked
 */
export function countFillable(
  pfns: Float64Array,
  frames: FrameMap,
  typeOf: ((pfn: number) => string | null) | undefined,
): number | null {
  let fillable = 0;
  for (const pfn of pfns) {
    const { zone } = frames.locate(pfn);
    if (zone === null) return null;
    if (zone === 'Movable') continue;
    const type = typeOf?.(pfn);
    if (type === null) return null;
    if (type === undefined || !PASSED_OVER.includes(type)) fillable++;
  }
  return fillable;
}
