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
  const two = someResource({ inode: 4, pages: { ...pages, runs: [someRun(), someRun({ index: 256 })] } });
  selection.observe(fromSnapshot(someSnapshot({ resources: [two] })));
  selection.selectRun(1);
  selection.observe(fromSnapshot(someSnapshot({ resources: [two] })));
  expect(selection.run).toBe(1);
  selection.observe(sampleOf(4));
  expect(selection.run).toBe(-1);
});
