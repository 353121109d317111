import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { type Column, table } from './table.ts';

const columns: readonly Column[] = [
  { title: 'N', align: 'right' },
  { title: 'NAME', min: 4 },
  { title: 'SIZE', align: 'right' },
];

test('cells under their heading, numbers to the right', () => {
  expect(
    table(columns, [
      ['1', 'a', '12 KiB'],
      ['123', 'longer', '1 B'],
    ]),
  ).toEqual(['  N  NAME      SIZE', '  1  a       12 KiB', '123  longer     1 B']);
});

test('wide and combining characters keep the columns', () => {
  const rows = table(columns, [
    ['1', '日本', 'x'],
    ['1', 'e\u0301', 'x'],
    ['1', 'ab', 'x'],
  ]);
  expect(rows.map(row => stringWidth(row))).toEqual(rows.map(() => 13));
});

test('an indent, a missing cell, no rows', () => {
  expect(table(columns, [['1']], { indent: '  ' })).toEqual(['  N  NAME  SIZE', '  1']);
  expect(table(columns, [])).toEqual(['N  NAME  SIZE']);
});

test('words give way, numbers do not', () => {
  const rows = table(columns, [['1234567', 'a very long name of a guest', '123456']], { width: 30 });
  expect(rows[1]).toBe('1234567  a very long …  123456');
  expect(rows.every(row => stringWidth(row) <= 30)).toBe(true);
});

test('the widest words give first', () => {
  const two: readonly Column[] = [
    { title: 'A', min: 3 },
    { title: 'B', min: 3 },
  ];
  expect(table(two, [['aaaaaaaaaaaa', 'bbbbbb']], { width: 14 })[1]).toBe('aaaaa…  bbbbbb');
  expect(table(two, [['aaaaaaaaaaaa', 'bbbbbb']], { width: 8 })[1]).toBe('aa…  bb…');
});

test('then the gaps, and the end last', () => {
  const numbers: readonly Column[] = [{ title: 'A' }, { title: 'B' }, { title: 'C' }];
  expect(table(numbers, [['11111', '22222', '33333']], { width: 17 })[1]).toBe('11111 22222 33333');
  expect(table(numbers, [['11111', '22222', '33333']], { width: 12 })[1]).toBe('11111 22222…');
});
