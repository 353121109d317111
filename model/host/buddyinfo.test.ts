import { expect, test } from 'vitest';
import { fixture, fixtureTexts } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseBuddyinfo } from './buddyinfo.ts';
import { parseZoneinfo } from './zoneinfo.ts';

const text = fixture('linux-6.18-vm', '/proc/buddyinfo');

test('the DMA zone: all its free pages', () => {
  const [dma] = parseBuddyinfo(text);
  expect(dma).toEqual({ node: 0, zone: 'DMA', freeBlocksByOrder: [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3] });
  const free = dma?.freeBlocksByOrder.reduce((sum, n, order) => sum + n * 2 ** order, 0);
  expect(free).toBe(parseZoneinfo(fixture('linux-6.18-vm', '/proc/zoneinfo'))[0]?.freePages);
});

test.each([
  ['empty', ''],
  ['a count too few', text.replace(/ 3 \n/, '\n')],
  ['a zone twice', text + text],
  ['cut inside a number', text.trimEnd().slice(0, -1)],
])('refused: %s', (_, damaged) => {
  expect(() => parseBuddyinfo(damaged)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(parseBuddyinfo, fixtureTexts('/proc/buddyinfo'), zones => {
    expect(new Set(zones.map(zone => zone.freeBlocksByOrder.length)).size).toBe(1);
  });
});
