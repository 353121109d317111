import { FLAG } from './classes.ts';
import { CHUNK_PAGES, type HeldIndex } from './held.ts';

/** Cells of a tile. Tile `t` of level `k` has cells of 2^k pages and covers chunks `t·2^k` up to `(t+1)·2^k`. */
export const TILE_CELLS = CHUNK_PAGES;
const CHUNK_BITS = 12;
/** So many cells are written one by one sooner than by a call for each column. */
const FEW = 12;

/** What each cell of a tile holds. */
export interface Tile {
  /** Distinct pages that are held. */
  readonly held: Uint32Array;
  /** Entries of buffers: more than `held` where pages are held more than once. */
  readonly entries: Uint32Array;
  /** Class with most entries among those shown, plus 1; of equals the first; 0: none is shown. */
  readonly top: Uint16Array;
  /** Bits of `FLAG` that any entry has, whether it is shown or not; `repeated`; `mixed`. */
  readonly flags: Uint8Array;
}

/** What is drawn of the pieces of an index. */
export interface PieceMarks {
  readonly classes: number;
  /** Class and flags of each run. */
  readonly classOfRun: Uint16Array;
  readonly flagsOfRun: Uint8Array;
  /** 1 for classes that the legend has off. */
  readonly hidden: Uint8Array;
}

/** Pages by class of the open cell, zero between cells, and the classes that it has: kept, as a tile is made in microseconds. */
let scratch = { pages: new Uint32Array(64), touched: new Uint16Array(64) };

/** Adds up entries of one cell after another. */
class Cells {
  readonly tile: Tile;
  readonly #hidden: Uint8Array;
  readonly #pages: Uint32Array;
  readonly #touched: Uint16Array;
  #classes = 0;
  #held = 0;
  #entries = 0;
  #flags = 0;

  constructor(tile: Tile, hidden: Uint8Array, classes: number) {
    this.tile = tile;
    this.#hidden = hidden;
    if (scratch.pages.length < classes) {
      scratch = { pages: new Uint32Array(classes), touched: new Uint16Array(classes) };
    }
    this.#pages = scratch.pages;
    this.#touched = scratch.touched;
  }

