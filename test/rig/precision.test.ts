import { describe, expect, test } from 'vitest';
import { RULES } from '../../model/hazards/index.ts';
import { cases } from './cases/index.ts';
import {
  type Cells,
  cellsOf,
  type Expected,
  precisionFailures,
  precisionTable,
  type SeenSituation,
  withSeen,
} from './precision.ts';
import { pageShows, readExpected } from './precision-files.ts';

const someFinding = (rule: string, severity: 'error' | 'warning' | 'info', resource: number | null) => ({
  ...{ rule, severity, resource, title: '', explanation: '', remedy: '', evidence: [], reference: '' },
});
const expected: Expected = {
  one: { boot: 'zones', kernels: { '6.1': { disconnected: 'error #1' }, '6.12 7.2': {} } },
};
const silent: Cells = Object.fromEntries(RULES.map(({ id }) => [id, 'silent']));
const seen = (kernel: SeenSituation['kernel'], cells: Cells = {}, situation = 'one'): SeenSituation => ({
  ...{ situation, boot: 'zones', kernel, cells: { ...silent, ...cells } },
});

describe('the table of the rig', () => {
  const table = readExpected();
  const cells = Object.values(table).flatMap(({ kernels }) => Object.values(kernels));

  test('docs/HAZARDS.md shows it', () => {
    expect(pageShows(table)).toBe(true);
  });
  test('it has cells of rules that exist, from boots with cases', () => {
    const ids = RULES.map(({ id }) => id);
    expect(cells.flatMap(row => Object.keys(row)).filter(rule => !ids.includes(rule))).toEqual([]);
    const booted = new Set(cases.map(({ boot }) => boot));
    expect(Object.values(table).filter(({ boot }) => !booted.has(boot))).toEqual([]);
  });
  test.each(RULES.map(({ id }) => id))(
    '%s fires in one situation, is silent and not checked in others',
    id => {
      const said = cells.map(row => row[id] ?? 'silent');
      expect(said.some(cell => /^(error|warning|info)/.test(cell))).toBe(true);
      expect(said).toContain('silent');
      expect(said).toContain('not checked');
    },
  );
});

test('a cell: severity and the buffers by number, the process, and what was not looked at', () => {
  const resources = [30, 10, 20, 40].map(inode => ({ inode }));
  const findings = [
    someFinding('disconnected', 'error', 20),
    someFinding('disconnected', 'error', 10),
    someFinding('disconnected', 'info', 40),
    someFinding('private-ram', 'error', null),
  ];
  const notChecked = ['disconnected', 'remote-node'].map(rule => ({ rule, because: '' }));
  expect(cellsOf({ findings, notChecked, resources } as never)).toEqual({
    ...silent,
    disconnected: 'error #1-2, info #4, not checked',
    'private-ram': 'error process',
    'remote-node': 'not checked',
  });
});

describe('what differs', () => {
  const ran = [{ boot: 'zones' as const, kernel: '6.12' as const }];
  test('nothing', () => {
    expect(
      precisionFailures(expected, [seen('6.1', { disconnected: 'error #1' }), seen('6.12')], ran),
    ).toEqual([]);
  });
  test('a kernel that did not run is not compared', () => {
    expect(precisionFailures(expected, [seen('6.12')], ran)).toEqual([]);
  });
  test.each([
    ['another cell', [seen('6.1')], /disconnected is silent, should be error #1/],
    [
      'a false alarm',
      [seen('6.12', { 'pin-in-cma': 'warning #1' })],
      /pin-in-cma is warning #1, should be silent/,
    ],
    ['a situation that the table lacks', [seen('6.12'), seen('6.12', {}, 'two')], /^two, 6.12: not expected/],
    ['one judged twice', [seen('6.12'), seen('6.12')], /judged twice/],
    ['one that did not come', [], /no case judged it/],
  ])('%s', (_, now, told) => {
    expect(precisionFailures(expected, now, ran).join('\n')).toMatch(told);
  });
});

test('a cell that depends on the kernel’s choice is not compared, and stays', () => {
  const table: Expected = { one: { boot: 'zones', kernels: { '6.1': { 'pin-in-cma': 'any' } } } };
  const now = [seen('6.1', { 'pin-in-cma': 'warning #1' })];
  expect(precisionFailures(table, now, [])).toEqual([]);
  expect(withSeen(table, now)).toEqual(table);
});

test('what was seen replaces its cells, and kernels that say the same share a row', () => {
  const now = withSeen(expected, [seen('6.1'), seen('6.12', {}, 'two')]);
  expect(now).toEqual({
    one: { boot: 'zones', kernels: { '6.1 6.12 7.2': {} } },
    two: { boot: 'zones', kernels: { '6.12': {} } },
  });
  expect(precisionTable(expected).split('\n').slice(-2)).toEqual([
    `| one | 6.1 | E${' | ·'.repeat(RULES.length - 1)} |`,
    `| one | 6.12, 7.2${' | ·'.repeat(RULES.length)} |`,
  ]);
});
