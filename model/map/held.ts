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

/** Where pieces go: each to the next free place of its chunk. */
interface Pieces {
  readonly next: Uint32Array;
  readonly offset: Uint16Array;
  readonly count: Uint16Array;
  readonly run: Uint32Array;
}

/**
 * Cuts all runs into pieces. Without `out` the pieces of each chunk are only counted, in `inChunk`. Local variables and plain
 * loops: a call for each of millions of runs would be most of the time.
 */
function cutRuns(
  { resources }: Pick<Sample, 'resources'>,
  space: MapSpace,
  inChunk: Uint32Array,
  out: Pieces | null,
): { placed: number; unplaced: number } {
  const all = extentsOf(space);
  const host = space.kind === 'host';
  let placed = 0;
  let unplaced = 0;
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
          const chunk = from >>> CHUNK_BITS;
          const next = Math.min((chunk + 1) * CHUNK_PAGES, to);
          if (out === null) {
            inChunk[chunk] = (inChunk[chunk] as number) + 1;
          } else {
            const at = out.next[chunk] as number;
            out.next[chunk] = at + 1;
            out.offset[at] = from % CHUNK_PAGES;
            out.count[at] = next - from;
            out.run[at] = base + i;
          }
          from = next;
        }
      }
      // A run without a known place has no `reach`.
      unplaced += reach >= end ? lost : lost + ((count[i] as number) - (reach > first ? reach - first : 0));
    }
    base += length;
  }
  return { placed, unplaced };
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
  const chunkFirst = new Uint32Array(chunks + 1);
  const { placed, unplaced } = cutRuns(sample, space, chunkFirst.subarray(1), null);
  for (let c = 0; c < chunks; c++) {
    chunkFirst[c + 1] = (chunkFirst[c + 1] as number) + (chunkFirst[c] as number);
  }
  const pieces = chunkFirst[chunks] as number;
  const out: Pieces = {
    next: chunkFirst.slice(),
    offset: new Uint16Array(pieces),
    count: new Uint16Array(pieces),
    run: new Uint32Array(pieces),
  };
  cutRuns(sample, space, chunkFirst, out);
  const { offset, count, run } = out;
  const sorter = new ChunkSorter(out);
  const overlaps = new Uint8Array(chunks);
  for (let c = 0; c < chunks; c++) {
    const [from, to] = [chunkFirst[c] as number, chunkFirst[c + 1] as number];
    sorter.sort(from, to);
    overlaps[c] = overlap(out, from, to) ? 1 : 0;
  }
  return {
    space,
    chunks,
    chunkFirst,
    overlaps,
    offset,
    count,
    run,
    runBase: runBases(sample),
    placed,
    unplaced,
  };
}

/** Sorts the pieces of a chunk by place: in time linear in them and in a chunk's pages, and stable, so that runs keep their order. */
class ChunkSorter {
  readonly #pieces: Pieces;
  readonly #next = new Uint32Array(CHUNK_PAGES + 1);
  #offset = new Uint16Array(CHUNK_PAGES);
  #count = new Uint16Array(CHUNK_PAGES);
  #run = new Uint32Array(CHUNK_PAGES);

  constructor(pieces: Pieces) {
    this.#pieces = pieces;
  }

  sort(from: number, to: number): void {
    const { offset, count, run } = this.#pieces;
    let i = from + 1;
    while (i < to && (offset[i - 1] as number) <= (offset[i] as number)) i++;
    if (i >= to) return;
    const next = this.#next.fill(0);
    for (i = from; i < to; i++) {
      const after = (offset[i] as number) + 1;
      next[after] = (next[after] as number) + 1;
    }
    for (i = 1; i <= CHUNK_PAGES; i++) next[i] = (next[i] as number) + (next[i - 1] as number);
    this.#grow(to - from);
    const [offsets, counts, runs] = [this.#offset, this.#count, this.#run];
    for (i = from; i < to; i++) {
      const place = offset[i] as number;
      const at = next[place] as number;
      next[place] = at + 1;
      offsets[at] = place;
      counts[at] = count[i] as number;
      runs[at] = run[i] as number;
    }
    offset.set(offsets.subarray(0, to - from), from);
    count.set(counts.subarray(0, to - from), from);
    run.set(runs.subarray(0, to - from), from);
  }

  /** Pages that are held often make more pieces than a chunk has pages. */
  #grow(pieces: number): void {
    if (pieces <= this.#offset.length) return;
    this.#offset = new Uint16Array(2 * pieces);
    this.#count = new Uint16Array(2 * pieces);
    this.#run = new Uint32Array(2 * pieces);
  }
}

/** Whether two of these pieces, which ascend, share a page. */
function overlap({ offset, count }: Pieces, from: number, to: number): boolean {
  let end = 0;
  for (let i = from; i < to; i++) {
    const start = offset[i] as number;
    if (start < end) return true;
    end = start + (count[i] as number);
  }
  return false;
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
