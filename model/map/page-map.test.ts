import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { fromSnapshot, type Sample } from '../run-columns.ts';
import type { PageRun } from '../snapshot.ts';
import { COLOUR_MODES, type ColourMode, FLAG } from './classes.ts';
import { type MapOptions, PageMapModel } from './page-map.ts';
import { firstPageIn, holdingOf, nextMarked, nextRun, type Spot, spotOf, spotsAt } from './walk.ts';

/** A small machine with a hole, a zone with holes, and runs anywhere in it: on top of one another too. */
const PAGES = 3 * 4096;
const runOf = fc.record({
  pfn: fc.nat(PAGES - 1),
  count: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 6000 })),
  zone: fc.constantFrom('DMA', 'Normal', 'Movable', null),
  node: fc.constantFrom(0, 1, null),
  migratetype: fc.constantFrom('Movable', 'Unmovable', 'Other', null),
  folioBytes: fc.constantFrom(4096, 65536, 2 ** 21),
  backing: fc.constantFrom('connected' as const, 'disconnected' as const, 'unknown' as const),
  ram: fc.constantFrom<number | null>(252, 253, 999, null),
});
const resourcesOf = fc.array(
  fc.record({
    runs: fc.array(runOf, { maxLength: 12 }),
    createdAt: fc.constantFrom(null, '2026-03-04T05:06:02.000Z', '2026-03-03T05:04:02.000Z'),
    severity: fc.constantFrom('error' as const, 'warning' as const, 'info' as const, null),
  }),
  { maxLength: 6 },
);

function sampleOf(resources: typeof resourcesOf extends fc.Arbitrary<infer T> ? T : never): Sample {
  return fromSnapshot(
    someSnapshot({
      resources: resources.map(({ runs, createdAt }, i) => {
        let index = 0;
        const made = runs.map(({ ram, pfn, ...run }): PageRun => {
          const count = Math.min(run.count, PAGES - pfn);
          const one = someRun({
            ...run,
            pfn,
            count,
            index,
            ramInode: ram,
            ramOffset: ram === null ? null : pfn * 4096,
          });
          index += count;
          return one;
        });
        const pages = someResource().pages;
        return someResource({
          inode: 10 + i,
          createdAt,
          pages: pages && { ...pages, count: index, runs: made },
        });
      }),
      findings: resources.flatMap(({ severity }, i) =>
        severity === null
          ? []
          : [
              {
                rule: 'r',
                severity,
                resource: 10 + i,
                title: '',
                explanation: '',
                remedy: '',
                evidence: [],
                reference: '',
              },
            ],
      ),
      host: {
        memoryBlockBytes: 4096 * 4096,
        zones: [],
        memoryBlocks: null,
      },
      target: {
        ram: [252, 253].map((inode, i) => ({
          id: `mem${i}`,
          inode,
          sizeBytes: PAGES * 4096,
          pageSizeBytes: 4096,
          share: true,
          sealed: true,
          hva: '0x7f0000000000',
          policy: null,
          guestRanges:
            i === 0
              ? [
                  { gpa: '0x0', bytes: 700 * 4096, offset: 0 },
                  { gpa: '0x100000000', bytes: 5000 * 4096, offset: 1000 * 4096 },
                ]
              : null,
        })),
      },
    }),
  );
}

interface OraclePage {
  readonly inode: number;
  readonly page: number;
  readonly run: PageRun;
  readonly cls: string;
  readonly flags: number;
}

/** Class of a page by its own words. */
function classKey(mode: ColourMode, run: PageRun, inode: number, age: number | null): string {
  const text = (value: string | number | null) => String(value ?? -1);
  switch (mode) {
    case 'resource':
      return text(inode);
    case 'zone':
      return text(run.zone);
    case 'node':
      return text(run.node);
    case 'migratetype':
      return text(run.migratetype);
    case 'folio':
      return text(run.folioBytes);
    case 'age':
      return text(age);
    case 'backing':
      return text({ unknown: 0, connected: 1, disconnected: 2 }[run.backing]);
  }
}

