import type { Check } from './case.ts';
import type { Judged } from './precision.ts';

/** What one case found on one kernel. */
export interface Outcome {
  readonly name: string;
  readonly checks: readonly Check[];
  readonly judged: readonly Judged[];
  /** What it threw; null when it ran through. */
  readonly error: string | null;
  readonly seconds: number;
}

export const passed = ({ checks, error }: Outcome): boolean =>
  error === null && checks.every(({ failure }) => failure === null);
