import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyFilter } from '../../test/filters.ts';
import recorded from '../recorded-snapshot.json' with { type: 'json' };
import { fromSnapshot } from '../run-columns.ts';
import type { Snapshot } from '../snapshot.ts';
import { both, compare, equals, negation, withCell } from './combine.ts';
import { applyFilter } from './evaluate.ts';
import { parseFilter } from './parser.ts';

const sample = fromSnapshot(recorded as unknown as Snapshot);

test('a cell becomes a filter, is excluded from one, and is added to one', () => {
  const movable = equals('zone', 'Movable');
  const before = parseFilter('a || b');
  expect(withCell(before, movable, 'apply')).toBe('zone == Movable');
  expect(withCell(before, movable, 'add')).toBe('(a || b) && zone == Movable');
  expect(withCell(before, movable, 'exclude')).toBe('(a || b) && zone != Movable');
  expect(withCell(null, movable, 'exclude')).toBe('zone != Movable');
  expect(withCell(null, both(equals('node', 0), movable), 'exclude')).toBe('!(node == 0 && zone == Movable)');
  expect(withCell(null, compare('age', '>=', { kind: 'number', number: 120_000 }), 'exclude')).toBe(
    '!(age >= 2min)',
  );
  expect(withCell(null, equals('node', null), 'apply')).toBe('node == unknown');
  expect(withCell(null, equals('node', null), 'exclude')).toBe('node != unknown');
  expect(withCell(null, equals('name', 'a "b"\u202e'), 'apply')).toBe('name == "a \\"b\\"\\u202e"');
});

test('a filter and its negation choose different buffers, and leave out the same ones', () => {
  fc.assert(
    fc.property(anyFilter, expression => {
      const [one, other] = [applyFilter(expression, sample), applyFilter(negation(expression), sample)];
      expect(one.undecided).toBe(other.undecided);
      expect(one.resources.length + other.resources.length + one.undecided).toBe(sample.resources.length);
      expect(one.resources.filter(resource => other.resources.includes(resource))).toEqual([]);
    }),
    { numRuns: 300 },
  );
});
