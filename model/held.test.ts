import fc from 'fast-check';
import { expect, test } from 'vitest';
import { someResource, someRun, someSnapshot } from '../test/snapshots.ts';
import { heldMemory, partsBy } from './held.ts';
import { fromSnapshot, type Sample } from './run-columns.ts';
import type { PageRun } from './snapshot.ts';

const sampleOf = (buffers: readonly (readonly PageRun[] | null)[]): Sample =>
  fromSnapshot(
    someSnapshot({
      resources: buffers.map((runs, i) => {
        const { pages } = someResource();
        return someResource({ inode: i + 1, pages: runs && pages && { ...pages, runs } });
      }),
    }),
  );

/** What a page is like depends on its PFN alone, as in a machine; only backing is of the run. Blocks of 16 pages are folios. */
function placeOf(pfn: number) {
  const block = Math.floor(pfn / 16);
  return {
    node: [0, 1, null][block % 3] ?? null,
    zone: ['Normal', 'Movable', null][(block >> 1) % 3] ?? null,
    migratetype: ['Movable', 'CMA'][block % 2] ?? null,
    folioPages: [1, 4, 16][block % 5] ?? 1,
  };
}

const runs = fc.array(
  fc
    .record({
      block: fc.nat(12),
      from: fc.nat(15),
      length: fc.integer({ min: 1, max: 16 }),
      high: fc.constantFrom(0, 2 ** 40),
      backing: fc.constantFrom<PageRun['backing']>('connected', 'disconnected', 'unknown'),
    })
    .map(({ block, from, length, high, backing }): PageRun => {
      const pfn = high + block * 16 + from;
      const { folioPages, ...place } = placeOf(pfn);
      return someRun({
        ...place,
        pfn,
        count: Math.min(length, 16 - from),
        folioBytes: folioPages * 4096,
        backing,
      });
    }),
  { maxLength: 12 },
);

test('every page counts once, in its place, and every folio once', () => {
  fc.assert(
    fc.property(fc.array(fc.option(runs), { maxLength: 5 }), buffers => {
      const backingOf = new Map<number, Set<string>>();
      let entries = 0;
      for (const run of buffers.flatMap(of => of ?? [])) {
        for (let i = 0; i < run.count; i++) {
          const pfn = run.pfn + i;
          backingOf.set(pfn, (backingOf.get(pfn) ?? new Set()).add(run.backing));
          entries++;
        }
      }
      const pages = new Map<string, number>();
      const folios = new Map<string, Set<number>>();
      for (const pfn of backingOf.keys()) {
        const { folioPages, ...place } = placeOf(pfn);
        const key = JSON.stringify([place.node, place.zone, place.migratetype, folioPages * 4096]);
        pages.set(key, (pages.get(key) ?? 0) + 1);
        folios.set(key, (folios.get(key) ?? new Set()).add(Math.floor(pfn / folioPages)));
      }
      const held = heldMemory(sampleOf(buffers));
      const told = held.groups.map(
        ({ node, zone, migratetype, folioBytes, ...counts }) =>
          [JSON.stringify([node, zone, migratetype, folioBytes]), counts] as const,
      );
      expect(new Map(told)).toEqual(
        new Map(
          [...pages].map(([key, count]) => [
            key,
            { pages: count, inFolios: (folios.get(key)?.size ?? 0) * JSON.parse(key)[3] },
          ]),
        ),
      );
      const states = [...backingOf.values()];
      const disconnected = states.filter(set => set.has('disconnected')).length;
      const connected = states.filter(set => set.size === 1 && set.has('connected')).length;
      expect(held).toMatchObject({
        entries,
        pages: backingOf.size,
        inFolios: held.groups.reduce((sum, { inFolios }) => sum + inFolios, 0),
        disconnected,
        connected,
        unknown: backingOf.size - disconnected - connected,
        unread: buffers.filter(of => of === null).length,
      });
    }),
  );
});

test('PFNs too large to share a number with their row are sorted too', () => {
  const high = Number.MAX_SAFE_INTEGER - 4096;
  const buffer = [high + 64, 0, high, high + 32].map(pfn => someRun({ pfn, count: 64, folioBytes: 4096 }));
  expect(heldMemory(sampleOf([buffer])).pages).toBe(64 + 64 + 64);
});

test('parts add up to the whole, most pages first', () => {
  const buffer = [
    someRun({ pfn: 0, count: 1, zone: 'DMA32', folioBytes: 4096 }),
    someRun({ pfn: 512, count: 3, zone: 'Normal' }),
    someRun({ pfn: 4096, count: 2, zone: 'Normal', folioBytes: 4096 }),
  ];
  expect(partsBy(heldMemory(sampleOf([buffer])).groups, ({ zone }) => zone)).toEqual([
    { key: 'Normal', pages: 5, inFolios: 2 ** 21 + 8192 },
    { key: 'DMA32', pages: 1, inFolios: 4096 },
  ]);
});
