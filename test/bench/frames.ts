import type { Browser, Page } from 'playwright-core';

/** One period of a screen of 60 frames a second, ms. */
const PERIOD = 1000 / 60;

/** Frames between two marks, as the browser's compositor drew them. */
export interface Frames {
  /** Time from one frame to the next, ms. */
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  readonly drawn: number;
  /** Periods of 60 Hz in which no frame was drawn although the page wanted one. */
  readonly dropped: number;
  /** The longest task of the page's main thread, ms, and the time in all of them as a share. */
  readonly longestTask: number;
  readonly busy: number;
  /** Processor time of the main thread for each frame, ms: what a busy machine changes least. */
  readonly cpu: number;
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  readonly dur?: number;
  /** Processor time in it, microseconds. */
  readonly tdur?: number;
  readonly args?: { readonly layerTreeId?: number };
}

const CATEGORIES = [
  'blink.user_timing',
  'toplevel',
  'devtools.timeline',
  'disabled-by-default-devtools.timeline',
  'disabled-by-default-devtools.timeline.frame',
];

/** Runs `script` in the page under the browser's own tracing (CDP Tracing). The script keeps the page drawing and resolves at its end. */
export async function traced(browser: Browser, page: Page, script: string): Promise<Frames> {
  await browser.startTracing(page, { categories: CATEGORIES });
  await page.evaluate(
    `(async () => { performance.mark('frames-begin'); await (${script})(); performance.mark('frames-end'); })()`,
  );
  const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
  return framesOf(trace.traceEvents);
}

export function framesOf(events: readonly TraceEvent[]): Frames {
  const mark = (name: string): TraceEvent => {
    const found = events.find(event => event.name === name);
    if (found === undefined) throw new Error(`the trace has no ${name}`);
    return found;
  };
  const [begin, end] = [mark('frames-begin'), mark('frames-end')];
  const within = events.filter(({ ts, pid }) => pid === begin.pid && ts >= begin.ts && ts <= end.ts);
  const draws = within.filter(({ name }) => name === 'DrawFrame').map(({ ts }) => ts / 1000);
  draws.sort((a, b) => a - b);
  const times = draws.slice(1).map((at, i) => at - (draws[i] ?? at));
  if (times.length < 20) throw new Error(`the trace has ${times.length} frames`);
  const mine = within.filter(({ name, tid }) => name === 'RunTask' && tid === begin.tid);
  const tasks = mine.map(({ dur }) => (dur ?? 0) / 1000);
  const sorted = [...times].sort((a, b) => a - b);
  const quantile = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return {
    p50: quantile(0.5),
    p95: quantile(0.95),
    max: quantile(1),
    drawn: draws.length,
    dropped: times.reduce((sum, time) => sum + Math.max(0, Math.round(time / PERIOD) - 1), 0),
    longestTask: Math.max(0, ...tasks),
    cpu: mine.reduce((sum, { tdur }) => sum + (tdur ?? 0), 0) / 1000 / draws.length,
    busy: tasks.reduce((sum, time) => sum + time, 0) / ((end.ts - begin.ts) / 1000),
  };
}
