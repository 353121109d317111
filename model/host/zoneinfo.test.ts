import { expect, test } from 'vitest';
import { fixture, fixtureFiles, fixtureTexts, hasFixture, hostsWith } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseMeminfo } from './meminfo.ts';
import { parseMemoryBlocks } from './memory-blocks.ts';
import { parseZoneinfo } from './zoneinfo.ts';

const text = fixture('linux-6.18-vm', '/proc/zoneinfo');
const sum = (numbers: readonly (number | null)[]): number =>
  numbers.reduce<number>((s, n) => s + (n ?? 0), 0);

test('zones of a machine with a hole and two empty zones', () => {
  const zones = parseZoneinfo(text);
  expect(zones.map(zone => [zone.zone, zone.startPfn, zone.spannedPages, zone.presentPages])).toEqual([
    ['DMA', 1, 4095, 3998],
    ['DMA32', 4096, 1044480, 782336],
    ['Normal', 1048576, 5505024, 5505024],
    ['Movable', null, 0, 0],
    ['Device', null, 0, 0],
  ]);
  expect(zones[0]).toEqual({
    node: 0,
    zone: 'DMA',
    startPfn: 1,
    spannedPages: 4095,
    presentPages: 3998,
    managedPages: 3840,
    freePages: 3840,
    cmaPages: 0,
    freeCmaPages: 0,
  });
  expect(zones[3]).toMatchObject({ cmaPages: 0, freeCmaPages: null });
});

test.each(hostsWith('/proc/iomem'))('%s: present pages are the whole pages of System RAM', host => {
  // What iomem shows to all but root.
  if (/^0+-0+ : System RAM$/m.test(fixture(host, '/proc/iomem'))) return;
  const ram = [...fixture(host, '/proc/iomem').matchAll(/^([0-9a-f]+)-([0-9a-f]+) : System RAM$/gm)];
  const pages = ram.map(([, first = '', last = '']) => {
    const begin = Math.ceil(Number(`0x${first}`) / 4096);
    return Math.max(0, Math.floor((Number(`0x${last}`) + 1) / 4096) - begin);
  });
  expect(ram.length).toBeGreaterThan(0);
  const blocks = parseMemoryBlocks(fixtureFiles(host, '/sys/devices/system/memory'));
  const offline = blocks.blocks.filter(block => block.state === 'offline').length;
  const present = sum(parseZoneinfo(fixture(host, '/proc/zoneinfo')).map(zone => zone.presentPages));
  expect(present + (offline * blocks.blockBytes) / 4096).toBe(sum(pages));
});

test.each(hostsWith('/proc/zoneinfo'))('%s: zones agree with themselves and with meminfo', host => {
  const zones = parseZoneinfo(fixture(host, '/proc/zoneinfo'));
  for (const zone of zones) {
    expect(zone.managedPages).toBeLessThanOrEqual(zone.presentPages);
    expect(zone.presentPages).toBeLessThanOrEqual(zone.spannedPages);
    expect(zone.freePages).toBeLessThanOrEqual(zone.managedPages);
    expect(zone.startPfn === null).toBe(zone.presentPages === 0);
  }
  if (!hasFixture(host, '/proc/meminfo')) return;
  const { bytes } = parseMeminfo(fixture(host, '/proc/meminfo'));
  // A kernel that initialises memory lazily counts in MemTotal what no zone manages yet.
  const managed = BigInt(sum(zones.map(zone => zone.managedPages))) * 4096n;
  if (host === 'linux-6.18-vm') expect(managed).toBeLessThan(bytes.get('MemTotal') ?? 0n);
  else expect(managed).toBe(bytes.get('MemTotal'));
  expect(BigInt(sum(zones.map(zone => zone.cmaPages))) * 4096n).toBe(bytes.get('CmaTotal') ?? 0n);
});

test('a zone of which all memory went offline', () => {
  const offline = text.replace(/ {8}spanned {2}0\n/, '        spanned  32768\n');
  expect(parseZoneinfo(offline)[3]).toMatchObject({ startPfn: null, spannedPages: 32768, presentPages: 0 });
});

test('kernels before 5.12 print no cma', () => {
  expect(parseZoneinfo(text.replaceAll(/ {8}cma .*\n/g, ''))[0]?.cmaPages).toBeNull();
});

test.each([
  ['empty', ''],
  ['a zone twice', text + text],
  ['cut inside a number', text.slice(0, text.indexOf('spanned') + 11)],
  ['no start_pfn of a zone with pages', text.replace(/ {2}start_pfn:.*\n/, '')],
  ['no present', text.replace(/ {8}present .*\n/, '')],
  ['present without a number', text.replace(/present {2}3998/, 'present')],
  ['present twice', text.replace(/( {8}present .*\n)/, '$1$1')],
  ['a negative number', text.replace(/present {2}3998/, 'present  -3998')],
])('refused: %s', (_, damaged) => {
  expect(() => parseZoneinfo(damaged)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(parseZoneinfo, fixtureTexts('/proc/zoneinfo'), zones => {
    expect(zones.length).toBeGreaterThan(0);
    expect(new Set(zones.map(zone => `${zone.node} ${zone.zone}`)).size).toBe(zones.length);
    for (const zone of zones) {
      if (zone.presentPages > 0) expect(zone.startPfn).not.toBeNull();
      expect(Number.isSafeInteger((zone.startPfn ?? 0) + zone.spannedPages)).toBe(true);
    }
  });
});
