import type { Backing, PageRun, Resource, Snapshot } from './snapshot.ts';
import { hex } from './units.ts';

/** Page runs of one buffer as columns: row `i` is run `i`. Strings are indices into `names`; -1 and NaN mean unknown. */
export interface RunColumns {
  readonly length: number;
  readonly index: Float64Array;
  readonly pfn: Float64Array;
  readonly count: Float64Array;
  readonly folioBytes: Float64Array;
  readonly node: Int32Array;
  readonly zone: Int16Array;
  readonly migratetype: Int16Array;
  readonly gpa: Float64Array;
  readonly ramInode: Float64Array;
  readonly ramOffset: Float64Array;
  readonly backing: Uint8Array;
  readonly names: readonly string[];
}

/** A snapshot inside a process and between processes: page runs as columns, never an object a run. */
export type Sample = Snapshot<RunColumns>;
export type SampledResource = Resource<RunColumns>;

/** Values of the column `backing`. */
export const [UNKNOWN, CONNECTED, DISCONNECTED] = [0, 1, 2] as const;
const BACKINGS: readonly Backing[] = ['unknown', 'connected', 'disconnected'];

/** The word of a value of the column `backing`; what is no value of it is `unknown`. */
export const backingName = (value: number): Backing => BACKINGS[value] ?? 'unknown';

const orNull = (value: number): number | null => (Number.isNaN(value) || value < 0 ? null : value);

/** Run `i` as the snapshot's object. Throws a RangeError for a row that is not there. */
export function pageRun(columns: RunColumns, i: number): PageRun {
  if (!(i >= 0 && i < columns.length)) throw new RangeError(`no run ${i} of ${columns.length}`);
  const at = (column: { readonly [i: number]: number }): number => column[i] ?? Number.NaN;
  const name = (value: number): string | null => columns.names[value] ?? null;
  const gpa = orNull(at(columns.gpa));
  return {
    index: at(columns.index),
    pfn: at(columns.pfn),
    count: at(columns.count),
    folioBytes: at(columns.folioBytes),
    node: orNull(at(columns.node)),
    zone: name(at(columns.zone)),
    migratetype: name(at(columns.migratetype)),
    gpa: gpa === null ? null : hex(gpa),
    ramInode: orNull(at(columns.ramInode)),
    ramOffset: orNull(at(columns.ramOffset)),
    backing: backingName(at(columns.backing)),
  };
}

/** All runs as the snapshot's objects. */
export function toPageRuns(columns: RunColumns): PageRun[] {
  return Array.from({ length: columns.length }, (_, i) => pageRun(columns, i));
}

/** The snapshot's objects as columns; {@link toPageRuns} of them gives the objects again. */
export function fromPageRuns(runs: readonly PageRun[]): RunColumns {
  const names: string[] = [];
  const indexOf = (name: string | null): number => {
    if (name === null) return -1;
    const at = names.indexOf(name);
    return at >= 0 ? at : names.push(name) - 1;
  };
  const orNaN = (value: number | null): number => value ?? Number.NaN;
  return {
    length: runs.length,
    index: Float64Array.from(runs, run => run.index),
    pfn: Float64Array.from(runs, run => run.pfn),
    count: Float64Array.from(runs, run => run.count),
    folioBytes: Float64Array.from(runs, run => run.folioBytes),
    node: Int32Array.from(runs, run => run.node ?? -1),
    zone: Int16Array.from(runs, run => indexOf(run.zone)),
    migratetype: Int16Array.from(runs, run => indexOf(run.migratetype)),
    gpa: Float64Array.from(runs, run => (run.gpa === null ? Number.NaN : Number(run.gpa))),
    ramInode: Float64Array.from(runs, run => orNaN(run.ramInode)),
    ramOffset: Float64Array.from(runs, run => orNaN(run.ramOffset)),
    backing: Uint8Array.from(runs, run => BACKINGS.indexOf(run.backing)),
    names,
  };
}

/** The snapshot of the schema: what `--json` prints and a session file holds. */
export function toSnapshot(sample: Sample): Snapshot {
  return { ...sample, resources: sample.resources.map(resource => withRuns(resource, toPageRuns)) };
}

/** A snapshot of the schema as the form that programs work with. */
export function fromSnapshot(snapshot: Snapshot): Sample {
  return { ...snapshot, resources: snapshot.resources.map(resource => withRuns(resource, fromPageRuns)) };
}

function withRuns<From, To>(resource: Resource<From>, convert: (runs: From) => To): Resource<To> {
  const { pages } = resource;
  return { ...resource, pages: pages && { ...pages, runs: convert(pages.runs) } };
}

/** The row of the run with page `index` of the buffer, by bisection (runs are in buffer order); -1: there is none. */
export function rowOfPage(columns: RunColumns, index: number): number {
  let low = 0;
  let high = columns.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((columns.index[middle] ?? Number.POSITIVE_INFINITY) <= index) low = middle;
    else high = middle - 1;
  }
  const inside = index - (columns.index[low] ?? Number.NaN);
  return inside >= 0 && inside < (columns.count[low] ?? 0) ? low : -1;
}
