import type { RunColumns, Sample } from '../run-columns.ts';
import { type MapSpace, PAGE_BYTES } from './space.ts';

/** Pages of a chunk. No piece reaches over one, so that a place in it and a length fit in 16 bits. */
export const CHUNK_PAGES = 4096;
const CHUNK_BITS = 12;

/**
 * Which pages of a space are held, and by which run: pieces of runs, ascending by position. A page that is held twice is
 * in two pieces. 8 bytes a piece.
 */
export interface HeldIndex {
  readonly space: MapSpace;
  readonly chunks: number;
  /** Pieces of chunk `c` are `chunkFirst[c]` up to `chunkFirst[c + 1]`. */
  readonly chunkFirst: Uint32Array;
  /** 1 where two pieces of the chunk share a page. */
  readonly overlaps: Uint8Array;
  /** Place of the piece's first page in its chunk, and its pages (1 to 4096). */
  readonly offset: Uint16Array;
  readonly count: Uint16Array;
  /** Number of the piece's run, counted through all resources of the sample. */
  readonly run: Uint32Array;
  /** Number of the first run of each resource; one more at the end. */
  readonly runBase: Uint32Array;
  /** Entries of buffers, repeats counted: with a place in this space, and without. */
  readonly placed: number;
  readonly unplaced: number;
}

/** Where stretches of one numbering (PFNs, pages of a memfd) lie in a space: ascending by `first`, aliases beside each other. */
interface Extent {
  readonly first: number;
  readonly end: number;
  readonly start: number;
}
const NOWHERE: readonly Extent[] = [];

const extents = new WeakMap<MapSpace, Map<number, Extent[]>>();

/** Stretches by what numbers them: 0 for PFNs, the inode of the memfd for guest RAM. */
function extentsOf(space: MapSpace): Map<number, Extent[]> {
  const known = extents.get(space);
  if (known !== undefined) return known;
  const by = new Map<number, Extent[]>();
  extents.set(space, by);
  for (const { pfn, ram, start, pages } of space.segments) {
    const [key, first] = space.kind === 'host' ? [0, pfn] : [ram?.inode ?? -1, ram?.page ?? null];
    if (first === null) continue;
    const list = by.get(key) ?? [];
    const last = list.at(-1);
    if (last !== undefined && last.end === first && last.start + (last.end - last.first) === start) {
      list[list.length - 1] = { ...last, end: first + pages };
    } else {
      list.push({ first, end: first + pages, start });
    }
    by.set(key, list);
  }
  for (const list of by.values()) list.sort((a, b) => a.first - b.first);
  return by;
}

/** Pieces in order of runs, as they are found. */
interface Pieces {
  readonly start: Uint32Array;
  readonly count: Uint16Array;
  readonly run: Uint32Array;
}

/**
 * Cuts all runs into pieces. Without `out` they are only counted. Local variables and plain loops: a call for each of millions
 * of runs would be most of the time.
 */
function cutRuns({ resources }: Pick<Sample, 'resources'>, space: MapSpace, out: Pieces | null) {
  const all = extentsOf(space);
  const host = space.kind === 'host';
  let pieces = 0;
  let placed = 0;
  let unplaced = 0;
  let ascending = true;
  let before = 0;
  let base = 0;
  for (const { pages } of resources) {
    if (pages === null) continue;
    const { length, pfn, count, ramInode, ramOffset } = pages.runs;
    let key = 0;
    let list = host ? (all.get(0) ?? NOWHERE) : NOWHERE;
    for (let i = 0; i < length; i++) {
      const inode = host ? 0 : (ramInode[i] as number);
      if (inode !== key) {
        key = inode;
        list = all.get(inode) ?? NOWHERE;
      }
      const first = host ? (pfn[i] as number) : (ramOffset[i] as number) / PAGE_BYTES;
      const end = first + (count[i] as number);
      // Up to where the run has a place; a stretch that is shown twice counts once.
      let reach = first;
      let lost = 0;
      // A handful of stretches: zones and holes of a machine, ranges of a backend.
      for (let e = 0; e < list.length; e++) {
        const extent = list[e] as Extent;
        const low = Math.max(first, extent.first);
        const high = Math.min(end, extent.end);
        // Also where the place is unknown (NaN).
        if (!(low < high)) continue;
        placed += high - low;
        if (low > reach) lost += low - reach;
        if (high > reach) reach = high;
        let from = extent.start + low - extent.first;
        const to = extent.start + high - extent.first;
        while (from < to) {
          const border = ((from >>> CHUNK_BITS) + 1) * CHUNK_PAGES;
          const next = Math.min(border, to);
          if (out !== null) {
            out.start[pieces] = from;
            out.count[pieces] = next - from;
            out.run[pieces] = base + i;
          }
          if (from < before) ascending = false;
          before = from;
          pieces++;
          from = next;
        }
      }
      unplaced += reach >= end ? lost : lost + ((count[i] as number) - (reach > first ? reach - first : 0));
    }
    base += length;
  }
  return { pieces, placed, unplaced, ascending };
}

