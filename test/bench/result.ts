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

/**
 * Measures two sides in turn, `pairs` times after one unmeasured pair, so that whatever else the machine does meets
 * both. Each side returns its own time. The medians and their ratio; `bestRatio` is that of the shortest times, which a
 * busy machine changes least.
 */
export async function alternate(
  pairs: number,
  baseline: () => Promise<number>,
  ours: () => Promise<number>,
): Promise<{ value: number; baseline: number; ratio: number; bestRatio: number }> {
  const times: { baseline: number[]; ours: number[] } = { baseline: [], ours: [] };
  for (let pair = -1; pair < pairs; pair++) {
    // The order changes too: the second of a pair may find warmer caches.
    const first = pair % 2 === 0;
    const before = first ? await baseline() : undefined;
    const own = await ours();
    const base = before ?? (await baseline());
    if (pair < 0) continue;
    times.baseline.push(base);
    times.ours.push(own);
  }
  const result = { value: median(times.ours), baseline: median(times.baseline) };
  const bestRatio = Math.min(...times.ours) / Math.min(...times.baseline);
  return { ...result, ratio: result.value / result.baseline, bestRatio };
}
