/** One measured thing, as it stands in the document of `npm run bench -- --json`. */
export interface BenchResult {
  readonly name: string;
  readonly unit: string;
  /** Ours; null when it was skipped. */
  readonly value: number | null;
  /** What it is measured against, in the same unit; null where there is nothing to compare with. */
  readonly baseline: number | null;
  /** value / baseline: lower is better. */
  readonly ratio: number | null;
  /** Why there is no value. */
  readonly skipped?: string;
  /** Further figures by name, e.g. `pagesPerSecond`. */
  readonly details?: Readonly<Record<string, number>>;
}

export interface Bench {
  readonly name: string;
  run(): Promise<BenchResult>;
}

/** What a bench throws when this machine cannot run it. */
export class Skip extends Error {}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/** What one side took, in ms: by the clock, and on processors. */
export interface Times {
  readonly clock: number;
  readonly cpu: number;
}

export interface Comparison {
  /** Medians by the clock, ms. */
  readonly value: number;
  readonly baseline: number;
  readonly ratio: number;
  /** The same ratio of the shortest times, and of medians of processor time: a busy machine changes these less. */
  readonly bestRatio: number;
  readonly cpuRatio: number;
}

/**
 * Measures two sides in turn, `pairs` times after one unmeasured pair, so that whatever else the machine does meets
 * both. Each side returns its own times.
 */
export async function alternate(
  pairs: number,
  baseline: () => Promise<Times>,
  ours: () => Promise<Times>,
): Promise<Comparison> {
  const theirs: Times[] = [];
  const own: Times[] = [];
  for (let pair = -1; pair < pairs; pair++) {
    // The order changes too: the second of a pair may find warmer caches.
    const sides = [async () => theirs.push(await baseline()), async () => own.push(await ours())];
    for (const side of pair % 2 === 0 ? sides : sides.reverse()) await side();
    if (pair < 0) theirs.length = own.length = 0;
  }
  const ratioOf = (summary: (values: readonly number[]) => number, key: keyof Times) =>
    summary(own.map(times => times[key])) / summary(theirs.map(times => times[key]));
  return {
    value: median(own.map(times => times.clock)),
    baseline: median(theirs.map(times => times.clock)),
    ratio: ratioOf(median, 'clock'),
    bestRatio: ratioOf(values => Math.min(...values), 'clock'),
    cpuRatio: ratioOf(median, 'cpu'),
  };
}
