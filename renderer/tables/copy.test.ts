import { expect, test } from 'vitest';
import recorded from '../../model/recorded-snapshot.json' with { type: 'json' };
import { fromSnapshot } from '../../model/run-columns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hostileTexts } from '../../test/snapshots.ts';
import { worstByResource } from '../text/findings.ts';
import { resourceColumns } from '../views/resource-columns.ts';
import { runColumns } from '../views/run-columns.ts';
import type { Column } from './column.ts';
import { MOST_ROWS, single, toJson, toMarkdown, toTsv } from './copy.ts';

interface Row {
  readonly name: string;
  readonly size: number | null;
}
const columns: readonly Column<Row>[] = [
  {
    id: 'name',
    title: 'Name',
    hint: '',
    width: 4,
    text: ({ name }) => printable(name),
    value: ({ name }) => name,
  },
  {
    id: 'size',
    title: 'Size in bytes',
    shortTitle: 'Size',
    hint: '',
    width: 4,
    align: 'right',
    text: ({ size }) => (size === null ? '?' : `${size} B`),
    value: ({ size }) => size,
  },
];
const all: readonly Row[] = [
  { name: 'a|b', size: 5 },
  { name: '日本', size: null },
  { name: '`x` _y_ <b>', size: 12345 },
];
const rows = {
  count: all.length,
  rowAt: (i: number): Row => {
    const row = all[i];
    if (row === undefined) throw new RangeError(`no row ${i}`);
    return row;
  },
};

test('a Markdown table is aligned as plain text too, and no name breaks out of its cell', () => {
  expect(toMarkdown(columns, rows)).toBe(`| Name              |    Size |
| ----------------- | ------: |
| a\\|b              |     5 B |
| 日本              |       ? |
| \\\`x\\\` \\_y\\_ \\<b\\> | 12345 B |
`);
  for (const name of hostileTexts) {
    const table = toMarkdown(columns, single({ name, size: 1 }))
      .trimEnd()
      .split('\n');
    expect(table).toHaveLength(3);
    expect(table.map(line => line.replace(/\\./g, '').split('|').length)).toEqual([4, 4, 4]);
  }
});

test('JSON has raw values under the ids of columns, and null for what is unknown', () => {
  expect(JSON.parse(toJson(columns, rows))).toEqual(all);
  expect(Object.keys(JSON.parse(toJson(columns, rows))[0])).toEqual(['name', 'size']);
  expect(toJson(columns, { ...rows, count: 0 })).toBe('[]\n');
  const odd: readonly Column<number>[] = [
    { id: 'a', title: '', hint: '', width: 1, text: String, value: i => i / 0 },
    { id: 'b', title: '', hint: '', width: 1, text: i => `t${i}` },
  ];
  expect(JSON.parse(toJson(odd, single(0)))).toEqual([{ a: null, b: 't0' }]);
});

test('TSV is a line of headings and a line a row; a copied cell cannot become two', () => {
  expect(toTsv(columns, rows)).toBe('Name\tSize in bytes\na|b\t5 B\n日本\t?\n`x` _y_ <b>\t12345 B\n');
  const raw: readonly Column<string>[] = [{ id: 'x', title: 'x', hint: '', width: 1, text: row => row }];
  expect(toTsv(raw, single('a\tb\nc\rd'))).toBe('x\na b c d\n');
});

test('of a very long table the beginning is copied', () => {
  const numbers: readonly Column<number>[] = [{ id: 'i', title: 'i', hint: '', width: 1, text: String }];
  const lines = toTsv(numbers, { count: MOST_ROWS + 5, rowAt: i => i })
    .trimEnd()
    .split('\n');
  expect([lines.length, lines.at(-1)]).toEqual([MOST_ROWS + 1, String(MOST_ROWS - 1)]);
});

function resourceAt(index: number) {
  const resource = recording.resources[index];
  if (resource === undefined) throw new RangeError(`no resource ${index}`);
  return resource;
}
const recording = fromSnapshot(recorded as unknown as Snapshot);

test('tables of the recording fit a mail of 100 columns, and their JSON has numbers', () => {
  const sample = recording;
  const resources = {
    count: sample.resources.length,
    rowAt: (i: number) => resourceAt(i),
  };
  const table = resourceColumns(sample, worstByResource(sample.findings));
  // The column of a traced QEMU is wider than what is left of a mail.
  for (const line of toMarkdown(
    table.filter(({ id }) => id !== 'virtio'),
    resources,
  ).split('\n'))
    expect(line.length).toBeLessThanOrEqual(100);
  expect(JSON.parse(toJson(table, resources))[6]).toEqual({
    severity: 'error',
    inode: 7,
    name: null,
    size: 3_686_400,
    pages: 900,
    holds: 3_686_400,
    where: [{ node: 0, zone: 'DMA32', migratetype: 'Unmovable', pages: 900 }],
    backing: { connected: 864, disconnected: 36, unknown: 0 },
    virtio: { resourceId: 7, scanout: null },
    age: Date.parse(sample.takenAt) - Date.parse(sample.resources[6]?.createdAt ?? ''),
    count: 2,
  });
  const runs = sample.resources[0]?.pages?.runs;
  if (runs === undefined) throw new Error('no runs');
  const ofRuns = { count: runs.length, rowAt: (i: number) => i };
  for (const line of toMarkdown(runColumns(runs), ofRuns).split('\n'))
    expect(line.length).toBeLessThanOrEqual(100);
  expect(JSON.parse(toJson(runColumns(runs), ofRuns))[0]).toEqual({
    index: 0,
    pfn: 11264,
    count: 8,
    folio: 2097152,
    node: 0,
    zone: 'DMA32',
    migratetype: 'Unmovable',
    gpa: 0x200000,
    backing: 'connected',
  });
});
