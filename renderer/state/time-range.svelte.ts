/** A span of time, milliseconds since 1970. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** The least span that can be zoomed to. */
export const LEAST_MS = 100;
/** So much is shown beyond the first sample where buffers are older, at least. */
const BEFORE_MS = 10_000;

/** All that there is to see: from the first sample, or somewhat before where buffers are older, to the newest. */
export function wholeSpan(start: number, end: number, oldest: number): Span {
  const before = Math.max(BEFORE_MS, (end - start) / 4);
  const from = oldest < start ? Math.max(oldest, start - before) : start;
  const margin = Math.max(LEAST_MS / 2, (end - from) * 0.02);
  return { from: from - margin, to: end + margin };
}

/** The span after zooming by a factor (below 1: in) around a time, inside what there is. */
export function zoomed(span: Span, whole: Span, factor: number, around: number): Span {
  const length = Math.min(whole.to - whole.from, Math.max(LEAST_MS, (span.to - span.from) * factor));
  const share = (around - span.from) / (span.to - span.from);
  return inside({ from: around - share * length, to: around + (1 - share) * length }, whole);
}

/** The span moved by a share of its length, inside what there is. */
export function panned(span: Span, whole: Span, share: number): Span {
  const by = (span.to - span.from) * share;
  return inside({ from: span.from + by, to: span.to + by }, whole);
}

function inside({ from, to }: Span, whole: Span): Span {
  const length = Math.min(to - from, whole.to - whole.from);
  const start = Math.min(Math.max(from, whole.from), whole.to - length);
  return { from: start, to: start + length };
}

/** What part of the time is shown. Unzoomed it grows with the samples; zoomed to the newest it goes along with them. */
export class TimeRange {
  #zoom = $state.raw<(Span & { readonly follows: boolean }) | null>(null);

  /** Whether all is shown. */
  get whole(): boolean {
    return this.#zoom === null;
  }

  span(whole: Span): Span {
    const zoom = this.#zoom;
    if (zoom === null) return whole;
    const by = zoom.follows ? whole.to - zoom.to : 0;
    return inside({ from: zoom.from + by, to: zoom.to + by }, whole);
  }

  show(span: Span, whole: Span): void {
    const all = span.from <= whole.from && span.to >= whole.to;
    this.#zoom = all ? null : { ...span, follows: span.to >= whole.to };
  }

  zoom(factor: number, whole: Span, around: number | null): void {
    const span = this.span(whole);
    // The newest stays in view where it is.
    const follows = this.#zoom === null || this.#zoom.follows;
    this.show(zoomed(span, whole, factor, around ?? (follows ? span.to : (span.from + span.to) / 2)), whole);
  }

  pan(share: number, whole: Span): void {
    this.show(panned(this.span(whole), whole, share), whole);
  }

  fit(): void {
    this.#zoom = null;
  }
}
