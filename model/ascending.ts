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
