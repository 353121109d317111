import type { CDPSession } from 'playwright-core';

/** Frames of a page, as the browser itself traced them. */
export interface FrameTimes {
  /** Milliseconds from one drawn frame to the next. */
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  readonly drawn: number;
  /** Frames that the compositor wanted and had to leave out. */
  readonly dropped: number;
  /** Processor time of the page's main thread for a drawn frame, milliseconds. */
  readonly mainMs: number;
  /** The longest task of the main thread, milliseconds. */
  readonly longestMs: number;
}

interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  readonly ph: string;
  readonly ts: number;
  readonly dur?: number;
  /** Of the thread, without the time in which others had the processor. */
  readonly tdur?: number;
  readonly tid: number;
  readonly pid: number;
  readonly args?: { readonly name?: string };
}
const CATEGORIES = [
  'disabled-by-default-devtools.timeline.frame',
  'disabled-by-default-devtools.timeline',
  'devtools.timeline',
];

/** Traces while `act` runs. Chromium's events DrawFrame, DroppedFrame and RunTask (DevTools' own frames are made from them). */
export async function traceFrames(cdp: CDPSession, act: () => Promise<void>): Promise<FrameTimes> {
  const events: TraceEvent[] = [];
  const collect = ({ value }: { value: object[] }) => events.push(...(value as TraceEvent[]));
  cdp.on('Tracing.dataCollected', collect);
  await cdp.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: [...CATEGORIES, '__metadata'] },
  });
  await act();
  const complete = new Promise<void>(ended => cdp.once('Tracing.tracingComplete', () => ended()));
  await cdp.send('Tracing.end');
  await complete;
  cdp.off('Tracing.dataCollected', collect);
  return summary(events);
}

function summary(events: readonly TraceEvent[]): FrameTimes {
  const drawnAt = events
    .filter(({ name }) => name === 'DrawFrame')
    .map(({ ts }) => ts)
    .sort((a, b) => a - b);
  const spans = drawnAt
    .slice(1)
    .map((ts, i) => (ts - (drawnAt[i] ?? ts)) / 1000)
    .sort((a, b) => a - b);
  const at = (share: number) =>
    spans[Math.min(spans.length - 1, Math.floor(spans.length * share))] ?? Number.NaN;
  const mains = new Set(
    events
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = events.filter(
    ({ name, ph, pid, tid }) => name === 'RunTask' && ph === 'X' && mains.has(`${pid} ${tid}`),
  );
  const work = tasks.reduce((sum, { tdur = 0 }) => sum + tdur / 1000, 0);
  return {
    p50: at(0.5),
    p95: at(0.95),
    max: at(1),
    drawn: drawnAt.length,
    dropped: events.filter(({ name }) => name === 'DroppedFrame').length,
    mainMs: work / Math.max(1, drawnAt.length),
    longestMs: Math.max(0, ...tasks.map(({ dur = 0 }) => dur / 1000)),
  };
}
