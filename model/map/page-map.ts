import type { Sample, SampledResource } from '../run-columns.ts';
import { type Classes, type ColourMode, classify, FLAG, flagsOf, type MapClass } from './classes.ts';
import { CHUNK_PAGES, type HeldIndex, heldIndex, ownerOf, samePlaces } from './held.ts';
import { guestSpace, hostSpace, type MapSpace, type SpaceKind, sameSpace, segmentAt } from './space.ts';
import { fillTile, type PieceMarks, type Tile } from './tiles.ts';

export interface MapOptions {
  readonly space: SpaceKind;
  readonly mode: ColourMode;
  /** Keys of classes that the legend has off. */
  readonly hidden: ReadonlySet<string>;
  /** Inodes of buffers that are not drawn faint; `null`: all. */
  readonly shown: ReadonlySet<number> | null;
}

/** Pages of the whole map, each once, however many buffers hold it. */
export interface MapCounts {
  readonly held: number;
  /** Entries of buffers beyond the first on the same page. */
  readonly repeats: number;
  readonly disconnected: number;
  /** Of buffers that a finding of that severity is about. */
  readonly error: number;
  readonly warning: number;
  /** By class. */
  readonly byClass: Float64Array;
}

/** One page of one buffer, at a place of the map. */
export interface Entry {
  readonly resource: SampledResource;
  readonly row: number;
  /** Its place in the buffer. */
  readonly page: number;
}

/** Tiles that are kept, 44 KiB each and 16 more once drawn: more than two screens of a window of 3840 x 2160. */
const MOST_TILES = 384;

const sameBytes = (a: Uint8Array | Uint16Array, b: Uint8Array | Uint16Array): boolean => {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
};

/**
 * A sample as a map: index, classes, and tiles made when they are looked at. Each new sample replaces the one before; what did
 * not change is kept, and nothing of the older sample stays.
 */
export class PageMapModel {
  readonly sample: Sample;
  readonly space: MapSpace;
  readonly index: HeldIndex;
  readonly classes: Classes;
  readonly flags: Uint8Array;
  readonly hidden: Uint8Array;
  readonly #tiles: Map<number, Tile>;
  #counts: MapCounts | null = null;

  private constructor(
    sample: Sample,
    space: MapSpace,
    index: HeldIndex,
    classes: Classes,
    flags: Uint8Array,
    hidden: Uint8Array,
    before: PageMapModel | null,
  ) {
    this.sample = sample;
    this.space = space;
    this.index = index;
    this.classes = classes;
    this.flags = flags;
    this.hidden = hidden;
    const places =
      before !== null && before.index === index && before.flags === flags && before.classes === classes;
    this.#tiles = places && before.hidden === hidden ? before.#tiles : new Map();
    if (places) this.#counts = before.#counts;
  }

  /** The map of a sample; parts of the map before are taken over where they are the same. `null`: guest RAM is not known. */
  static of(sample: Sample, options: MapOptions, before: PageMapModel | null): PageMapModel | null {
    const found = placesOf(sample, options.space, before, false);
    if (found === null) return null;
    // A page that is held where no memory should be is drawn where it is, whatever room that takes.
    const lost = options.space === 'host' && found.index.unplaced > 0;
    const { space, index } = (lost ? placesOf(sample, options.space, before, true) : null) ?? found;
    const classes = keptClasses(sample, options.mode, before);
    const flags = flagsOf(sample, options.shown);
    const hidden = Uint8Array.from(classes.classes, ({ key }) => (options.hidden.has(key) ? 1 : 0));
    return new PageMapModel(
      sample,
      space,
      index,
      classes,
      before !== null && sameBytes(before.flags, flags) ? before.flags : flags,
      before !== null && sameBytes(before.hidden, hidden) ? before.hidden : hidden,
      before,
    );
  }

