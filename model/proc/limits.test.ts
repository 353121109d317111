import { expect, test } from 'vitest';
import { fixture, processFiles } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { MAX_LOCKED_MEMORY, parseLimits } from './limits.ts';

const odd = fixture('linux-6.18-vm', '/proc/odd/limits');

test('limits in bytes, unlimited, and without a unit', () => {
  const limits = parseLimits(odd);
  // odd.py set it so.
  expect(limits.get(MAX_LOCKED_MEMORY)).toEqual({ soft: 4194304n, hard: 8388608n, unit: 'bytes' });
  expect(limits.get('Max cpu time')).toEqual({ soft: 'unlimited', hard: 'unlimited', unit: 'seconds' });
  expect(limits.get('Max nice priority')).toEqual({ soft: 0n, hard: 0n, unit: null });
  expect(limits.get('Max realtime timeout')?.unit).toBe('us');
  expect(limits.size).toBe(16);
});

test('the largest finite limit is exact', () => {
  const text = odd.replace(/(Max locked memory +)\S+ +\S+ +/, '$118446744073709551614 18446744073709551614 ');
  expect(parseLimits(text).get(MAX_LOCKED_MEMORY)?.hard).toBe(18446744073709551614n);
});

test.each([
  ['no locked memory', odd.replace(/Max locked memory.*\n/, '')],
  ['no number', odd.replace('4194304', 'lots')],
  ['a number past 2^64', odd.replace('4194304', '18446744073709551616')],
  ['cut inside a number', odd.slice(0, odd.indexOf('4194304') + 4)],
  ['empty', ''],
])('refused: %s', (_, text) => {
  expect(() => parseLimits(text)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(
    parseLimits,
    processFiles('limits').map(file => file.text),
    limits => expect(limits.get(MAX_LOCKED_MEMORY)).toBeDefined(),
  );
});