/** Where pages of a run lie on a map. */
export interface Stretch {
  readonly start: number;
  readonly pages: number;
  /** Which page of the run is the first one here. */
  readonly page: number;
}

/** All stretches of one run, ascending by its pages: several where the space is broken or shows memory twice; none without a place. */
export function stretchesOf(space: MapSpace, runs: RunColumns, row: number): Stretch[] {
  const host = space.kind === 'host';
  const inode = runs.ramInode[row] ?? Number.NaN;
  const first = host ? (runs.pfn[row] ?? Number.NaN) : (runs.ramOffset[row] ?? Number.NaN) / PAGE_BYTES;
  const end = first + (runs.count[row] ?? 0);
  const found: Stretch[] = [];
  for (const extent of extentsOf(space).get(host ? 0 : inode) ?? []) {
    const from = Math.max(first, extent.first);
    const to = Math.min(end, extent.end);
    if (from < to)
      found.push({ start: extent.start + from - extent.first, pages: to - from, page: from - first });
  }
  return found;
}

/** Builds the index of a sample's pages in a space: linear in runs and in pages / 4096. */
export function heldIndex(sample: Pick<Sample, 'resources'>, space: MapSpace): HeldIndex {
  const chunks = Math.ceil(space.pages / CHUNK_PAGES);
  const { pieces, placed, unplaced, ascending } = cutRuns(sample, space, null);
  const cut: Pieces = {
    start: new Uint32Array(pieces),
    count: new Uint16Array(pieces),
    run: new Uint32Array(pieces),
  };
  cutRuns(sample, space, cut);
  const chunkFirst = new Uint32Array(chunks + 1);
  for (let i = 0; i < pieces; i++) {
    const chunk = ((cut.start[i] as number) >>> CHUNK_BITS) + 1;
    chunkFirst[chunk] = (chunkFirst[chunk] as number) + 1;
  }
  for (let c = 0; c < chunks; c++)
    chunkFirst[c + 1] = (chunkFirst[c + 1] as number) + (chunkFirst[c] as number);
  const sorted = ascending
    ? { offset: lowBits(cut.start), count: cut.count, run: cut.run }
    : sortedPieces(cut, chunkFirst);
  return {
    space,
    chunks,
    chunkFirst,
    overlaps: overlapping(chunkFirst, sorted.offset, sorted.count),
    ...sorted,
    runBase: runBases(sample),
    placed,
    unplaced,
  };
}

function lowBits(starts: Uint32Array): Uint16Array {
  const low = new Uint16Array(starts.length);
  for (let i = 0; i < low.length; i++) low[i] = (starts[i] as number) % CHUNK_PAGES;
  return low;
}

/** Stable sort by position, in two counting passes: by place in the chunk, then by chunk. */
function sortedPieces({ start: starts, count: counts, run: runs }: Pieces, chunkFirst: Uint32Array) {
  const n = starts.length;
  const next = new Uint32Array(CHUNK_PAGES + 1);
  for (let i = 0; i < n; i++) {
    const low = ((starts[i] as number) % CHUNK_PAGES) + 1;
    next[low] = (next[low] as number) + 1;
  }
  for (let i = 0; i < CHUNK_PAGES; i++) next[i + 1] = (next[i + 1] as number) + (next[i] as number);
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const low = (starts[i] as number) % CHUNK_PAGES;
    const to = next[low] as number;
    next[low] = to + 1;
    order[to] = i;
  }
  const offset = new Uint16Array(n);
  const count = new Uint16Array(n);
  const run = new Uint32Array(n);
  const place = chunkFirst.slice();
  for (let j = 0; j < n; j++) {
    const i = order[j] as number;
    const start = starts[i] as number;
    const chunk = start >>> CHUNK_BITS;
    const to = place[chunk] as number;
    place[chunk] = to + 1;
    offset[to] = start % CHUNK_PAGES;
    count[to] = counts[i] as number;
    run[to] = runs[i] as number;
  }
  return { offset, count, run };
}

