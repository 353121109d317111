import { expect, test } from 'vitest';
import { fixture, fixtureTexts, hostsWith } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { follPin, parseVmstat } from './vmstat.ts';
import { parseZoneinfo } from './zoneinfo.ts';

const text = fixture('linux-6.18-vm', '/proc/vmstat');

test.each(hostsWith('/proc/vmstat'))('%s: free pages are about those of the zones', host => {
  const free = Number(parseVmstat(fixture(host, '/proc/vmstat')).get('nr_free_pages'));
  const zones = parseZoneinfo(fixture(host, '/proc/zoneinfo'));
  const sum = zones.reduce((pages, zone) => pages + zone.freePages, 0);
  // Read some milliseconds apart.
  expect(Math.abs(free - sum)).toBeLessThan(0.02 * sum + 1000);
});

test('udmabuf takes FOLL_PIN references since 6.11 and plain page references before', () => {
  for (const host of hostsWith('/proc/vmstat').filter(name => !name.includes('vm'))) {
    const pins = follPin(parseVmstat(fixture(host, '/proc/vmstat')));
    if (host.replace('-odd', '') === 'linux-6.1') expect(pins).toEqual({ acquired: 0, released: 0 });
    else expect((pins?.acquired ?? 0) - (pins?.released ?? 0)).toBeGreaterThan(0);
  }
});

test('pin references', () => {
  expect(follPin(parseVmstat(text))).toEqual({ acquired: 0, released: 0 });
  expect(
    follPin(parseVmstat(text.replace('acquired 0', 'acquired 512').replace('released 0', 'released 256'))),
  ).toEqual({
    acquired: 512,
    released: 256,
  });
  expect(follPin(parseVmstat(text.replace(/nr_foll_pin.*\n/g, '')))).toBeNull();
  expect(follPin(parseVmstat(text.replace('acquired 0', 'acquired 18446744073709551615')))).toBeNull();
});

test.each([
  ['empty', ''],
  ['a name without value', `${text}nr_new\n`],
  ['a name twice', `${text}nr_free_pages 1\n`],
  ['a negative value', `${text}nr_new -1\n`],
  ['past 2^64', `${text}nr_new 18446744073709551616\n`],
  ['cut inside a number', text.slice(0, text.indexOf('nr_free_pages') + 17)],
])('refused: %s', (_, damaged) => {
  expect(() => parseVmstat(damaged)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(parseVmstat, fixtureTexts('/proc/vmstat'), counters => {
    for (const value of counters.values()) expect(value >= 0n && value < 2n ** 64n).toBe(true);
  });
});
