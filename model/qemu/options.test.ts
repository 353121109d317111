import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import {
  lastOf,
  parseBool,
  parseJsonPairs,
  parseNumberList,
  parseOptionPairs,
  parseSize,
} from './options.ts';

describe('key=value options', () => {
  it('reads pairs, the implied first key and doubled commas', () => {
    expect(parseOptionPairs('pc,memory-backend=mem1', 'type')).toEqual([
      ['type', 'pc'],
      ['memory-backend', 'mem1'],
    ]);
    expect(parseOptionPairs('path=/run/a,,b=c,,,server=on')).toEqual([
      ['path', '/run/a,b=c,'],
      ['server', 'on'],
    ]);
    expect(parseOptionPairs('a,,b,x=1', 'path')).toEqual([
      ['path', 'a,b'],
      ['x', '1'],
    ]);
    expect(parseOptionPairs('string=a b\nc,x=')).toEqual([
      ['string', 'a b\nc'],
      ['x', ''],
    ]);
    expect(parseOptionPairs('')).toEqual([]);
  });
  it('reads flags, and the last of a repeated key', () => {
    expect(parseOptionPairs('share,nowait,size=1,size=2,')).toEqual([
      ['share', 'on'],
      ['wait', 'off'],
      ['size', '1'],
      ['size', '2'],
    ]);
    expect(
      lastOf([
        ['size', '1'],
        ['size', '2'],
        ['__proto__', 'x'],
      ]),
    ).toEqual(
      Object.fromEntries([
        ['size', '2'],
        ['__proto__', 'x'],
      ]),
    );
  });
  it('gives every value back that was escaped the way QEMU wants it', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        const text = `x=${a.replaceAll(',', ',,')},y=${b.replaceAll(',', ',,')}`;
        expect(parseOptionPairs(text)).toEqual([
          ['x', a],
          ['y', b],
        ]);
      }),
    );
  });
});

describe('JSON options', () => {
  it('flattens to the same strings', () => {
    expect(
      parseJsonPairs(
        '{"qom-type":"memory-backend-memfd","size":268435456,"share":true,"host-nodes":[0,2],"a":{"b":null}}',
      ),
    ).toEqual([
      ['qom-type', 'memory-backend-memfd'],
      ['size', '268435456'],
      ['share', 'on'],
      ['host-nodes.0', '0'],
      ['host-nodes.1', '2'],
      ['a.b', ''],
    ]);
  });
  it('refuses other JSON, rounded numbers and endless nesting', () => {
    for (const text of [
      '{',
      '[]',
      'null',
      '{"size":18446744073709551615}',
      `{"a":${'['.repeat(2000)}${']'.repeat(2000)}}`,
    ]) {
      expect(() => parseJsonPairs(text), text.slice(0, 40)).toThrow(ParseError);
    }
  });
  it('survives damage', () => {
    parsesOrRefuses(parseJsonPairs, [
      '{"driver":"virtio-gpu-pci","id":"gpu0","blob":true,"outputs":[{"name":"a"}],"x":1}',
    ]);
  });
});

describe('sizes', () => {
  // 7.2 takes 1.3k as 0x533 bytes and 0x10M as 16 MiB, and refuses 1e2, 1G2 and 1,5M (`-object memory-backend-…,size=`, `-m`).
  it.each([
    ['268435456', 1, 268435456],
    ['256M', 1, 256 * 2 ** 20],
    ['1.3k', 1, 1331],
    ['0.1G', 2 ** 20, 107374182],
    ['100', 2 ** 20, 104857600],
    ['0x10M', 2 ** 20, 2 ** 24],
    ['0x1000', 1, 4096],
    ['4096B', 1, 4096],
    ['1t', 1, 2 ** 40],
    ['1.5', 2 ** 20, 1.5 * 2 ** 20],
  ])('%s', (text, unit, bytes) => {
    expect(parseSize(text, unit)).toBe(bytes);
  });
  it.each([
    '',
    'M',
    '1e2',
    '1G2',
    '1,5M',
    '-1',
    '1.5',
    '1.5B',
    '0x1.8M',
    '0x10E0Q',
    'NaN',
    '9E',
    '１G',
    '1 G',
    '9007199254740992',
  ])('refuses %j', text => {
    expect(() => parseSize(text)).toThrow(ParseError);
  });
});

it('reads booleans and number lists', () => {
  expect([parseBool('on'), parseBool('y'), parseBool('false')]).toEqual([true, true, false]);
  expect(() => parseBool('1')).toThrow(ParseError);
  expect(parseNumberList('0-2,5 7')).toEqual([0, 1, 2, 5, 7]);
  expect(parseNumberList(' ')).toEqual([]);
  for (const text of ['a', '3-1', '65536', '-1', '1-'])
    expect(() => parseNumberList(text)).toThrow(ParseError);
});