/** Every page of every buffer by its position on the map, one at a time. */
function oracle(model: PageMapModel, options: MapOptions): Map<number, OraclePage[]> {
  const pages = new Map<number, OraclePage[]>();
  const worst = (inode: number) =>
    model.sample.findings.reduce((bits, { resource, severity }) => {
      const bit =
        resource !== inode
          ? 0
          : severity === 'error'
            ? FLAG.error
            : severity === 'warning'
              ? FLAG.warning
              : 0;
      return bits | bit;
    }, 0);
  for (const resource of model.sample.resources) {
    const { runs } = resource.pages ?? { runs: null };
    if (runs === null) continue;
    const age =
      { '2026-03-04T05:06:02.000Z': 0, '2026-03-03T05:04:02.000Z': 5 }[resource.createdAt ?? ''] ?? null;
    for (let row = 0; row < runs.length; row++) {
      for (let i = 0; i < (runs.count[row] ?? 0); i++) {
        const pfn = (runs.pfn[row] ?? 0) + i;
        const ramPage = (runs.ramOffset[row] ?? Number.NaN) / 4096 + i;
        for (const segment of model.space.segments) {
          const first =
            options.space === 'host'
              ? segment.pfn
              : segment.ram?.inode === runs.ramInode[row]
                ? segment.ram?.page
                : null;
          const at = (options.space === 'host' ? pfn : ramPage) - (first ?? Number.NaN);
          if (!(at >= 0 && at < segment.pages)) continue;
          const names = runs.names;
          const run = someRun({
            zone: names[runs.zone[row] ?? -1] ?? null,
            node: (runs.node[row] ?? -1) < 0 ? null : (runs.node[row] ?? null),
            migratetype: names[runs.migratetype[row] ?? -1] ?? null,
            folioBytes: runs.folioBytes[row] ?? 0,
            backing: (['unknown', 'connected', 'disconnected'] as const)[runs.backing[row] ?? 0] ?? 'unknown',
          });
          const flags =
            worst(resource.inode) |
            (run.backing === 'disconnected' ? FLAG.disconnected : 0) |
            (options.shown === null || options.shown.has(resource.inode) ? 0 : FLAG.faint);
          const list = pages.get(segment.start + at) ?? [];
          list.push({
            inode: resource.inode,
            page: (runs.index[row] ?? 0) + i,
            run,
            cls: classKey(options.mode, run, resource.inode, age),
            // One severity a buffer: the worst.
            flags: flags & FLAG.error ? flags & ~FLAG.warning : flags,
          });
          pages.set(segment.start + at, list);
        }
      }
    }
  }
  return pages;
}

const optionsOf = fc.record({
  space: fc.constantFrom('host' as const, 'guest' as const),
  mode: fc.constantFrom(...COLOUR_MODES),
  hidden: fc.subarray(['DMA', 'Movable', '-1', '0', '1', '2', '11', '4096']).map(keys => new Set(keys)),
  shown: fc.constantFrom(null, new Set([10, 12])),
});

