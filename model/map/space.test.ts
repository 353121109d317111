import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { someSnapshot } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { MemoryBlockState, Snapshot, ZoneState } from '../snapshot.ts';
import { guestSpace, hostSpace, sameSpace, segmentAt } from './space.ts';

const recorded = fromSnapshot(
  JSON.parse(readFileSync(new URL('../recorded-snapshot.json', import.meta.url), 'utf8')) as Snapshot,
);

test('the recording’s machine: two zones below the PCI hole, one above', () => {
  const space = hostSpace(recorded);
  // The hole of 1 GiB is drawn as 256 MiB.
  expect(space.pages).toBe(1048576 + 262144 - 196608);
  expect(space.regions.map(({ label, start, pages }) => [label, start, pages])).toEqual([
    ['DMA, node 0', 1, 4095],
    ['DMA32, node 0', 4096, 782336],
    ['Movable, node 0', 851968, 262144],
  ]);
  expect(space.segments.map(({ start, real, presence, note }) => [start, real, presence, note])).toEqual([
    [0, 1, 'hole', 'in no zone'],
    [1, 4095, 'present', ''],
    [4096, 782336, 'present', ''],
    [786432, 262144, 'hole', 'no memory block'],
    [851968, 262144, 'present', ''],
  ]);
  expect(space.regions.map(({ detail }) => detail)).toEqual([
    '97 pages of them no memory: which is not told.',
    '32 pages of them no memory: which is not told.',
    '',
  ]);
  expect(sameSpace(space, hostSpace(recorded))).toBe(true);
});

test('the recording’s guest: by address, then what has none', () => {
  const space = guestSpace(recorded);
  if (space === null) throw new Error('no guest RAM');
  const [huge, small] = [2 ** 21, 4096].map(
    bytes => recorded.target.ram?.find(({ pageSizeBytes }) => pageSizeBytes === bytes)?.inode,
  );
  expect(
    space.segments.map(({ start, real, presence, gpaPage, ram }) => [start, real, presence, gpaPage, ram]),
  ).toEqual([
    [0, 192, 'present', 0, { inode: huge, page: 0 }],
    [192, 64, 'hole', 192, null],
    [256, 65280, 'present', 256, { inode: huge, page: 256 }],
    [65536, 983040, 'hole', 65536, null],
    // The hole below 4 GiB is drawn shorter, by multiples of 16 MiB.
    [65536 + 4096, 32768, 'present', 1048576, { inode: small, page: 0 }],
    [102400, 704, 'hole', null, null],
    [103104, 64, 'present', null, { inode: huge, page: 192 }],
  ]);
  expect(space.regions.at(-1)?.label).toBe('mem1, not in the guest’s memory now');
});

const zone = (change: Partial<ZoneState>): ZoneState => ({
  node: 0,
  zone: 'Normal',
  startPfn: 0,
  spannedPages: 1000,
  presentPages: 1000,
  managedPages: 1000,
  freePages: 0,
  cmaPages: null,
  freeCmaPages: null,
  ...change,
});
const block = (n: number, change: Partial<MemoryBlockState> = {}): MemoryBlockState => ({
  block: n,
  startPfn: n * 32768,
  node: 0,
  validZones: [],
  state: 'online',
  pinnedPages: 0,
  heldBy: [],
  ...change,
});
const hostOf = (host: Partial<Snapshot['host']>) =>
  hostSpace(fromSnapshot(someSnapshot({ host, resources: [] }))).segments.map(
    ({ start, real, presence, note }) => [start, real, presence, note],
  );

test('without memory blocks, where a zone with holes has them is unknown', () => {
  const zones = [zone({}), zone({ zone: 'Movable', startPfn: 1000, presentPages: 900 })];
  expect(hostOf({ zones, memoryBlocks: null })).toEqual([
    [0, 1000, 'present', ''],
    [1000, 1000, 'unknown', 'the zone has holes, and memory blocks were not read'],
  ]);
});

test('a memory block that is offline is no memory now', () => {
  const zones = [zone({ spannedPages: 3 * 32768 })];
  const memoryBlocks = [block(2), block(0), block(1, { state: 'offline' })];
  expect(hostOf({ zones, memoryBlocks })).toEqual([
    [0, 32768, 'present', ''],
    [32768, 32768, 'hole', 'memory block 1 is offline'],
    [65536, 32768, 'present', ''],
  ]);
});

test('spans of nodes that interleave go to the node of the block', () => {
  const zones = [zone({ spannedPages: 3 * 32768 }), zone({ node: 1, startPfn: 32768, spannedPages: 32768 })];
  const memoryBlocks = [block(0), block(1, { node: 1 }), block(2)];
  const space = hostSpace(fromSnapshot(someSnapshot({ host: { zones, memoryBlocks }, resources: [] })));
  expect(space.segments.map(({ region }) => region)).toEqual([0, 1, 0]);
});

test('a long hole is drawn shorter and keeps the alignment of what follows', () => {
  const far = 2 ** 30 + 12345 * 512;
  const zones = [zone({}), zone({ node: 1, startPfn: far, spannedPages: 512, presentPages: 512 })];
  const space = hostSpace(fromSnapshot(someSnapshot({ host: { zones, memoryBlocks: null }, resources: [] })));
  const segment = segmentAt(space, space.pages - 1);
  expect(segment?.pfn).toBe(far);
  expect(space.pages).toBeLessThan(2 ** 20);
  // A hotplug block is the most that anything is aligned to here.
  expect((far - (segment?.start ?? 0)) % 32768).toBe(0);
});

test('nothing read: the space reaches to the last held page and knows nothing of it; guest RAM is not known', () => {
  const sample = fromSnapshot(
    someSnapshot({ host: { zones: null, memoryBlocks: null }, target: { ram: null } }),
  );
  const space = hostSpace(sample);
  expect(space.segments).toMatchObject([{ start: 0, pages: 0x10bbf0 + 256, presence: 'unknown' }]);
  expect(guestSpace(sample)).toBeNull();
});
