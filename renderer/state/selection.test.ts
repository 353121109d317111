import { expect, test } from 'vitest';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { Selection } from './selection.svelte.ts';

const sampleOf = (...inodes: number[]): Sample =>
  fromSnapshot(someSnapshot({ resources: inodes.map(inode => someResource({ inode })) }));

test('the first resource is selected where none was', () => {
  const selection = new Selection();
  selection.observe(sampleOf());
  expect(selection.inode).toBeNull();
  selection.observe(sampleOf(4, 5));
  expect(selection.inode).toBe(4);
});

test('a selection survives new and reordered resources', () => {
  const selection = new Selection();
  selection.observe(sampleOf(4, 5));
  selection.select(5);
  selection.selectRun(0);
  selection.observe(sampleOf(9, 5, 4));
  expect([selection.inode, selection.run, selection.released]).toEqual([5, 0, null]);
});

test('a resource that goes away keeps what was last read of it, until another is chosen', () => {
  const selection = new Selection();
  const last = sampleOf(4, 5);
  selection.observe(last);
  selection.observe(sampleOf(5));
  selection.observe(sampleOf(5));
  expect(selection.inode).toBe(4);
  expect(selection.released?.sample).toBe(last);
  expect(selection.released?.resource).toBe(last.resources[0]);
  selection.select(5);
  expect(selection.released).toBeNull();
});

test('one that was never seen gives way to one that is there', () => {
  const selection = new Selection();
  selection.select(77);
  selection.observe(sampleOf(5));
  expect([selection.inode, selection.released]).toEqual([5, null]);
});

test('a run that is no more is not selected', () => {
  const selection = new Selection();
  const pages = someResource().pages;
  if (pages === null) throw new Error('no pages');
  const two = someResource({
    inode: 4,
    pages: { ...pages, runs: [someRun(), someRun({ index: 256, pfn: 999 })] },
  });
  selection.observe(fromSnapshot(someSnapshot({ resources: [two] })));
  selection.selectRun(1);
  selection.observe(fromSnapshot(someSnapshot({ resources: [two] })));
  expect(selection.run).toBe(1);
  selection.observe(sampleOf(4));
  expect(selection.run).toBe(-1);
});

/** A buffer with these runs: [index, pfn, pages]. */
const withRuns = (inode: number, ...runs: [number, number, number][]) => {
  const pages = someResource().pages;
  const made = runs.map(([index, pfn, count]) => someRun({ index, pfn, count }));
  return someResource({ inode, pages: pages && { ...pages, runs: made } });
};
const observed = (selection: Selection, ...resources: ReturnType<typeof withRuns>[]): void =>
  selection.observe(fromSnapshot(someSnapshot({ resources })));

test('a page selects its run, its resource and its memory block', () => {
  const selection = new Selection();
  observed(selection, withRuns(4, [0, 100, 8]), withRuns(5, [0, 200, 8], [8, 3 * 32768 - 1, 4]));
  selection.selectPage(5, 9);
  expect(selection.page).toEqual({ inode: 5, index: 9, pfn: 3 * 32768 });
  expect([selection.inode, selection.run, selection.block]).toEqual([5, 1, 3]);
  selection.selectRun(1);
  expect([selection.page?.index, selection.block]).toEqual([8, 2]);
});

test('a page survives that its run is cut in two, as when a part of it is discarded', () => {
  const selection = new Selection();
  observed(selection, withRuns(5, [0, 200, 8]));
  selection.selectPage(5, 6);
  observed(selection, withRuns(5, [0, 200, 4], [4, 204, 4]));
  expect([selection.run, selection.page?.index]).toEqual([1, 6]);
});

test('a page is followed to where its buffer has it now, and dropped where it has it no more', () => {
  const selection = new Selection();
  observed(selection, withRuns(5, [0, 200, 8], [8, 400, 2]));
  selection.selectPage(5, 9);
  observed(selection, withRuns(5, [0, 400, 2], [2, 200, 8]));
  expect(selection.page).toEqual({ inode: 5, index: 1, pfn: 401 });
  expect(selection.run).toBe(0);
  observed(selection, withRuns(5, [0, 200, 8]));
  expect([selection.page, selection.run, selection.block, selection.inode]).toEqual([null, -1, null, 5]);
});

test('a page comes back after a sample in which it could not be read', () => {
  const selection = new Selection();
  observed(selection, withRuns(5, [0, 200, 8]));
  selection.selectPage(5, 3);
  observed(selection, someResource({ inode: 5, pages: null }));
  expect([selection.run, selection.page?.pfn]).toEqual([-1, 203]);
  observed(selection, withRuns(5, [0, 200, 8]));
  expect(selection.run).toBe(0);
});

test('a page of a buffer that went away stays selected in what was last read of it', () => {
  const selection = new Selection();
  observed(selection, withRuns(5, [0, 200, 8], [8, 400, 2]));
  observed(selection, withRuns(6, [0, 200, 8]));
  selection.selectRun(1);
  expect([selection.page?.pfn, selection.released?.resource.inode]).toEqual([400, 5]);
});

test('a page that is not there is not selected; a block is chosen by itself', () => {
  const selection = new Selection();
  observed(selection, withRuns(5, [0, 200, 8]));
  selection.selectPage(5, 8);
  expect([selection.page, selection.run]).toEqual([null, -1]);
  selection.selectPage(5, 1);
  selection.selectBlock(77);
  expect([selection.block, selection.page?.pfn]).toEqual([77, 201]);
  selection.clearPage();
  expect([selection.inode, selection.page, selection.block]).toEqual([5, null, null]);
});
