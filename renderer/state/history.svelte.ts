import { heldMemory } from '../../model/held.ts';
import { Lives } from '../../model/history/lives.ts';
import { type Gap, Series } from '../../model/history/series.ts';
import type { Sample } from '../../model/run-columns.ts';
import { deniedMaps, summaryOf } from '../text/resource.ts';

/** Quantities of the series beside those of each place, bytes. */
export const SIZE = 'size';
export const HELD = 'held';
/** Gaps that are kept; past it the nearest two become one. */
const MOST_GAPS = 512;
/** Times between samples that the usual pace is told from. */
const PACE_OVER = 9;
/** Time between two redraws, milliseconds. */
const REDRAW_MS = 200;
/** A clock that was set back by more than this begins a new history. */
const SET_BACK_MS = 2000;

/**
 * What the samples of one process tell together: bytes by place over time, which buffers came and went, and when nothing was read.
 * Live samples and those of a recording are taken alike, and never mixed.
 */
export class History {
  #of = '';
  #series = new Series(HELD);
  #lives = new Lives();
  #gaps: Gap[] = [];
  #paces: number[] = [];
  #samples = 0;
  #start = Number.NaN;
  #end = Number.NaN;
  /** Raised with samples: what views depend on. */
  #version = $state(0);
  #shown = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #later: (work: () => void) => void;
  /** The sample that is not taken in yet: one at most. */
  #waiting: readonly [sample: Sample, source: string, periodMs: number] | null = null;

  /** @param later does work when there is time for it; live samples are taken in by it */
  constructor(later: (work: () => void) => void = work => work()) {
    this.#later = later;
  }

  get series(): Series {
    void this.#version;
    return this.#series;
  }
  get lives(): Lives {
    void this.#version;
    return this.#lives;
  }
  get gaps(): readonly Gap[] {
    void this.#version;
    return this.#gaps;
  }
  /** Samples that were taken in. */
  get samples(): number {
    void this.#version;
    return this.#samples;
  }
  /** Time of the first sample, milliseconds since 1970; NaN without one. */
  get start(): number {
    void this.#version;
    return this.#start;
  }
  /** Time of the newest sample. */
  get end(): number {
    void this.#version;
    return this.#end;
  }

  /**
   * Takes in a sample that is shown. One that is not newer than the last was seen before (a recording that was wound back) and
   * changes nothing. Another process or source begins anew. A live sample waits until it was drawn, or until the next one comes:
   * each is taken in, in order, and no more than one waits.
   * @param source `live`, or the name of a recording
   * @param periodMs time between two samples, as it should be
   */
  observe(sample: Sample, source: string, periodMs: number): void {
    this.#takeWaiting();
    if (source !== 'live') {
      this.#take(sample, source, periodMs);
      return;
    }
    this.#waiting = [sample, source, periodMs];
    this.#later(() => this.#takeWaiting());
  }

  #takeWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) this.#take(...waiting);
  }

  #take(sample: Sample, source: string, periodMs: number): void {
    const { target, takenAt } = sample;
    const of = `${source} ${target.pid} ${target.startTime}`;
    const time = Date.parse(takenAt);
    if (Number.isNaN(time)) return;
    const setBack = source === 'live' && time < this.#end - SET_BACK_MS;
    if (of !== this.#of || setBack) this.#begin(of, periodMs);
    else if (time <= this.#end) return;
    this.#pace(time);
    if (this.#samples === 0) this.#start = time;
    this.#end = time;
    this.#samples++;
    this.#series.add(time, quantities(sample));
    // Where the list of buffers is denied, an empty one says nothing.
    if (sample.resources.length > 0 || deniedMaps(sample.sources) === null) {
      this.#lives.observe(time, sample.resources, ({ pages }) =>
        pages === null ? null : summaryOf(pages.runs).disconnected,
      );
    }
    this.#changed();
  }

  /** Views are drawn anew at once, but no more often than they can be looked at: a recording tells thousands of samples. */
  #changed(): void {
    if (this.#timer !== undefined) return;
    const wait = this.#shown + REDRAW_MS - performance.now();
    if (wait <= 0) this.#show();
    else this.#timer = setTimeout(() => this.#show(), wait);
  }

  #show(): void {
    this.#timer = undefined;
    this.#shown = performance.now();
    this.#version++;
  }

  #begin(of: string, periodMs: number): void {
    this.#of = of;
    this.#series = new Series(HELD);
    this.#lives = new Lives();
    this.#gaps = [];
    this.#paces = [periodMs];
    this.#samples = 0;
    this.#start = Number.NaN;
    this.#end = Number.NaN;
  }

  /** A time much longer than is usual between samples is a gap: a pause, a sample that failed or was left out, a restart. */
  #pace(time: number): void {
    if (this.#samples === 0) return;
    const passed = time - this.#end;
    const usual = [...this.#paces].sort((a, b) => a - b)[this.#paces.length >> 1];
    if (usual !== undefined && passed > 1.8 * usual) this.#gap({ from: this.#end, to: time });
    this.#paces.push(passed);
    if (this.#paces.length > PACE_OVER) this.#paces.shift();
  }

  #gap(gap: Gap): void {
    this.#gaps = [...this.#gaps, gap];
    if (this.#gaps.length <= MOST_GAPS) return;
    let nearest = 1;
    const between = (at: number) => (this.#gaps[at]?.from ?? 0) - (this.#gaps[at - 1]?.to ?? 0);
    for (let at = 2; at < this.#gaps.length; at++) if (between(at) < between(nearest)) nearest = at;
    const [a, b] = [this.#gaps[nearest - 1], this.#gaps[nearest]];
    if (a && b) this.#gaps.splice(nearest - 1, 2, { from: a.from, to: b.to });
  }
}

/** Name of the quantity of a place, and the place that a name stands for. */
export const placeKey = (node: number | null, zone: string | null): string => JSON.stringify([node, zone]);
export const placeOf = (key: string): { node: number | null; zone: string | null } => {
  const [node, zone] = JSON.parse(key) as [number | null, string | null];
  return { node, zone };
};

/** Bytes of the buffers, and of the distinct pages that they hold, all and by place; unknown where any buffer was not read. */
function quantities(sample: Sample): Map<string, number> {
  const { resources, host } = sample;
  const held = heldMemory(sample);
  const size = resources.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? Number.NaN), 0);
  const denied = resources.length === 0 && deniedMaps(sample.sources) !== null;
  const values = new Map([
    [SIZE, denied ? Number.NaN : size],
    [HELD, denied || held.unread > 0 ? Number.NaN : held.pages * host.pageSize],
  ]);
  if (held.unread > 0) return values;
  for (const { node, zone, pages } of held.groups) {
    const key = placeKey(node, zone);
    values.set(key, (values.get(key) ?? 0) + pages * host.pageSize);
  }
  return values;
}
