import { expect, test } from 'vitest';
import { fromPageRuns, fromSnapshot, pageRun } from '../../model/run-columns.ts';
import type { Resource } from '../../model/snapshot.ts';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { counterText, migratetypeColumns } from './host-columns.ts';
import { resourceColumns } from './resource-columns.ts';
import { runColumns, runSentence } from './run-columns.ts';

test('a counter that wrapped is shown as what it is', () => {
  expect(counterText(12)).toBe('12');
  expect(counterText(null)).toBe('–');
  expect(counterText('18446744073709551612')).toBe('18446744073709551612 (= -4: it wrapped below 0)');
  expect(counterText('9007199254740993')).toBe('9007199254740993');
});

test('free blocks that the kernel stopped counting are not told as a number of them', () => {
  const type = { node: 0, zone: 'Normal', type: 'Movable', blocks: 900, freePagesByOrder: [100_000, 7] };
  const shown = (row: typeof type & { cappedOrders?: number[] }) =>
    migratetypeColumns([row])
      .slice(-2)
      .map(column => [column.text(row), column.value?.(row)]);
  expect(shown({ ...type, cappedOrders: [0] })).toEqual([
    ['>100000', '>100000'],
    ['7', 7],
  ]);
  expect(shown(type)[0]).toEqual(['100000', 100_000]);
});

test('cells of runs are the runs’ values, and unknown ones are question marks', () => {
  const known = someRun({ index: 512, pfn: 0x2a00, count: 3 });
  const unknown = someRun({ node: null, zone: null, migratetype: null, gpa: null, backing: 'unknown' });
  const runs = fromPageRuns([known, unknown]);
  const row = (i: number) => Object.fromEntries(runColumns(runs).map(({ id, text }) => [id, text(i)]));
  expect(row(0)).toEqual({
    index: '512',
    pfn: '0x2a00',
    count: '3',
    folio: '2 MiB',
    node: '0',
    zone: 'Normal',
    migratetype: 'Movable',
    gpa: '0x3000',
    backing: 'connected',
  });
  expect(row(1)).toMatchObject({ node: '?', zone: '?', migratetype: '?', gpa: '?', backing: 'unknown' });
});

test('the sentence of a run says first and last page, and what is not known', () => {
  const sample = fromSnapshot(someSnapshot());
  const runs = fromPageRuns([
    someRun({ pfn: 32768, count: 2, ramOffset: 4096 }),
    someRun({ pfn: 1, count: 1, gpa: null, ramInode: null, ramOffset: null, backing: 'disconnected' }),
  ]);
  expect(runSentence(pageRun(runs, 0), sample)).toBe(
    '2 pages from index 0, PFN 0x8000 to 0x8001, physical 0x8000000, memory block 1, guest 0x3000, memfd 252 + 0x1000',
  );
  expect(runSentence(pageRun(runs, 1), sample)).toBe(
    '1 page from index 0, PFN 0x1, physical 0x1000, memory block 0, guest address unknown, in no memfd that is known, disconnected: the memfd has another page there now, or none',
  );
});

test('the column of virtio-gpu is there where a trace told of any buffer', () => {
  const ids = (resources: readonly Resource[]) =>
    resourceColumns(fromSnapshot(someSnapshot({ resources })), new Map()).map(({ id }) => id);
  expect(ids([someResource()])).not.toContain('virtio');
  const rows = [
    { resourceId: 3, scanout: 0 },
    { resourceId: 4, scanout: null },
    { resourceId: 5, scanout: 'unknown' as const },
    { resourceId: null, scanout: null },
    null,
  ].map((virtio, inode) => someResource({ inode, virtio }));
  expect(ids(rows)).toContain('virtio');
  const sample = fromSnapshot(someSnapshot({ resources: rows }));
  const column = resourceColumns(sample, new Map()).find(({ id }) => id === 'virtio');
  expect(sample.resources.map(resource => column?.text(resource))).toEqual([
    'resource 3, scanout 0',
    'resource 4, no scanout',
    'resource 5, scanout ?',
    'several, no scanout',
    '?',
  ]);
});

test('a denied buffer says denied in every cell that needs its pages, and sorts last', () => {
  const sample = fromSnapshot(
    someSnapshot({
      resources: [someResource({ inode: 1, pages: null, createdAt: null, sizeBytes: null }), someResource()],
      sources: [someSource('kernel-memory', { state: 'denied', grant: 'root' })],
    }),
  );
  const columns = resourceColumns(sample, new Map([[1, 'error']]));
  const [denied, read] = sample.resources;
  if (denied === undefined || read === undefined) throw new Error('no resources');
  const row = Object.fromEntries(columns.map(({ id, text }) => [id, text(denied)]));
  expect(row).toMatchObject({
    severity: 'error',
    size: '?',
    pages: 'denied',
    holds: 'denied',
    where: 'denied',
    backing: 'denied',
    age: '?',
  });
  const age = columns.find(({ id }) => id === 'age');
  expect([age?.text(read), age?.sortBy?.(read), age?.sortBy?.(denied)]).toEqual(['2 min 5 s', 125_000, null]);
});
