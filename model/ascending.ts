/* Ascending arrays of page numbers: where in them something is, and which of them are neighbours. */

/** Index of the last element at or below `value`; 0 if none is. */
export function lastAtOrBelow(ascending: Float64Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((ascending[middle] ?? Number.POSITIVE_INFINITY) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Runs of consecutive numbers: run `i` is `first[i]` and the `count[i] - 1` after it. */
export interface NumberRuns {
  readonly first: Float64Array;
  readonly count: Float64Array;
}

/**
 * Distinct values of numbers in any order, as ascending runs. What comes in as a few runs is sorted as runs; only scattered
 * numbers are sorted one by one.
 */
export function distinctRuns(lists: readonly Float64Array[]): NumberRuns {
  const total = lists.reduce((sum, { length }) => sum + length, 0);
  const starts: number[] = [];
  const ends: number[] = [];
  for (const list of lists) {
    let end = Number.NaN;
    for (let i = 0; i < list.length; i++) {
      const value = list[i] as number;
      if (value === end) ends[ends.length - 1] = ++end;
      else {
        starts.push(value);
        end = value + 1;
        ends.push(end);
      }
    }
    if (starts.length * 8 > total + 1024) return consecutive(joined(lists, total).sort());
  }
  const order = Uint32Array.from(starts, (_, i) => i).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0));
  const first: number[] = [];
  const count: number[] = [];
  let covered = Number.NaN;
  for (const i of order) {
    const start = starts[i] ?? 0;
    const end = ends[i] ?? 0;
    if (start <= covered) {
      const more = end - covered;
      if (more > 0) count[count.length - 1] = (count[count.length - 1] ?? 0) + more;
      covered = Math.max(covered, end);
    } else {
      first.push(start);
      count.push(end - start);
      covered = end;
    }
  }
  return { first: Float64Array.from(first), count: Float64Array.from(count) };
}

function joined(lists: readonly Float64Array[], total: number): Float64Array {
  const all = new Float64Array(total);
  let filled = 0;
  for (const list of lists) {
    all.set(list, filled);
    filled += list.length;
  }
  return all;
}

/** Distinct values of ascending numbers, as runs. */
export function consecutive(ascending: Float64Array): NumberRuns {
  const first: number[] = [];
  const count: number[] = [];
  let last = Number.NaN;
  for (const value of ascending) {
    if (value === last) continue;
    if (value === last + 1) count[count.length - 1] = (count[count.length - 1] ?? 0) + 1;
    else {
      first.push(value);
      count.push(1);
    }
    last = value;
  }
  return { first: Float64Array.from(first), count: Float64Array.from(count) };
}
