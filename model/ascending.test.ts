import fc from 'fast-check';
import { expect, test } from 'vitest';
import { consecutive, distinctRuns, lastAtOrBelow, type NumberRuns } from './ascending.ts';

const expand = ({ first, count }: NumberRuns): number[] =>
  Array.from(first).flatMap((start, i) => Array.from({ length: count[i] ?? 0 }, (_, k) => start + k));
const small = fc.nat({ max: 60 });
/** PFNs as buffers have them: some neighbours, some scattered, some again. */
const pages = fc
  .array(fc.tuple(fc.nat({ max: 3000 }), fc.integer({ min: 1, max: 40 })), { maxLength: 12 })
  .map(runs =>
    Float64Array.from(runs.flatMap(([start, n]) => Array.from({ length: n }, (_, i) => start + i))),
  );

test('the last at or below, as a search from the end finds it; 0 where none is', () => {
  fc.assert(
    fc.property(fc.array(small), fc.oneof(small, fc.constantFrom(-1, 0.5, Infinity)), (list, value) => {
      const ascending = Float64Array.from(list).sort();
      expect(lastAtOrBelow(ascending, value)).toBe(
        Math.max(
          0,
          ascending.findLastIndex(at => at <= value),
        ),
      );
    }),
  );
});
test('of nothing: 0, where there is nothing either', () => {
  expect(lastAtOrBelow(new Float64Array(0), 5)).toBe(0);
});

const isMaximal = ({ first, count }: NumberRuns) =>
  first.every((start, i) => i === 0 || start > (first[i - 1] ?? 0) + (count[i - 1] ?? 0));

test('runs of ascending numbers hold each once, and none could be joined', () => {
  fc.assert(
    fc.property(fc.array(small), list => {
      const runs = consecutive(Float64Array.from(list).sort());
      expect(expand(runs)).toEqual([...new Set(list)].sort((a, b) => a - b));
      expect(isMaximal(runs)).toBe(true);
    }),
  );
});
test('distinct runs of lists in any order, few runs or scattered', () => {
  const scattered = fc
    .array(fc.nat({ max: 20_000 }), { maxLength: 3000 })
    .map(list => Float64Array.from(list));
  fc.assert(
    fc.property(fc.array(fc.oneof({ weight: 4, arbitrary: pages }, scattered), { maxLength: 5 }), lists => {
      const runs = distinctRuns(lists);
      const all = new Set(lists.flatMap(list => Array.from(list)));
      expect(expand(runs)).toEqual([...all].sort((a, b) => a - b));
      expect(isMaximal(runs)).toBe(true);
    }),
    { numRuns: 200 },
  );
  // Scattered for sure: more runs than are sorted as runs.
  const every = Float64Array.from({ length: 4000 }, (_, i) => ((i * 7919) % 4000) * 2);
  expect(distinctRuns([every, every]).first).toEqual(Float64Array.from({ length: 4000 }, (_, i) => i * 2));
  expect(distinctRuns([])).toEqual({ first: new Float64Array(0), count: new Float64Array(0) });
});
