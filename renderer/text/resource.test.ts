import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromPageRuns, fromSnapshot } from '../../model/run-columns.ts';
import type { PageRun } from '../../model/snapshot.ts';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { backingText, countTexts, placeText, summaryOf, whereText, whyNoPages } from './resource.ts';

const runs = fc.array(
  fc.record<PageRun>({
    index: fc.nat(),
    pfn: fc.nat(),
    count: fc.integer({ min: 1, max: 1000 }),
    folioBytes: fc.constant(4096),
    node: fc.constantFrom(null, 0, 1, 200),
    zone: fc.constantFrom(null, 'Normal', 'Movable'),
    migratetype: fc.constantFrom(null, 'Movable', 'CMA', 'Unmovable'),
    gpa: fc.constant(null),
    ramInode: fc.constant(null),
    ramOffset: fc.constant(null),
    backing: fc.constantFrom('connected', 'disconnected', 'unknown'),
  }),
);

test('the summary counts every page once, where it is', () => {
  fc.assert(
    fc.property(runs, of => {
      const expected = new Map<string, number>();
      const backing = { connected: 0, disconnected: 0, unknown: 0 };
      for (const run of of) {
        expected.set(placeText(run), (expected.get(placeText(run)) ?? 0) + run.count);
        backing[run.backing] += run.count;
      }
      const summary = summaryOf(fromPageRuns(of));
      const places = new Map(summary.places.map(place => [placeText(place), place.pages]));
      expect(places).toEqual(expected);
      expect(summary.places.map(({ pages }) => pages)).toEqual([...expected.values()].sort((a, b) => b - a));
      expect(summary).toMatchObject(backing);
    }),
  );
});

test('an unknown place is a question mark, never a zone', () => {
  const [run] = [someRun({ node: null, zone: null, migratetype: null })];
  expect(whereText(fromPageRuns([run]))).toBe('? ? ?');
  expect(whereText(fromPageRuns([]))).toBe('–');
  expect(whereText(fromPageRuns([run, someRun({ count: 9000 })]))).toBe('0 Normal Movable +1');
});

test('a buffer with one lost page is not called connected', () => {
  const of = (...backings: PageRun['backing'][]) =>
    backingText(summaryOf(fromPageRuns(backings.map(backing => someRun({ backing, count: 3 })))));
  expect(of('connected', 'disconnected', 'unknown')).toBe('3 disconnected');
  expect(of('connected', 'unknown')).toBe('3 unknown');
  expect(of('connected')).toBe('connected');
});

describe('why there are no pages', () => {
  const [resource] = fromSnapshot(someSnapshot({ resources: [someResource({ pages: null })] })).resources;
  if (resource === undefined) throw new Error('no resource');

  test.each([
    ['denied', 'denied', 'kernel memory rights'],
    ['raced', 'raced', null],
    ['ok', 'raced', null],
    ['absent', 'not read', null],
  ] as const)('%s kernel memory is “%s”', (state, word, grant) => {
    const source = someSource('kernel-memory', { state, ...(grant ? { grant } : {}) });
    expect(whyNoPages(resource, [source])).toMatchObject({ word, grant });
  });

  test('no source, or another driver’s buffer, is neither denied nor raced', () => {
    expect(whyNoPages(resource, []).word).toBe('not read');
    expect(whyNoPages({ ...resource, exporter: 'i915' }, []).word).toBe('–');
  });
});

test('what was not looked at is not counted as none', () => {
  const { finding, because } = {
    finding: {
      rule: 'disconnected',
      severity: 'error',
      resource: 1,
      title: 'x',
      explanation: '',
      remedy: '',
      evidence: [],
      reference: '',
    },
    because: [{ rule: 'pin-in-cma', because: 'kernel memory was denied' }],
  } as const;
  const denied = someSource('maps', { state: 'denied' });
  const of = (change: Parameters<typeof someSnapshot>[0]) => countTexts(fromSnapshot(someSnapshot(change)));
  expect(of({})).toEqual({ resources: '1', findings: '0' });
  expect(of({ resources: [] })).toEqual({ resources: '0', findings: '0' });
  expect(of({ resources: [], sources: [denied] })).toEqual({ resources: 'denied', findings: '0' });
  expect(of({ notChecked: because }).findings).toBe('0, 1 not checked');
  expect(of({ notChecked: because, findings: [finding] }).findings).toBe('1');
});