test('every cell of every level is what its pages are, one by one', () => {
  fc.assert(
    fc.property(
      resourcesOf,
      optionsOf,
      fc.constantFrom(0, 1, 3, 6, 11, 12, 13),
      (resources, options, level) => {
        const model = PageMapModel.of(sampleOf(resources), options, null);
        if (model === null) throw new Error('no guest RAM');
        const pages = oracle(model, options);
        const { classes } = model.classes;
        const cells = new Map<number, OraclePage[][]>();
        for (const [position, held] of pages) {
          const cell = Math.floor(position / 2 ** level);
          cells.set(cell, [...(cells.get(cell) ?? []), held]);
        }
        const last = Math.ceil(model.space.pages / 2 ** level);
        for (let cell = 0; cell < last; cell++) {
          const here = cells.get(cell) ?? [];
          const all = here.flat();
          const tile = model.tile(level, Math.floor(cell / 4096));
          const i = cell % 4096;
          const tally = new Map<number, number>();
          for (const { cls, flags } of all) {
            if (options.hidden.has(cls) || flags & FLAG.faint) continue;
            const at = classes.findIndex(({ key }) => key === cls);
            tally.set(at, (tally.get(at) ?? 0) + 1);
          }
          const [top] = [...tally].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
          const flags =
            all.reduce((bits, page) => bits | page.flags, 0) |
            (tally.size > 1 ? FLAG.mixed : 0) |
            (all.length > here.length ? FLAG.repeated : 0);
          // Compared first, because a matcher a cell would be most of the time.
          const same =
            tile.held[i] === here.length &&
            tile.entries[i] === all.length &&
            tile.top[i] === (top === undefined ? 0 : top[0] + 1) &&
            tile.flags[i] === flags;
          if (!same) {
            expect([cell, tile.held[i], tile.entries[i], tile.top[i], tile.flags[i]]).toEqual([
              cell,
              here.length,
              all.length,
              top === undefined ? 0 : top[0] + 1,
              flags,
            ]);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('counts are those of distinct pages, in all and by class', () => {
  fc.assert(
    fc.property(resourcesOf, optionsOf, (resources, options) => {
      const model = PageMapModel.of(sampleOf(resources), options, null);
      if (model === null) throw new Error('no guest RAM');
      const pages = [...oracle(model, options).values()];
      const having = (test: (page: OraclePage) => boolean) => pages.filter(held => held.some(test)).length;
      const { counts, classes, index } = model;
      expect(counts.held).toBe(pages.length);
      expect(counts.repeats).toBe(pages.flat().length - pages.length);
      expect(index.placed).toBe(pages.flat().length);
      expect(counts.disconnected).toBe(having(({ flags }) => (flags & FLAG.disconnected) > 0));
      expect(counts.error).toBe(having(({ flags }) => (flags & FLAG.error) > 0));
      expect(counts.warning).toBe(having(({ flags }) => (flags & FLAG.warning) > 0));
      classes.classes.forEach(({ key }, i) => {
        expect(counts.byClass[i]).toBe(having(({ cls }) => cls === key));
      });
      const entries = resources.reduce(
        (sum, { runs }) => sum + runs.reduce((of, { pfn, count }) => of + Math.min(count, PAGES - pfn), 0),
        0,
      );
      if (options.space === 'host') expect(index.unplaced).toBe(0);
      expect(index.placed + index.unplaced).toBe(entries);
    }),
    { numRuns: 60 },
  );
});

test('a page is found by its place, and its place by the page', () => {
  fc.assert(
    fc.property(resourcesOf, optionsOf, fc.nat(PAGES - 1), (resources, options, position) => {
      const model = PageMapModel.of(sampleOf(resources), options, null);
      if (model === null) throw new Error('no guest RAM');
      const expected = oracle(model, options).get(position) ?? [];
      const spots = spotsAt(model, position);
      const name = (inode: number, page: number) => `${inode} ${page}`;
      expect(spots.map(({ entry }) => name(entry.resource.inode, entry.page)).sort()).toEqual(
        expected.map(({ inode, page }) => name(inode, page)).sort(),
      );
      for (const { entry } of spots) {
        // The same page of the memory may be twice in one buffer, never one page of a buffer twice.
        expect(spotOf(model, entry.resource.inode, entry.page)?.position).toBe(position);
      }
      const around = holdingOf(model, Math.max(0, position - 100), position + 100);
      const near = [...oracle(model, options)].filter(([at]) => at >= position - 100 && at < position + 100);
      const byInode = new Map<number, number>();
      for (const { inode } of near.flatMap(([, held]) => held))
        byInode.set(inode, (byInode.get(inode) ?? 0) + 1);
      expect(new Map(around.owners.map(({ inode, pages }) => [inode, pages]))).toEqual(byInode);
      const disconnected = near.some(([, held]) => held.some(({ flags }) => flags & FLAG.disconnected));
      const first = around.spots[0]?.entry;
      expect(first !== undefined).toBe(near.length > 0);
      const backing = first?.resource.pages?.runs.backing[first.row];
      expect(backing === 2).toBe(disconnected);
    }),
    { numRuns: 60 },
  );
});

test('going by run comes to every shown run once, and back the same way', () => {
  fc.assert(
    fc.property(resourcesOf, optionsOf, (resources, options) => {
      const model = PageMapModel.of(sampleOf(resources), { ...options, space: 'host' }, null);
      if (model === null) throw new Error('no map');
      const walk = (step: 1 | -1): string[] => {
        const met: string[] = [];
        for (let at: Spot | null = nextRun(model, null, step); at !== null; at = nextRun(model, at, step)) {
          met.push(`${at.entry.resource.inode} ${at.entry.row}`);
          if (met.length > 100) throw new Error('it does not end');
        }
        return met;
      };
      const forward = walk(1);
      const shown = model.sample.resources
        .flatMap(({ inode, pages }, r) =>
          Array.from({ length: pages?.runs.length ?? 0 }, (_, row) => ({
            inode,
            row,
            run: (model.index.runBase[r] ?? 0) + row,
          })),
        )
        .filter(({ run }) => model.isShown(run));
      expect([...forward].sort()).toEqual(shown.map(({ inode, row }) => `${inode} ${row}`).sort());
      expect(walk(-1)).toEqual([...forward].reverse());
    }),
    { numRuns: 100 },
  );
});

describe('a new sample', () => {
  const options: MapOptions = { space: 'host', mode: 'backing', hidden: new Set(), shown: null };
  const three = (backing: PageRun['backing']) => {
    const pages = someResource().pages;
    const runs = [someRun({ pfn: 100, count: 3 }), someRun({ index: 3, pfn: 500, count: 2, backing })];
    return fromSnapshot(
      someSnapshot({
        resources: [someResource({ pages: pages && { ...pages, runs } })],
        host: { zones: null, memoryBlocks: null },
      }),
    );
  };

  test('in which nothing changed takes over index, classes and tiles, and lets go of the old sample', () => {
    const before = PageMapModel.of(three('connected'), options, null);
    const tile = before?.tile(0, 0);
    const sample = three('connected');
    const after = PageMapModel.of(sample, options, before);
    expect(after?.index).toBe(before?.index);
    expect(after?.classes).toBe(before?.classes);
    expect(after?.tile(0, 0)).toBe(tile);
    expect(after?.sample).toBe(sample);
  });

  test('with a page that was discarded shows it at once', () => {
    const before = PageMapModel.of(three('connected'), options, null);
    expect(before?.tile(0, 0).flags[500]).toBe(0);
    const after = PageMapModel.of(three('disconnected'), options, before);
    expect(after?.index).toBe(before?.index);
    expect(after?.tile(0, 0).flags[500]).toBe(FLAG.disconnected);
    // One page among the many of a cell.
    expect(after?.tile(12, 0).flags[0]).toBe(FLAG.disconnected | FLAG.mixed);
    expect(after && nextMarked(after, null, 1, FLAG.disconnected)?.position).toBe(500);
  });
});

test('the first page of a buffer in a stretch of page frames', () => {
  const { pages } = someResource();
  const sample = fromSnapshot(
    someSnapshot({
      resources: [
        someResource({
          pages: pages && {
            ...pages,
            runs: [someRun({ pfn: 900, count: 8 }), someRun({ index: 8, pfn: 96, count: 8 })],
          },
        }),
      ],
    }),
  );
  const runs = sample.resources[0]?.pages?.runs;
  if (runs === undefined) throw new Error('no runs');
  expect([firstPageIn(runs, 100, 200), firstPageIn(runs, 0, 1000), firstPageIn(runs, 104, 900)]).toEqual([
    12,
    0,
    null,
  ]);
});
