import { expect, test } from 'vitest';
import { fixture, fixtureTexts, hostsWith } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseBuddyinfo } from './buddyinfo.ts';
import { parsePageTypeInfo } from './pagetypeinfo.ts';
import { parseZoneinfo } from './zoneinfo.ts';

const text = fixture('linux-6.18-vm', '/proc/pagetypeinfo');

test('the DMA zone, which nobody uses', () => {
  const info = parsePageTypeInfo(text);
  expect([info.pageblockOrder, info.pagesPerBlock]).toEqual([9, 512]);
  expect(info.types.length).toBe(3 * 5);
  expect(info.types.filter(type => type.zone === 'DMA').map(type => [type.type, type.blocks])).toEqual([
    ['Unmovable', 1],
    ['Movable', 7],
    ['Reclaimable', 0],
    ['HighAtomic', 0],
    ['Isolate', 0],
  ]);
  expect(info.types[1]).toEqual({
    node: 0,
    zone: 'DMA',
    type: 'Movable',
    blocks: 7,
    freePagesByOrder: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3],
    cappedOrders: [],
  });
});

const pages = (counts: readonly number[]): number =>
  counts.reduce((sum, n, order) => sum + n * 2 ** order, 0);

test.each(hostsWith('/proc/pagetypeinfo'))('%s: agrees with buddyinfo and zoneinfo', host => {
  const { types, pagesPerBlock } = parsePageTypeInfo(fixture(host, '/proc/pagetypeinfo'));
  const zones = parseZoneinfo(fixture(host, '/proc/zoneinfo'));
  for (const buddy of parseBuddyinfo(fixture(host, '/proc/buddyinfo'))) {
    const mine = types.filter(type => type.node === buddy.node && type.zone === buddy.zone);
    const zone = zones.find(z => z.node === buddy.node && z.zone === buddy.zone);
    if (!zone) throw new Error(`no zone ${buddy.zone}`);
    // The files were read some milliseconds apart, in which a few pages moved.
    const moved = zone.managedPages / 100 + 64;
    const free = mine.reduce((sum, type) => sum + pages(type.freePagesByOrder), 0);
    expect(Math.abs(free - pages(buddy.freeBlocksByOrder))).toBeLessThanOrEqual(moved);
    expect(Math.abs(free - zone.freePages)).toBeLessThanOrEqual(moved);
    // A block counts whole where the zone begins or ends in it.
    const blocks = mine.reduce((sum, type) => sum + type.blocks, 0);
    expect(blocks * pagesPerBlock).toBeLessThanOrEqual(zone.spannedPages + 2 * pagesPerBlock);
    expect(blocks * pagesPerBlock).toBeGreaterThanOrEqual(zone.managedPages);
  }
});

test('the tables come once a node', () => {
  const { types } = parsePageTypeInfo(fixture('linux-7.2-odd', '/proc/pagetypeinfo'));
  expect([...new Set(types.map(type => `${type.node} ${type.zone}`))]).toEqual(
    parseBuddyinfo(fixture('linux-7.2-odd', '/proc/buddyinfo')).map(zone => `${zone.node} ${zone.zone}`),
  );
  expect(new Set(types.map(type => type.node))).toEqual(new Set([0, 1]));
});

test('counts that the kernel stopped at 100000 are marked', () => {
  const capped = text
    .replace(/(type {6}Movable) +1 +1 /, '$1 >100000 >100000 ')
    .replace(/(zone {3}Normal, type {6}Movable) +\d+ /, '$1 >100000 ');
  const movable = parsePageTypeInfo(capped).types.find(t => t.zone === 'Normal' && t.type === 'Movable');
  expect(movable?.freePagesByOrder[0]).toBe(100000);
  expect(movable?.cappedOrders).toEqual([0]);
});

test('the table of mixed blocks under page_owner is not the one of blocks', () => {
  const mixed = `${text}\nNumber of mixed blocks     Unmovable      Movable  Reclaimable   HighAtomic      Isolate \n${text
    .split('\n')
    .slice(-4)
    .join('\n')}`;
  expect(parsePageTypeInfo(mixed)).toEqual(parsePageTypeInfo(text));
});

test.each([
  ['empty', ''],
  ['a block size that does not fit the order', text.replace('order: 9', 'order: 10')],
  ['no blocks', text.slice(0, text.indexOf('Number of blocks'))],
  ['a column too few', text.replace(/(zone +DMA +1 +)7/, '$1')],
  ['a type that only one table has', text.replace('type      Movable', 'type       Mobile')],
  ['cut inside a number', text.trimEnd().slice(0, -1)],
])('refused: %s', (_, damaged) => {
  expect(() => parsePageTypeInfo(damaged)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(parsePageTypeInfo, fixtureTexts('/proc/pagetypeinfo'), ({ types, pagesPerBlock }) => {
    expect(types.length).toBeGreaterThan(0);
    expect(Number.isSafeInteger(pagesPerBlock)).toBe(true);
    expect(new Set(types.map(type => type.freePagesByOrder.length)).size).toBe(1);
  });
});
