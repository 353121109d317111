import { expect, test } from 'vitest';
import { equals } from '../../model/filter/combine.ts';
import type { Column } from '../tables/column.ts';
import { tableHandle } from '../tables/handle.ts';
import { Filter } from './filter.svelte.ts';
import { Tables } from './tables.svelte.ts';

const columns: readonly Column<number>[] = [
  {
    id: 'n',
    title: 'N',
    hint: '',
    width: 1,
    text: n => `no ${n}`,
    value: n => n,
    clause: n => equals('inode', n),
  },
  { id: 'x', title: 'X', hint: '', width: 1, text: () => 'x' },
];
const at = { row: 1, column: 0 };
const table = tableHandle<number>({
  label: () => 'Numbers',
  columns: () => columns,
  rows: () => ({ count: 3, rowAt: i => i * 10 }),
  row: () => at.row,
  column: () => at.column,
});

function tables(write?: () => Promise<void>) {
  const written: string[] = [];
  const filter = new Filter();
  const state = new Tables(filter, write ?? (async text => void written.push(text)));
  return { written, filter, state };
}

test('commands mean the table that had the keyboard last', async () => {
  const { written, filter, state } = tables();
  await state.copy('row');
  expect([written, state.said?.tone]).toEqual([[], 'warning']);
  state.enter(table);
  for (const form of ['cell', 'row', 'json', 'tsv'] as const) await state.copy(form);
  expect(written).toEqual([
    'no 10',
    'N\tX\nno 10\tx\n',
    '[\n  {"n":0,"x":"x"},\n  {"n":10,"x":"x"},\n  {"n":20,"x":"x"}\n]\n',
    'N\tX\nno 0\tx\nno 10\tx\nno 20\tx\n',
  ]);
  expect(state.said).toEqual({ text: '“Numbers” copied, tab-separated: 3 rows.', tone: 'ok' });
  state.filterBy('apply');
  expect([filter.text, state.said?.text]).toEqual(['inode == 10', 'Filter: inode == 10']);
  state.filterBy('exclude');
  expect(filter.text).toBe('inode == 10 && inode != 10');
  at.column = 1;
  state.filterBy('apply');
  expect([filter.text, state.said?.tone]).toEqual(['inode == 10 && inode != 10', 'warning']);
  at.column = -1;
  await state.copy('cell');
  expect(state.said?.text).toBe('No cell of “Numbers” is chosen.');
  state.leave(table);
  await state.copy('tsv');
  expect([written.length, state.said?.tone]).toEqual([4, 'warning']);
});

test('a clipboard that refuses is told', async () => {
  const { state } = tables(() => Promise.reject(new Error('NotAllowedError')));
  state.enter(table);
  await state.copy('markdown');
  expect([state.said?.tone, state.said?.text]).toEqual(['warning', expect.stringContaining('refused')]);
});
