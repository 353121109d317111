/** Quantities over time in bounded memory: what every bucket began and ended with in time, and the extremes of each quantity. */

interface Column {
  readonly min: Float64Array;
  readonly max: Float64Array;
  readonly last: Float64Array;
}

/** Points to draw: `x` ascending, `null` where a line must break. */
export interface Drawn {
  readonly x: Float64Array;
  readonly y: ReadonlyMap<string, (number | null)[]>;
}

/** A time in which nothing was read, milliseconds since 1970. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/**
 * Samples by time. When the buckets are full, neighbours are merged two by two and each holds twice as many samples from then on:
 * `capacity` buckets of `8 · (2 + 3 · quantities)` bytes hold any time, and a spike of one sample stays in `max`.
 */
export class Series {
  readonly #capacity: number;
  readonly #whole: string;
  readonly #start: Float64Array;
  readonly #end: Float64Array;
  readonly #columns = new Map<string, Column>();
  #length = 0;
  #perBucket = 1;
  #inLast = 0;

  /**
   * @param whole a quantity that every sample has: those that are parts of it are unknown where it is NaN, else 0 without a value
   * @param capacity even
   */
  constructor(whole: string, capacity = 8192) {
    this.#whole = whole;
    this.#capacity = capacity;
    this.#start = new Float64Array(capacity);
    this.#end = new Float64Array(capacity);
  }

  get keys(): string[] {
    return [...this.#columns.keys()];
  }

  /** Samples that a bucket holds. */
  get perBucket(): number {
    return this.#perBucket;
  }

  get buckets(): number {
    return this.#length;
  }

  /**
   * @param time milliseconds since 1970, later than that of the sample before
   * @param values of this sample; NaN: unknown
   */
  add(time: number, values: ReadonlyMap<string, number>): void {
    for (const key of values.keys()) this.#column(key);
    const missing = Number.isNaN(values.get(this.#whole) ?? Number.NaN) ? Number.NaN : 0;
    if (this.#length === 0 || this.#inLast >= this.#perBucket) {
      if (this.#length === this.#capacity) this.#merge();
      if (this.#length === 0 || this.#inLast >= this.#perBucket) this.#open(time);
    }
    const at = this.#length - 1;
    this.#end[at] = time;
    this.#inLast++;
    for (const [key, { min, max, last }] of this.#columns) {
      const value = values.get(key) ?? missing;
      min[at] = least(min[at] as number, value);
      max[at] = most(max[at] as number, value);
      last[at] = value;
    }
  }

  /** The newest value of a quantity; `null` where it is unknown. */
  newest(key: string): number | null {
    return orNull(this.#columns.get(key)?.last[this.#length - 1] ?? Number.NaN);
  }

  /** What was known at a time: the extremes in its bucket; `null` before the first sample, and for what is unknown. */
  at(key: string, time: number): { readonly min: number; readonly max: number } | null {
    const bucket = this.#bucketAt(time);
    const column = this.#columns.get(key);
    if (bucket < 0 || column === undefined) return null;
    const [min, max] = [column.min[bucket] as number, column.max[bucket] as number];
    return Number.isNaN(min) ? null : { min, max };
  }

  /**
   * Lines for the buckets that touch a span and one beyond on each side. A bucket of several values is drawn from its least to its
   * largest, so that no spike is lost; the lines break in every gap.
   */
  draw(from: number, to: number, gaps: readonly Gap[]): Drawn {
    const first = Math.max(0, this.#bucketAt(from) - 1);
    const after = Math.min(this.#length, this.#bucketAt(to) + 2);
    const x: number[] = [];
    const y = new Map(this.keys.map(key => [key, [] as (number | null)[]]));
    const push = (time: number, valueIn: (column: Column) => number | null) => {
      x.push(time);
      for (const [key, column] of this.#columns) y.get(key)?.push(valueIn(column));
    };
    let gap = 0;
    const breakBefore = (time: number) => {
      for (; gap < gaps.length && (gaps[gap] as Gap).to <= time; gap++) {
        const { from: start, to: end } = gaps[gap] as Gap;
        if (x.length > 0) push((start + end) / 2, () => null);
      }
    };
    while (gap < gaps.length && (gaps[gap] as Gap).to <= (this.#start[first] ?? 0)) gap++;
    for (let at = first; at < after; at++) {
      const start = this.#start[at] as number;
      const end = this.#end[at] as number;
      breakBefore(start);
      if (end > start) {
        push(start, ({ min }) => orNull(min[at] as number));
        push(start, ({ max }) => orNull(max[at] as number));
        breakBefore(end);
      }
      push(end, ({ last }) => orNull(last[at] as number));
    }
    return { x: Float64Array.from(x), y };
  }

  /** The last bucket that began at or before a time; -1: none. */
  #bucketAt(time: number): number {
    let low = -1;
    let high = this.#length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#start[middle] as number) <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #open(time: number): void {
    const at = this.#length++;
    this.#inLast = 0;
    this.#start[at] = time;
    for (const { min, max } of this.#columns.values()) {
      min[at] = Number.NaN;
      max[at] = Number.NaN;
    }
  }

  /** A quantity that comes up later was not there before, so it was 0 wherever its whole was known. */
  #column(key: string): void {
    if (this.#columns.has(key)) return;
    const column: Column = {
      min: new Float64Array(this.#capacity),
      max: new Float64Array(this.#capacity),
      last: new Float64Array(this.#capacity),
    };
    const whole = this.#columns.get(this.#whole);
    for (const part of ['min', 'max', 'last'] as const) {
      for (let at = 0; at < this.#length; at++) {
        if (whole === undefined || Number.isNaN(whole[part][at] as number)) column[part][at] = Number.NaN;
      }
    }
    this.#columns.set(key, column);
  }

  #merge(): void {
    const half = this.#length >> 1;
    for (let at = 0; at < half; at++) {
      const [a, b] = [2 * at, 2 * at + 1];
      this.#start[at] = this.#start[a] as number;
      this.#end[at] = this.#end[b] as number;
      for (const { min, max, last } of this.#columns.values()) {
        min[at] = least(min[a] as number, min[b] as number);
        max[at] = most(max[a] as number, max[b] as number);
        last[at] = last[b] as number;
      }
    }
    this.#length = half;
    this.#inLast += this.#perBucket;
    this.#perBucket *= 2;
  }
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);
/** Of what is known. */
const least = (a: number, b: number): number => (a < b || Number.isNaN(b) ? a : b);
const most = (a: number, b: number): number => (a > b || Number.isNaN(b) ? a : b);
