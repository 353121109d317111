import { expect, test } from 'vitest';
import { FLAG } from '../../model/map/classes.ts';
import { PageMapModel } from '../../model/map/page-map.ts';
import { nextMarked } from '../../model/map/walk.ts';
import recordedSnapshot from '../../model/recorded-snapshot.json';
import { fromSnapshot } from '../../model/run-columns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hostileTexts, poisoned } from '../../test/snapshots.ts';
import { layoutOf } from './layout.ts';
import { addressText, groundText, pageText, scaleText, spotFacts, spotWords, totalText } from './words.ts';

const recorded = recordedSnapshot as unknown as Snapshot;
const mapOf = (snapshot: Snapshot, space: 'host' | 'guest'): PageMapModel => {
  const options = { space, mode: 'resource', hidden: new Set<string>(), shown: null } as const;
  const model = PageMapModel.of(fromSnapshot(snapshot), options, null);
  if (model === null) throw new Error('no map');
  return model;
};

test('a disconnected page of the recording is named with all its places', () => {
  const run = recorded.resources
    .find(({ inode }) => inode === 7)
    ?.pages?.runs.find(({ backing }) => backing === 'disconnected');
  const pfn = `0x${run?.pfn.toString(16)}`;
  for (const space of ['host', 'guest'] as const) {
    const model = mapOf(recorded, space);
    const spot = nextMarked(model, null, 1, FLAG.disconnected);
    if (spot === null) throw new Error('nothing is disconnected');
    const facts = Object.fromEntries(spotFacts(model, spot).map(({ name, value }) => [name, value]));
    expect(facts).toMatchObject({
      'dma-buf': '7',
      PFN: pfn,
      'Guest address': '0x100060000',
      'RAM offset': `memfd ${run?.ramInode} + 0x60000`,
      Zone: 'DMA32',
      Node: '0',
      Backing: 'disconnected',
    });
    expect(spotWords(spot)).toContain('disconnected');
    expect(addressText(model.space, spot.position)).toBe(space === 'host' ? pfn : '0x100060000');
    expect(pageText(model.space, spot.position)).toBe(space === 'host' ? pfn : '0x100060');
  }
});

test('holes say what they are; an address in a hole that is drawn shorter is none', () => {
  const { space } = mapOf(recorded, 'host');
  const hole = space.segments.find(({ real, pages }) => real > pages);
  if (hole === undefined) throw new Error('no hole is drawn shorter');
  expect(groundText(mapOf(recorded, 'host'), hole.start)).toBe(
    'Hole: no memory block, 1 GiB, drawn shorter.',
  );
  expect(addressText(space, hole.start + 5)).toBe('');
  expect(groundText(mapOf(recorded, 'host'), 5000)).toBe('DMA32, node 0.');
});

test('scale and totals are exact', () => {
  expect(scaleText(layoutOf(900, 620, 2 ** 24, 99))).toMatch(
    /^1 cell = \d+ pages \(\d+ [KM]iB\), 1 row = \d+ MiB$/,
  );
  expect(totalText(mapOf(recorded, 'guest'))).toBe('4675 pages (18.3 MiB) held of 384 MiB.');
});

test('nothing from outside reaches the words unescaped', () => {
  for (const text of hostileTexts) {
    const keep = ['pfn', 'gpa', 'backing', 'schema', 'takenAt', 'createdAt', 'offset', 'source', 'severity'];
    const model = mapOf(poisoned(recorded, keep, text), 'host');
    const spot = nextMarked(model, null, 1, FLAG.disconnected);
    if (spot === null) throw new Error('nothing is disconnected');
    const words = [
      spotWords(spot),
      groundText(model, spot.position),
      ...spotFacts(model, spot).map(({ value }) => value),
      ...model.space.regions.map(({ label, detail }) => label + detail),
      ...model.classes.classes.map(({ label }) => label),
    ].join('');
    // Only what already is an escape is left to be escaped.
    expect(printable(words)).toBe(words.replaceAll('\\', '\\\\'));
  }
});
