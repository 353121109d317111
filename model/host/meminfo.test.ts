import { expect, test } from 'vitest';
import { fixture, fixtureFiles, fixtureTexts, hostsWith } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseHugepages } from './hugepages.ts';
import { parseMeminfo } from './meminfo.ts';

const text = fixture('linux-6.18-vm', '/proc/meminfo');

test('kB become bytes, counts stay counts', () => {
  const { bytes, counts } = parseMeminfo(text);
  expect(bytes.get('MemTotal')).toBe(24684084n * 1024n);
  expect(bytes.get('Active(anon)')).toBeDefined();
  expect(bytes.get('VmallocTotal')).toBe(34359738367n * 1024n);
  expect(bytes.get('Hugetlb')).toBe(8n * 2097152n);
  expect([...counts]).toEqual([
    ['HugePages_Total', 8n],
    ['HugePages_Free', 6n],
    ['HugePages_Rsvd', 1n],
    ['HugePages_Surp', 0n],
  ]);
});

test.each(hostsWith('/proc/meminfo'))('%s: huge pages are those of sysfs', host => {
  const { bytes, counts } = parseMeminfo(fixture(host, '/proc/meminfo'));
  const pools = parseHugepages(fixtureFiles(host, '/sys/kernel/mm/hugepages'));
  const pool = pools.find(p => BigInt(p.pageSizeBytes) === bytes.get('Hugepagesize'));
  if (!pool) return;
  expect(counts.get('HugePages_Total')).toBe(BigInt(pool.total));
  expect(counts.get('HugePages_Free')).toBe(BigInt(pool.free));
  expect(counts.get('HugePages_Rsvd')).toBe(BigInt(pool.reserved ?? 0));
  expect(counts.get('HugePages_Surp')).toBe(BigInt(pool.surplus));
  const all = pools.reduce((sum, p) => sum + BigInt(p.total) * BigInt(p.pageSizeBytes), 0n);
  expect(bytes.get('Hugetlb')).toBe(all);
});

test('a reservation that wrapped below 0 is exact', () => {
  const wrapped = parseMeminfo(text.replace(/(HugePages_Rsvd: +)1/, '$118446744073709551612'));
  expect(BigInt.asIntN(64, wrapped.counts.get('HugePages_Rsvd') ?? 0n)).toBe(-4n);
});

test.each([
  ['empty', ''],
  ['a unit that is not kB', text.replace('kB', 'MB')],
  ['a name twice', `${text}MemTotal:       1 kB\n`],
  ['cut inside a number', text.slice(0, 20)],
])('refused: %s', (_, damaged) => {
  expect(() => parseMeminfo(damaged)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(parseMeminfo, fixtureTexts('/proc/meminfo'), ({ bytes, counts }) => {
    for (const value of bytes.values()) expect(value % 1024n).toBe(0n);
    for (const value of counts.values()) expect(value < 2n ** 64n).toBe(true);
  });
});
