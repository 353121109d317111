import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { equals } from '../../model/filter/combine.ts';
import { fromSnapshot } from '../../model/run-columns.ts';
import { someResource, someSnapshot } from '../../test/snapshots.ts';
import { Filter } from './filter.svelte.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const sample = fromSnapshot(
  someSnapshot({ resources: [someResource({ inode: 1 }), someResource({ inode: 2, pages: null })] }),
);
const shown = (filter: Filter) => [...filter.of(sample).inodes];

test('what is typed is judged at once and applied after a pause, or with Enter', () => {
  const filter = new Filter();
  filter.type('inode == 2');
  expect([filter.error, shown(filter)]).toEqual([null, [1, 2]]);
  vi.advanceTimersByTime(299);
  filter.type('inode == 1');
  vi.advanceTimersByTime(299);
  expect(shown(filter)).toEqual([1, 2]);
  vi.advanceTimersByTime(1);
  expect(shown(filter)).toEqual([1]);
  filter.type('inode == 2');
  filter.commit();
  expect(shown(filter)).toEqual([2]);
});

test('while the text is wrong the last right one stays applied', () => {
  const filter = new Filter();
  filter.set('inode == 1');
  filter.type('inode == 1 && zone =');
  vi.runAllTimers();
  expect([filter.error?.message, filter.appliedText, shown(filter)]).toEqual([
    'A single “=” means nothing here. Did you mean ==?',
    'inode == 1',
    [1],
  ]);
  // Not even a right text that was waiting comes after a wrong one.
  filter.type('inode == 2');
  filter.type('inode =');
  vi.runAllTimers();
  expect(shown(filter)).toEqual([1]);
  filter.clear();
  expect([filter.error, filter.text, shown(filter)]).toEqual([null, '', [1, 2]]);
});

test('a text that only lacks its end is unfinished, not wrong', () => {
  const filter = new Filter();
  for (const [text, unfinished] of [
    ['zone ==', true],
    ['zone == DMA && ', true],
    ['(zone == DMA', true],
    ['zone == DMA', false],
    ['zoen == DMA', false],
    ['zone = DMA', false],
  ] as const) {
    filter.type(text);
    expect([text, filter.unfinished]).toEqual([text, unfinished]);
  }
});

test('cells come on top of the filter that is applied', () => {
  const filter = new Filter();
  filter.take(equals('zone', 'Normal'), 'apply');
  expect([filter.text, filter.of(sample).undecided, shown(filter)]).toEqual(['zone == Normal', 1, [1]]);
  filter.type('zone == Normal && (');
  filter.take(equals('inode', 7), 'exclude');
  expect(filter.text).toBe('zone == Normal && inode != 7');
});

test('one sample is looked through once', () => {
  const filter = new Filter();
  filter.set('zone == Normal');
  expect(filter.of(sample)).toBe(filter.of(sample));
  const before = filter.of(sample);
  filter.set('node == 0');
  expect(filter.of(sample)).not.toBe(before);
});