  add(cls: number, flags: number, pages: number, fresh: number): void {
    this.#entries += pages;
    this.#held += fresh;
    this.#flags |= flags;
    if ((flags & FLAG.faint) !== 0 || this.#hidden[cls] === 1) return;
    const before = this.#pages[cls] as number;
    if (before === 0) this.#touched[this.#classes++] = cls;
    this.#pages[cls] = before + pages;
  }

  /** Cells from `first` up to `end`, each held whole by one entry of `pages` pages; none is open. */
  whole(cls: number, flags: number, pages: number, first: number, end: number): void {
    const { held, entries, top, flags: bits } = this.tile;
    const shown = (flags & FLAG.faint) !== 0 || this.#hidden[cls] === 1 ? 0 : cls + 1;
    if (end - first < FEW) {
      for (let cell = first; cell < end; cell++) {
        held[cell] = pages;
        entries[cell] = pages;
        top[cell] = shown;
        bits[cell] = flags;
      }
      return;
    }
    held.fill(pages, first, end);
    entries.fill(pages, first, end);
    if (shown !== 0) top.fill(shown, first, end);
    if (flags !== 0) bits.fill(flags, first, end);
  }

  end(cell: number): void {
    if (this.#entries === 0) return;
    let top = 0;
    let most = 0;
    for (let i = 0; i < this.#classes; i++) {
      const cls = this.#touched[i] as number;
      const pages = this.#pages[cls] as number;
      this.#pages[cls] = 0;
      if (pages > most || (pages === most && cls + 1 < top)) {
        most = pages;
        top = cls + 1;
      }
    }
    this.tile.held[cell] = this.#held;
    this.tile.entries[cell] = this.#entries;
    this.tile.top[cell] = top;
    this.tile.flags[cell] =
      this.#flags | (this.#classes > 1 ? FLAG.mixed : 0) | (this.#entries > this.#held ? FLAG.repeated : 0);
    this.#classes = this.#held = this.#entries = this.#flags = 0;
  }
}

/** Nothing held, in one buffer: a zoom makes tens of tiles in a frame. */
function emptyTile(): Tile {
  const buffer = new ArrayBuffer(11 * TILE_CELLS);
  return {
    held: new Uint32Array(buffer, 0, TILE_CELLS),
    entries: new Uint32Array(buffer, 4 * TILE_CELLS, TILE_CELLS),
    top: new Uint16Array(buffer, 8 * TILE_CELLS, TILE_CELLS),
    flags: new Uint8Array(buffer, 10 * TILE_CELLS, TILE_CELLS),
  };
}

/** Every tile in which nothing is held; nobody writes to a tile that was handed out. */
const NOTHING = emptyTile();

/** Aggregates the cells of one tile: exact, linear in its pieces and in what they share with cells. */
export function fillTile(index: HeldIndex, marks: PieceMarks, level: number, tile: number): Tile {
  const first = tile * 2 ** level;
  const last = Math.min(index.chunks, first + 2 ** level);
  if (first >= last || index.chunkFirst[first] === index.chunkFirst[last]) return NOTHING;
  const out = emptyTile();
  const cells = new Cells(out, marks.hidden, marks.classes);
  for (let chunk = first; chunk < last; chunk++) {
    const [from, to] = [index.chunkFirst[chunk] as number, index.chunkFirst[chunk + 1] as number];
    if (level < CHUNK_BITS) {
      const base = (chunk - first) << (CHUNK_BITS - level);
      if (from === to) continue;
      if (index.overlaps[chunk] === 1) overlappingChunk(index, marks, cells, from, to, base, level);
      else plainChunk(index, marks, cells, from, to, base, level);
    } else {
      wholeChunk(index, marks, cells, from, to);
      const next = chunk + 1;
      if (next === last || next % 2 ** (level - CHUNK_BITS) === 0) {
        cells.end(Math.floor((chunk - first) / 2 ** (level - CHUNK_BITS)));
      }
    }
  }
  return out;
}

/** Pieces that share no page come one after another, and so do their cells. */
function plainChunk(
  index: HeldIndex,
  { classOfRun, flagsOfRun }: PieceMarks,
  cells: Cells,
  from: number,
  to: number,
  base: number,
  level: number,
): void {
  const { offset, count, run } = index;
  let cell = -1;
  for (let i = from; i < to; i++) {
    const r = run[i] as number;
    const cls = classOfRun[r] as number;
    const flags = flagsOfRun[r] as number;
    let start = offset[i] as number;
    const end = start + (count[i] as number);
    while (start < end) {
      const here = start >>> level;
      if (here !== cell) {
        if (cell >= 0) cells.end(base + cell);
        cell = here;
        const after = end >>> level;
        if (here << level === start && after > here) {
          cells.whole(cls, flags, 1 << level, base + here, base + after);
          cell = -1;
          start = after << level;
          continue;
        }
      }
      const stop = Math.min(end, (here + 1) << level);
      cells.add(cls, flags, stop - start, stop - start);
      start = stop;
    }
  }
  if (cell >= 0) cells.end(base + cell);
}

/** Pieces that share pages: those that reach into a cell are kept beside those that begin in it. */
function overlappingChunk(
  index: HeldIndex,
  { classOfRun, flagsOfRun }: PieceMarks,
  cells: Cells,
  from: number,
  to: number,
  base: number,
  level: number,
): void {
  const { offset, count, run } = index;
  let reaching: number[] = [];
  let i = from;
  for (let cell = 0; i < to || reaching.length > 0; cell++) {
    // Cells without pieces are passed over.
    if (reaching.length === 0) cell = (offset[i] as number) >>> level;
    const start = cell << level;
    const end = (cell + 1) << level;
    while (i < to && (offset[i] as number) < end) reaching.push(i++);
    let covered = start;
    const further: number[] = [];
    for (const piece of reaching) {
      const pieceEnd = (offset[piece] as number) + (count[piece] as number);
      const a = Math.max(start, offset[piece] as number);
      const b = Math.min(end, pieceEnd);
      const r = run[piece] as number;
      const fresh = Math.max(0, b - Math.max(a, covered));
      cells.add(classOfRun[r] as number, flagsOfRun[r] as number, b - a, fresh);
      covered = Math.max(covered, b);
      if (pieceEnd > end) further.push(piece);
    }
    cells.end(base + cell);
    reaching = further;
  }
}

/** A whole chunk into the cell that is open. */
function wholeChunk(
  { offset, count, run }: HeldIndex,
  { classOfRun, flagsOfRun }: PieceMarks,
  cells: Cells,
  from: number,
  to: number,
): void {
  let covered = 0;
  for (let i = from; i < to; i++) {
    const start = offset[i] as number;
    const pages = count[i] as number;
    const r = run[i] as number;
    cells.add(
      classOfRun[r] as number,
      flagsOfRun[r] as number,
      pages,
      Math.max(0, start + pages - Math.max(start, covered)),
    );
    covered = Math.max(covered, start + pages);
  }
}
