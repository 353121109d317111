import { expect, test } from 'vitest';
import { fixture, fixtureFiles, hosts } from '../../test/fixtures.ts';
import { ParseError } from '../parse-error.ts';
import { parseCma } from './cma.ts';
import { parseMeminfo } from './meminfo.ts';
import { parseZoneinfo } from './zoneinfo.ts';

const SYSFS = '/sys/kernel/mm/cma/reserved';
const DEBUGFS = '/sys/kernel/debug/cma';

test('sysfs alone, and with debugfs', () => {
  const sysfs: [string, string][] = [
    [`${SYSFS}/total_pages`, '196608\n'],
    [`${SYSFS}/available_pages`, '196000\n'],
    [`${SYSFS}/alloc_pages_success`, '0\n'],
  ];
  const area = { name: 'reserved', totalPages: 196608, availablePages: 196000 };
  expect(parseCma(new Map(sysfs))).toEqual([{ ...area, basePfn: null }]);
  expect(parseCma(new Map([...sysfs, [`${DEBUGFS}/reserved/base_pfn`, '1048576\n']]))).toEqual([
    { ...area, basePfn: 1048576 },
  ]);
  expect(
    parseCma(new Map([...sysfs, [`${DEBUGFS}/reserved/ranges/0/base_pfn`, '1048576\n']]))[0]?.basePfn,
  ).toBe(1048576);
  expect(
    parseCma(
      new Map([
        ...sysfs,
        [`${DEBUGFS}/reserved/base_pfn`, '1048576\n'],
        [`${DEBUGFS}/reserved/ranges/0/base_pfn`, '1048576\n'],
        [`${DEBUGFS}/reserved/ranges/1/base_pfn`, '2097152\n'],
      ]),
    )[0]?.basePfn,
  ).toBeNull();
});

test('kernels that have the total in debugfs only', () => {
  const success: [string, string] = [`${SYSFS}/alloc_pages_success`, '0\n'];
  expect(
    parseCma(
      new Map([
        success,
        [`${DEBUGFS}/cma-reserved/count`, '4096\n'],
        [`${DEBUGFS}/cma-reserved/base_pfn`, '8192\n'],
      ]),
    ),
  ).toEqual([{ name: 'reserved', totalPages: 4096, availablePages: null, basePfn: 8192 }]);
  expect(() => parseCma(new Map([success]))).toThrow(ParseError);
  expect(parseCma(new Map([success]), 65536)[0]?.totalPages).toBe(65536);
  const other: [string, string][] = ['a', 'b'].map(name => [
    `/sys/kernel/mm/cma/${name}/total_pages`,
    '1000\n',
  ]);
  expect(parseCma(new Map([success, ...other]), 65536)[2]?.totalPages).toBe(63536);
  expect(() => parseCma(new Map([success, ...other]), 2000)).toThrow(ParseError);
  expect(() =>
    parseCma(new Map([success, ['/sys/kernel/mm/cma/other/alloc_pages_fail', '0\n']]), 65536),
  ).toThrow(ParseError);
  expect(() => parseCma(new Map([[`${SYSFS}/total_pages`, 'many\n']]))).toThrow(ParseError);
});

test('the newline in the name of an unnamed area', () => {
  const files = new Map([
    ['/sys/kernel/mm/cma/cma0\n/total_pages', '4096\n'],
    ['/sys/kernel/debug/cma/cma0\n/base_pfn', '8192\n'],
  ]);
  expect(parseCma(files)).toEqual([{ name: 'cma0', totalPages: 4096, availablePages: null, basePfn: 8192 }]);
});

test.each(hosts)('%s: areas are what meminfo and the zones count', host => {
  const total = parseMeminfo(fixture(host, '/proc/meminfo')).bytes.get('CmaTotal') ?? 0n;
  const zones = parseZoneinfo(fixture(host, '/proc/zoneinfo'));
  const pages = zones.reduce((sum, zone) => sum + (zone.cmaPages ?? 0), 0);
  expect(BigInt(pages) * 4096n).toBe(total);
  const areas = parseCma(
    new Map([...fixtureFiles(host, '/sys/kernel/mm/cma'), ...fixtureFiles(host, '/sys/kernel/debug/cma')]),
    pages,
  );
  expect(areas.reduce((sum, area) => sum + area.totalPages, 0)).toBe(pages);
});
