import { expect, test } from 'vitest';
import { applyFilter } from '../../model/filter/evaluate.ts';
import { parseFilter } from '../../model/filter/parser.ts';
import { RULES } from '../../model/hazards/index.ts';
import { classify } from '../../model/map/classes.ts';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import type { Finding, PageRun } from '../../model/snapshot.ts';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { placeOf, placeWords } from './finding-places.ts';

const finding = (rule: string, resource: number | null): Finding => ({
  rule,
  severity: 'warning',
  resource,
  title: '',
  explanation: '',
  remedy: '',
  evidence: [],
  reference: '',
});

/** A buffer of one good page and one that is `change`d, beside a buffer without fault. */
function sampleWith(change: Partial<PageRun>, target: Parameters<typeof someSnapshot>[0] = {}): Sample {
  const good = someRun({ count: 1 });
  const bad = someRun({ index: 1, pfn: 0x2000, count: 1, ...change });
  const pages = someResource().pages;
  if (pages === null) throw new Error('no pages');
  return fromSnapshot(
    someSnapshot({
      ...target,
      resources: [
        someResource({ inode: 7, pages: { ...pages, count: 2, runs: [good, bad] } }),
        someResource({ inode: 8, pages: { ...pages, count: 1, runs: [good] } }),
      ],
    }),
  );
}

test.each([
  ['disconnected', { backing: 'disconnected' }],
  ['pin-in-movable', { zone: 'Movable' }],
  ['unmovable-block-in-movable', { zone: 'Movable', migratetype: 'Unmovable' }],
  ['pin-in-cma', { migratetype: 'CMA' }],
] as const)('%s leads to the first page concerned; filter and colours leave only those', (rule, change) => {
  const sample = sampleWith(change);
  const place = placeOf(finding(rule, 7), sample);
  if (place.kind !== 'pages') throw new Error(`a ${place.kind}`);
  expect([place.inode, place.page, placeWords(place)]).toEqual([7, 1, 'Show these pages']);
  const { resources } = applyFilter(parseFilter(place.filter), sample);
  expect(resources.map(({ inode }) => inode)).toEqual([7]);
  const { classes, ofRun } = classify(sample, place.mode);
  const kept = [...ofRun].map(one => place.classes.includes(classes[one]?.key ?? ''));
  expect(kept).toEqual([false, true, false]);
});

test('a page on another node than the CPUs is told apart only where no policy says otherwise', () => {
  const remote = placeOf(
    finding('remote-node', 7),
    sampleWith({ node: 1 }, { target: { cpuNodes: [0], ram: [] } }),
  );
  expect(remote).toMatchObject({ page: 1, filter: 'inode == 7 && node == 1', mode: 'node', classes: ['1'] });
  const unknown = placeOf(finding('remote-node', 7), sampleWith({ node: 1 }, { target: { cpuNodes: null } }));
  expect(unknown).toMatchObject({ page: 0, filter: 'inode == 7', mode: 'node', classes: [] });
  expect(placeWords(unknown)).toBe('Show its pages');
});

test('pages of which nothing says where they are do not count as pages in a zone that is not there', () => {
  const place = placeOf(finding('pin-in-movable', 7), sampleWith({ zone: null }));
  expect(place).toEqual({ kind: 'buffer', inode: 7, view: 'resources' });
});

test('without its pages a finding leads to its buffer, and without a buffer to a view', () => {
  const unread = fromSnapshot(someSnapshot({ resources: [someResource({ inode: 7, pages: null })] }));
  expect(placeOf(finding('disconnected', 7), unread)).toEqual({
    kind: 'buffer',
    inode: 7,
    view: 'resources',
  });
  expect(placeOf(finding('of-a-later-version', 7), unread).kind).toBe('buffer');
  expect(placeOf(finding('of-a-later-version', null), unread)).toEqual({
    kind: 'view',
    view: 'host',
    section: null,
  });
  expect(placeOf(finding('leak', null), unread)).toMatchObject({ kind: 'view', view: 'timeline' });
  expect(placeOf(finding('idle-pin', 7), unread)).toMatchObject({ kind: 'buffer', view: 'timeline' });
  expect(placeWords(placeOf(finding('private-ram', null), unread))).toBe('Show Guest memory');
});

test('held memory blocks lead to the first one that only buffers keep', () => {
  const block = (number: number, zone: string) => ({
    block: number,
    startPfn: number * 0x8000,
    node: 0,
    validZones: [zone],
    state: 'online',
    pinnedPages: 1,
    heldBy: [7],
  });
  const place = (blocks: ReturnType<typeof block>[]) =>
    placeOf(finding('block-held', 7), sampleWith({}, { host: { memoryBlocks: blocks } }));
  const section = 'Memory blocks';
  expect(place([block(3, 'Normal'), block(40, 'Movable')])).toEqual({ kind: 'block', block: 40, section });
  expect(placeWords(place([block(40, 'Movable')]))).toBe('Show memory block 40');
  expect(place([block(3, 'Normal')])).toEqual({ kind: 'block', block: null, section });
});

test('every rule leads somewhere for its buffer and for its process', () => {
  const sample = sampleWith({});
  for (const { id } of RULES) {
    for (const resource of [null, 7])
      expect(placeWords(placeOf(finding(id, resource), sample))).toMatch(/^Show /);
  }
});
