import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fixtureTexts } from '../../test/fixtures.ts';
import { ParseError } from '../parse-error.ts';
import { parseCpuList } from './cpulist.ts';

/** lib/vsprintf.c bitmap_list_string(), for the test alone. */
function printed(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < numbers.length; ) {
    let end = i;
    while (numbers[end + 1] === (numbers[end] ?? 0) + 1) end++;
    parts.push(end === i ? `${numbers[i]}` : `${numbers[i]}-${numbers[end]}`);
    i = end + 1;
  }
  return parts.join(',');
}

describe('parseCpuList', () => {
  test('what the kernel prints for a set is that set again', () => {
    const sets = fc.uniqueArray(fc.nat(300)).map(numbers => numbers.sort((a, b) => a - b));
    fc.assert(
      fc.property(sets, fc.boolean(), (numbers, newline) => {
        expect(parseCpuList(printed(numbers) + (newline ? '\n' : ''))).toEqual(numbers);
      }),
    );
  });

  test.each(['1,0', '3-1', '0,0', '0-', '-1', '0,,1', '0 1', 'x', '0x3', '65536', '0-3:1/2', '0\n1', ','])(
    'refuses %j',
    text => {
      expect(() => parseCpuList(text)).toThrow(ParseError);
    },
  );

  test('the recorded machines', () => {
    const lists = fixtureTexts('/sys/devices/system/node/node0/cpulist').map(parseCpuList);
    expect(lists.length).toBeGreaterThan(0);
    for (const cpus of lists) expect(cpus).toEqual([0, 1]);
  });
});
