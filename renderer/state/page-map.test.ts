import { expect, test } from 'vitest';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import type { PageRun } from '../../model/snapshot.ts';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { mapKey } from '../map/keys.ts';
import { Navigation } from './navigation.svelte.ts';
import { PageMapState } from './page-map.svelte.ts';
import { Selection } from './selection.svelte.ts';

const zone = {
  node: 0,
  zone: 'Normal',
  startPfn: 0,
  spannedPages: 2 ** 20,
  presentPages: 2 ** 20,
  managedPages: 2 ** 20,
  freePages: 0,
  cmaPages: 0,
  freeCmaPages: 0,
};
const buffer = (inode: number, ...runs: Partial<PageRun>[]) => {
  const { pages } = someResource();
  return someResource({ inode, pages: pages && { ...pages, runs: runs.map(someRun) } });
};
const sampleOf = (backing: PageRun['backing'] = 'connected'): Sample =>
  fromSnapshot(
    someSnapshot({
      host: { zones: [zone], memoryBlocks: null },
      resources: [
        buffer(4, { pfn: 1000, count: 512 }, { index: 512, pfn: 70000, count: 4, backing }),
        buffer(5, { pfn: 50000, count: 8, migratetype: 'CMA' }),
      ],
    }),
  );

function opened(sample = sampleOf()) {
  const selection = new Selection();
  const map = new PageMapState(selection);
  map.resize(800, 600);
  selection.observe(sample);
  map.update(sample, null);
  const press = (key: string, shiftKey = false) =>
    mapKey(
      { key, shiftKey, ctrlKey: false, metaKey: false, altKey: false },
      map,
      selection,
      new Navigation(),
    )?.();
  return { selection, map, press };
}

test('arrows go from run to run and from buffer to buffer, and say where that is', () => {
  const { selection, map, press } = opened();
  press('ArrowRight');
  expect([selection.page?.pfn, selection.run]).toEqual([1000, 0]);
  expect(map.said).toContain('dma-buf 4, run 1 of 2, 512 pages, PFN 0x3e8');
  press('ArrowRight');
  expect([selection.inode, selection.page?.pfn]).toEqual([5, 50000]);
  press('ArrowRight');
  press('ArrowRight');
  expect([selection.page?.pfn, map.said]).toEqual([70000, 'No next run on this map.']);
  press('ArrowDown');
  expect(selection.page?.pfn).toBe(50000);
  press('ArrowUp');
  expect(selection.page?.pfn).toBe(1000);
  press('Escape');
  expect([selection.page, selection.inode]).toEqual([null, 4]);
});

test('F makes the run large, Home shows all, and what is selected stays in view when zooming', () => {
  const { map, press } = opened();
  const all = map.layout;
  press('ArrowRight');
  press('f');
  expect(map.layout.level).toBe(0);
  const boundary = map.spot?.position ?? 0;
  const inView = () => {
    const y = Math.floor(boundary / 2 ** map.layout.rowBits) * map.layout.cellHeight - map.top;
    return y >= -map.layout.cellHeight && y <= 600;
  };
  expect(inView()).toBe(true);
  for (const key of ['-', '-', '-', 's', '+', 'w']) {
    press(key);
    expect(inView(), key).toBe(true);
  }
  press('Home');
  expect([map.layout, map.top]).toEqual([all, 0]);
});

test('a class that is off is passed over, and one alone brings all back', () => {
  const { selection, map, press } = opened();
  map.setMode('migratetype');
  map.update(sampleOf(), null);
  map.isolate('CMA');
  map.update(sampleOf(), null);
  press('ArrowRight');
  expect(selection.inode).toBe(5);
  map.isolate('CMA');
  expect(map.hidden.size).toBe(0);
  map.toggle('CMA');
  expect([...map.hidden]).toEqual(['CMA']);
  map.setMode('zone');
  expect(map.hidden.size).toBe(0);
});

test('a page that is discarded is found by N in the next sample', () => {
  const { selection, map, press } = opened();
  press('n');
  expect([map.said, selection.page]).toEqual(['No next disconnected run on this map.', null]);
  const next = sampleOf('disconnected');
  selection.observe(next);
  map.update(next, null);
  expect(map.model?.counts.disconnected).toBe(4);
  press('n');
  expect(selection.page?.pfn).toBe(70000);
});

test('a window of no size yet, and no sample, do not fail', () => {
  const map = new PageMapState(new Selection());
  map.zoom(3);
  map.pan(1);
  map.fitSelection();
  map.step('run', 1);
  expect(map.top).toBe(0);
});
