import { printable } from '../text.ts';

/** A filter that cannot be understood: where, what belongs there, and what may have been meant. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  constructor(
    /** Place in the text, UTF-16 units from 0; the length of the text where something is missing at its end. */
    readonly at: number,
    /** UTF-16 units that are wrong; 0 where something is missing. */
    readonly length: number,
    /** A sentence: what was found, or what is wrong with it. Printable. */
    readonly problem: string,
    /** What would be right here, in words; `null` where `problem` says it. */
    readonly expected: string | null = null,
    /** A word that may have been meant. */
    readonly suggestion: string | null = null,
  ) {
    const parts = [
      problem,
      expected === null ? '' : ` Expected ${expected}.`,
      suggestion === null ? '' : ` Did you mean ${suggestion}?`,
    ];
    super(parts.join(''));
  }
}

/** A part of the user's own text for a message: printable, not longer than a line, in quotes. */
export function quoted(text: string): string {
  const safe = printable([...text].slice(0, 40).join(''));
  return `“${safe}${text.length > 40 ? '…' : ''}”`;
}

/** Steps from one word to the other: letters put in, left out, changed, or swapped with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      }
      next.push(best);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The candidate that a mistyped or shortened word most likely stands for; `null`: none is near. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  const wanted = word.toLowerCase().slice(0, 40);
  let best: string | null = null;
  let least = wanted.length < 3 ? 1 : Math.floor(wanted.length / 3) + 1;
  for (const candidate of candidates) {
    const to = candidate.toLowerCase();
    const steps = wanted.length > 2 && to.startsWith(wanted) ? 1 : distance(wanted, to);
    if (steps <= least && (best === null || steps < least)) {
      best = candidate;
      least = steps;
    }
  }
  return best;
}
