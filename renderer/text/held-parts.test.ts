import { expect, test } from 'vitest';
import { applyFilter } from '../../model/filter/evaluate.ts';
import { parseFilter } from '../../model/filter/parser.ts';
import { heldMemory } from '../../model/held.ts';
import { fromSnapshot } from '../../model/run-columns.ts';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { heldPartings } from './held-parts.ts';

test('each part has its pages, and its filter leaves the buffers that have such pages', () => {
  const runs = [
    someRun({ pfn: 0, count: 1, zone: 'DMA32', folioBytes: 4096 }),
    someRun({ pfn: 512, count: 2, node: 1, zone: 'Movable', migratetype: 'CMA', backing: 'disconnected' }),
    someRun({ pfn: 8192, count: 4, node: null, zone: null, migratetype: null, backing: 'unknown' }),
  ];
  const { pages } = someResource();
  const sample = fromSnapshot(
    someSnapshot({
      resources: runs.map((run, inode) => someResource({ inode, pages: pages && { ...pages, runs: [run] } })),
    }),
  );
  const told = heldPartings(heldMemory(sample)).map(({ rows }) =>
    rows.map(({ name, pages: count, filter }) => [
      name,
      count,
      applyFilter(parseFilter(filter), sample).resources.map(({ inode }) => inode),
    ]),
  );
  expect(told).toEqual([
    [
      ['connected', 1, [0]],
      ['disconnected', 2, [1]],
      ['unknown', 4, [2]],
    ],
    [
      ['unknown node, unknown zone', 4, [2]],
      ['node 1, Movable', 2, [1]],
      ['node 0, DMA32', 1, [0]],
    ],
    [
      ['unknown', 4, [2]],
      ['CMA', 2, [1]],
      ['Movable', 1, [0]],
    ],
    [
      ['2 MiB', 6, [1, 2]],
      ['4 KiB', 1, [0]],
    ],
  ]);
});
