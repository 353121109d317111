import { lastAtOrBelow } from '../ascending.ts';
import type { SampledResource } from '../run-columns.ts';
import type { MemoryBlockState } from '../snapshot.ts';

/**
 * Memory blocks with the pages that resources hold in them. A page that several entries or resources hold counts once.
 * `pinnedPages` is `null` everywhere as soon as one udmabuf's pages are unknown: a lower bound would read as a count.
 */
export function heldBlocks(
  blocks: readonly Omit<MemoryBlockState, 'pinnedPages' | 'heldBy'>[],
  blockPages: number,
  resources: readonly SampledResource[],
): MemoryBlockState[] {
  const unknown = resources.some(
    ({ exporter, pages }) => pages === null && (exporter ?? 'udmabuf') === 'udmabuf',
  );
  if (unknown) return blocks.map(block => ({ ...block, pinnedPages: null, heldBy: [] }));
  const starts = Float64Array.from(blocks, ({ startPfn }) => startPfn);
  const counts = blocks.map(() => 0);
  const holders = blocks.map(() => new Set<number>());
  const runs = resources
    .flatMap(({ inode, pages }) =>
      Array.from(pages?.runs.pfn ?? [], (pfn, i) => ({ inode, pfn, end: pfn + (pages?.runs.count[i] ?? 0) })),
    )
    .sort((a, b) => a.pfn - b.pfn);
  let counted = 0;
  for (const { inode, pfn, end } of runs) {
    let at = pfn;
    while (at < end) {
      const i = lastAtOrBelow(starts, at);
      const start = starts[i] ?? Number.NaN;
      const stop = Math.min(end, start + blockPages);
      if (!(start <= at && at < stop)) {
        // A page in no block (sysfs has holes, block 0 for one) belongs to none; the run may go on in the next.
        at = at < (starts[0] ?? 0) ? (starts[0] ?? end) : (starts[i + 1] ?? end);
        continue;
      }
      holders[i]?.add(inode);
      counts[i] = (counts[i] ?? 0) + Math.max(0, stop - Math.max(at, counted));
      at = stop;
    }
    counted = Math.max(counted, end);
  }
  return blocks.map((block, i) => ({
    ...block,
    pinnedPages: counts[i] ?? 0,
    heldBy: [...(holders[i] ?? [])].sort((a, b) => a - b),
  }));
}