function overlapping(chunkFirst: Uint32Array, offset: Uint16Array, count: Uint16Array): Uint8Array {
  const overlaps = new Uint8Array(Math.max(0, chunkFirst.length - 1));
  for (let c = 0; c < overlaps.length; c++) {
    let end = 0;
    const last = chunkFirst[c + 1] as number;
    for (let i = chunkFirst[c] as number; i < last; i++) {
      const start = offset[i] as number;
      if (start < end) overlaps[c] = 1;
      end = Math.max(end, start + (count[i] as number));
    }
  }
  return overlaps;
}

/** Number of the first run of each resource, counted through the sample; one more at the end. */
export function runBases({ resources }: Pick<Sample, 'resources'>): Uint32Array {
  const bases = new Uint32Array(resources.length + 1);
  resources.forEach(({ pages }, i) => {
    bases[i + 1] = (bases[i] ?? 0) + (pages?.runs.length ?? 0);
  });
  return bases;
}

/** Which resource run number `run` belongs to (place in the sample), and its row there. */
export function ownerOf({ runBase }: HeldIndex, run: number): { resource: number; row: number } {
  let [low, high] = [0, runBase.length - 2];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((runBase[middle] ?? Number.POSITIVE_INFINITY) <= run) low = middle;
    else high = middle - 1;
  }
  return { resource: low, row: run - (runBase[low] ?? 0) };
}

/** Position of a piece's first page. */
export function pieceStart(index: HeldIndex, piece: number): number {
  let [low, high] = [0, index.chunks - 1];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((index.chunkFirst[middle] ?? Number.POSITIVE_INFINITY) <= piece) low = middle;
    else high = middle - 1;
  }
  return low * CHUNK_PAGES + (index.offset[piece] ?? 0);
}

/** Pieces that hold a page from `from` up to `to`, ascending. */
export function* piecesIn(index: HeldIndex, from: number, to: number): Generator<number> {
  const last = Math.min(index.chunks - 1, (to - 1) >>> CHUNK_BITS);
  for (let chunk = from >>> CHUNK_BITS; chunk <= last; chunk++) {
    const base = chunk * CHUNK_PAGES;
    const end = index.chunkFirst[chunk + 1] ?? 0;
    for (let piece = index.chunkFirst[chunk] ?? 0; piece < end; piece++) {
      const start = base + (index.offset[piece] ?? 0);
      if (start >= to) break;
      if (start + (index.count[piece] ?? 0) > from) yield piece;
    }
  }
}

const sameColumn = (a: Float64Array, b: Float64Array): boolean => {
  if (a === b) return true;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    // NaN, which stands for unknown, is equal to itself here.
    if (x !== y && !(Number.isNaN(x) && Number.isNaN(y))) return false;
  }
  return true;
};

/** Whether the index of one sample is that of another: the same runs at the same places, whatever else is new about them. */
export function samePlaces(
  a: Pick<Sample, 'resources'>,
  b: Pick<Sample, 'resources'>,
  kind: MapSpace['kind'],
): boolean {
  const same = (x: RunColumns, y: RunColumns): boolean =>
    x.length === y.length &&
    sameColumn(x.count, y.count) &&
    sameColumn(x.pfn, y.pfn) &&
    sameColumn(x.index, y.index) &&
    (kind === 'host' || (sameColumn(x.ramInode, y.ramInode) && sameColumn(x.ramOffset, y.ramOffset)));
  return (
    a.resources.length === b.resources.length &&
    a.resources.every((resource, i) => {
      const other = b.resources[i];
      if (other === undefined || other.inode !== resource.inode) return false;
      if (resource.pages === null || other.pages === null) return resource.pages === other.pages;
      return same(resource.pages.runs, other.pages.runs);
    })
  );
}
