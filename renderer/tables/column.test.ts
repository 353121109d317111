import { expect, test } from 'vitest';
import { type Column, nextSorting, sorted } from './column.ts';

interface Row {
  readonly id: number;
  readonly size: number | null;
}
const columns: readonly Column<Row>[] = [
  { id: 'id', title: 'Id', hint: '', width: 4, text: ({ id }) => `a\t${id}\nb` },
  {
    id: 'size',
    title: 'Size',
    hint: '',
    width: 4,
    text: ({ size }) => String(size),
    sortBy: ({ size }) => size,
  },
];
const rows: readonly Row[] = [
  { id: 1, size: 5 },
  { id: 2, size: null },
  { id: 3, size: 9 },
  { id: 4, size: 5 },
];
const order = (column: string, descending: boolean) =>
  sorted(rows, columns, { column, descending }).map(({ id }) => id);

test('equal rows keep their order and unknown ones come last, either way', () => {
  expect(order('size', false)).toEqual([1, 4, 3, 2]);
  expect(order('size', true)).toEqual([3, 1, 4, 2]);
});

test('a column that does not sort, or is not there, changes nothing', () => {
  expect(order('id', true)).toEqual([1, 2, 3, 4]);
  expect(order('colour', true)).toEqual([1, 2, 3, 4]);
});

test('a heading sorts up, then down, and another heading up again', () => {
  const once = nextSorting(null, 'size');
  const twice = nextSorting(once, 'size');
  expect([once.descending, twice.descending, nextSorting(twice, 'size').descending]).toEqual([
    false,
    true,
    false,
  ]);
  expect(nextSorting(once, 'id')).toEqual({ column: 'id', descending: false });
});
