import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatBytes, formatSpan, plural } from './format.ts';

test.each([
  [0, '0 B'],
  [1, '1 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [1025, '1.00 KiB'],
  [12288, '12 KiB'],
  [8294400, '7.91 MiB'],
  [10 * 2 ** 20 + 1, '10.0 MiB'],
  [2 ** 20 - 1, '1.00 MiB'],
  [2 ** 30 - 4096, '1.00 GiB'],
  [2 ** 30, '1 GiB'],
  [2 ** 30 + 1, '1.00 GiB'],
  [1000 * 2 ** 20, '1000 MiB'],
  [128.4 * 2 ** 20, '128.4 MiB'],
  [9.996 * 2 ** 20, '10.0 MiB'],
  [2 ** 53, '8 PiB'],
  [2 ** 64, '16384 PiB'],
])('%d bytes', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test('no decimal point means exact, and the value is never far off', () => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  fc.assert(
    fc.property(fc.oneof(fc.nat({ max: 2 ** 31 - 1 }), fc.maxSafeNat()), bytes => {
      const [number = '', unit = ''] = formatBytes(bytes).split(' ');
      const back = Number(number) * 1024 ** units.indexOf(unit);
      if (!number.includes('.')) expect(back).toBe(bytes);
      expect(Math.abs(back - bytes)).toBeLessThanOrEqual(bytes * 0.006);
      expect(number).toMatch(/^\d{1,4}(\.\d{1,2})?$/);
      if (unit !== 'PiB') expect(Number(number)).toBeLessThan(1024);
    }),
  );
});

test.each([
  [0, '0.0 s'],
  [420, '0.4 s'],
  [-5000, '0.0 s'],
  [9_949, '9.9 s'],
  [10_000, '10 s'],
  [42_900, '42 s'],
  [185_000, '3 min 5 s'],
  [180_000, '3 min'],
  [7_800_000, '2 h 10 min'],
  [7_205_000, '2 h'],
  [273_600_000, '3 d 4 h'],
  [400 * 86_400_000, '400 d'],
  [Number.NaN, '?'],
  [Number.POSITIVE_INFINITY, '?'],
])('%d ms', (milliseconds, text) => {
  expect(formatSpan(milliseconds)).toBe(text);
});

test('one and many', () => {
  expect([plural(1, 'page'), plural(0, 'page'), plural(2, 'process', 'processes')]).toEqual([
    '1 page',
    '0 pages',
    '2 processes',
  ]);
});
