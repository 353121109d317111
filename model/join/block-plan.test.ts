import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { MemoryBlockState, Resource } from '../snapshot.ts';
import { planBlocks, planLine } from './block-plan.ts';

/** 128 MiB. */
const PAGES = 32768;
const block = (at: number, change: Partial<MemoryBlockState> = {}): MemoryBlockState => ({
  block: at,
  startPfn: at * PAGES,
  node: 0,
  validZones: ['Movable'],
  state: 'online',
  pinnedPages: null,
  heldBy: [],
  ...change,
});
/** A buffer with runs of `[pfn, pages]`. */
function buffer(inode: number, ...spans: readonly (readonly [number, number])[]): Resource {
  const one = someResource({ inode });
  let index = 0;
  const runs = spans.map(([pfn, count]) => {
    const run = someRun({ index, pfn, count });
    index += count;
    return run;
  });
  return { ...one, pages: one.pages && { ...one.pages, count: index, runs } };
}
const plan = (memoryBlocks: readonly MemoryBlockState[] | null, resources: readonly Resource[]) =>
  planBlocks(fromSnapshot(someSnapshot({ host: { memoryBlocks }, resources })));

describe('blocks that buffers hold', () => {
  const blocks = [block(1), block(2), block(3)];
  test('each with the buffers to close, most pages first, a page of two buffers once', () => {
    const plans = plan(blocks, [
      buffer(7, [PAGES + 5, 3], [2 * PAGES, 1]),
      buffer(8, [PAGES + 6, 10]),
      buffer(9, [2 * PAGES, 1]),
    ]);
    expect(plans).toMatchObject([
      { block: 1, pinnedPages: 11, heldBy: [8, 7], heldPages: [10, 3], alone: true },
      { block: 2, pinnedPages: 1, heldBy: [7, 9], heldPages: [1, 1], alone: true },
    ]);
    expect(plans.map(planLine)).toEqual([
      'to free memory1 close dma-bufs 8 (10 pages there), 7 (3 pages)',
      'to free memory2 close dma-bufs 7 (1 page there), 9 (1 page)',
    ]);
  });
  test('a run over a border is in both', () => {
    expect(plan(blocks, [buffer(7, [2 * PAGES - 1, 2])]).map(each => [each.block, each.pinnedPages])).toEqual(
      [
        [1, 1],
        [2, 1],
      ],
    );
  });
  test.each([
    ['offline', block(1, { state: 'offline' })],
    ['on its way', block(1, { state: 'going-offline' })],
    ['with holes or of two zones', block(1, { validZones: ['none'] })],
    ['of which the kernel says nothing', block(1, { validZones: [] })],
    ['beside the pages', block(2)],
  ])('a block %s is left out', (_, each) => {
    expect(plan([each], [buffer(7, [PAGES, 4])])).toEqual([]);
  });
  test('outside ZONE_MOVABLE the kernel’s own pages may be there too, and that is said', () => {
    const [normal] = plan([block(1, { validZones: ['Normal'] })], [buffer(7, [PAGES, 4])]);
    expect(normal).toMatchObject({ alone: false, unknown: expect.stringContaining('slab') });
    const [movable] = plan([block(1)], [buffer(7, [PAGES, 4])]);
    expect(movable?.unknown).not.toContain('slab');
    expect(movable?.unknown).toContain('other processes');
  });
  test('rows that say who holds them are taken as they are', () => {
    const row = block(1, { pinnedPages: 4, heldBy: [7] });
    expect(plan([row, block(2, { pinnedPages: 0 })], [buffer(7, [PAGES, 4])])).toEqual(
      plan([block(1), block(2)], [buffer(7, [PAGES, 4])]),
    );
  });
  test('a buffer whose pages were not read takes away none of the others', () => {
    const unread = someResource({ inode: 1, pages: null });
    expect(plan([block(1)], [unread, buffer(7, [PAGES, 4])])).toMatchObject([{ heldBy: [7] }]);
    expect(plan([block(1)], [unread])).toEqual([]);
    expect(plan(null, [buffer(7, [PAGES, 4])])).toEqual([]);
  });
});

test('any buffers: each page is in the plan of its block, and of no other', () => {
  const spans = fc.array(fc.tuple(fc.nat(4 * PAGES), fc.integer({ min: 1, max: 2 * PAGES })), {
    maxLength: 4,
  });
  fc.assert(
    fc.property(fc.array(spans, { maxLength: 4 }), buffers => {
      const there = [0, 1, 3];
      const plans = plan(
        there.map(at => block(at)),
        buffers.map((each, inode) => buffer(inode, ...each)),
      );
      for (const at of there) {
        // Ends of the spans cut the block into pieces that are held by a whole set of buffers each.
        const inBlock = (n: number) => Math.min(Math.max(n, at * PAGES), (at + 1) * PAGES);
        const cuts = [
          ...new Set(buffers.flat().flatMap(([pfn, n]) => [inBlock(pfn), inBlock(pfn + n)])),
        ].sort((a, b) => a - b);
        const size = (of: readonly (readonly [number, number])[]) =>
          cuts.reduce((sum, from, i) => {
            const held = of.some(([pfn, n]) => pfn <= from && from < pfn + n);
            return sum + (held ? (cuts[i + 1] ?? from) - from : 0);
          }, 0);
        const found = plans.find(each => each.block === at);
        expect(found?.pinnedPages ?? 0).toBe(size(buffers.flat()));
        const pagesOf = new Map(found?.heldBy.map((inode, i) => [inode, found.heldPages[i]]));
        for (const [inode, each] of buffers.entries()) expect(pagesOf.get(inode) ?? 0).toBe(size(each));
      }
    }),
  );
});