  /** A tile of cells of 2^level pages. */
  tile(level: number, tile: number): Tile {
    const key = tile * 64 + level;
    const known = this.#tiles.get(key);
    this.#tiles.delete(key);
    const made = known ?? fillTile(this.index, this.#marks(), level, tile);
    // Last in the map is what was looked at last.
    this.#tiles.set(key, made);
    if (this.#tiles.size > MOST_TILES) {
      const [oldest] = this.#tiles.keys();
      if (oldest !== undefined) this.#tiles.delete(oldest);
    }
    return made;
  }

  get counts(): MapCounts {
    this.#counts ??= count(this.index, this.#marks());
    return this.#counts;
  }

  /** Whether pages of a run are drawn in their colour. */
  isShown(run: number): boolean {
    return ((this.flags[run] ?? 0) & FLAG.faint) === 0 && this.hidden[this.classes.ofRun[run] ?? 0] !== 1;
  }

  /** What holds the page at `position`, by a piece that covers it. */
  entry(run: number, position: number): Entry | null {
    const { resource: at, row } = ownerOf(this.index, run);
    const resource = this.sample.resources[at];
    const segment = segmentAt(this.space, position);
    if (!resource?.pages || segment === undefined) return null;
    const { runs } = resource.pages;
    const inside = position - segment.start;
    const page =
      segment.pfn !== null
        ? segment.pfn + inside - (runs.pfn[row] ?? Number.NaN)
        : (segment.ram?.page ?? Number.NaN) + inside - (runs.ramOffset[row] ?? Number.NaN) / 4096;
    return { resource, row, page: (runs.index[row] ?? 0) + page };
  }

  #marks(): PieceMarks {
    return {
      classes: this.classes.classes.length,
      classOfRun: this.classes.ofRun,
      flagsOfRun: this.flags,
      hidden: this.hidden,
    };
  }
}

/** Space and index of a sample, those of the map before where they are the same. */
function placesOf(
  sample: Sample,
  kind: SpaceKind,
  before: PageMapModel | null,
  whole: boolean,
): { space: MapSpace; index: HeldIndex } | null {
  const made = kind === 'host' ? hostSpace(sample, whole) : guestSpace(sample);
  if (made === null) return null;
  if (before === null || !sameSpace(before.space, made))
    return { space: made, index: heldIndex(sample, made) };
  const { space, index } = before;
  const same = before.sample === sample || samePlaces(before.sample, sample, kind);
  return { space, index: same ? index : heldIndex(sample, space) };
}

function keptClasses(sample: Sample, mode: ColourMode, before: PageMapModel | null): Classes {
  if (before?.sample === sample && before.classes.mode === mode) return before.classes;
  const made = classify(sample, mode);
  const same =
    before !== null &&
    before.classes.mode === mode &&
    sameClasses(before.classes.classes, made.classes) &&
    sameBytes(before.classes.ofRun, made.ofRun);
  return same ? before.classes : made;
}

/** A class's paint follows from its key, but for buffers, whose colour goes by their place: the same keys in the same order. */
const sameClasses = (a: readonly MapClass[], b: readonly MapClass[]): boolean =>
  a.length === b.length && a.every(({ key, label }, i) => key === b[i]?.key && label === b[i]?.label);

/** Distinct pages, in one pass over the pieces: they ascend, so what a class covers ends where its furthest piece does. */
function count(index: HeldIndex, { classes, classOfRun, flagsOfRun }: PieceMarks): MapCounts {
  const byClass = new Float64Array(classes);
  const coveredBy = new Float64Array(classes);
  const MARKS = [FLAG.disconnected, FLAG.error, FLAG.warning];
  const marked = new Float64Array(MARKS.length);
  const coveredMark = new Float64Array(MARKS.length);
  let [held, entries, covered] = [0, 0, 0];
  for (let chunk = 0; chunk < index.chunks; chunk++) {
    const base = chunk * CHUNK_PAGES;
    const last = index.chunkFirst[chunk + 1] as number;
    for (let i = index.chunkFirst[chunk] as number; i < last; i++) {
      const start = base + (index.offset[i] as number);
      const pages = index.count[i] as number;
      const end = start + pages;
      const run = index.run[i] as number;
      const cls = classOfRun[run] as number;
      const flags = flagsOfRun[run] as number;
      entries += pages;
      if (end > covered) {
        held += end - Math.max(start, covered);
        covered = end;
      }
      const coveredHere = coveredBy[cls] as number;
      if (end > coveredHere) {
        byClass[cls] = (byClass[cls] as number) + end - Math.max(start, coveredHere);
        coveredBy[cls] = end;
      }
      if (flags === 0) continue;
      for (let m = 0; m < MARKS.length; m++) {
        if ((flags & (MARKS[m] as number)) === 0) continue;
        const coveredMarked = coveredMark[m] as number;
        if (end <= coveredMarked) continue;
        marked[m] = (marked[m] as number) + end - Math.max(start, coveredMarked);
        coveredMark[m] = end;
      }
    }
  }
  const [disconnected = 0, error = 0, warning = 0] = marked;
  return { held, repeats: entries - held, disconnected, error, warning, byClass };
}
