import { consecutive, lastAtOrBelow, type NumberRuns } from '../ascending.ts';
import type { PageFacts } from '../kernel/pages.ts';
import type { Backing, PageRun } from '../snapshot.ts';
import { hex } from '../units.ts';
import type { FrameMap } from './frames.ts';
import { type FileId, type RamView, sameFile } from './ram.ts';

/*
 * The join: entries of a buffer with what the kernel says of each page, where that page lies in the host, and where in the
 * guest. What a page was, the kernel's page map says; what the process sees at that place now, its page table says.
 */

/** State of a page table entry that {@link pageTableEntries} was asked for, besides a PFN. */
export const NOT_MAPPED = -1;
export const NOT_PRESENT = -2;
/** Present, but this reader may not see the PFN. */
export const HIDDEN = 0;

/**
 * Which virtual page should show each row of `facts`, through the process's mapping of the owning memfd. NaN: none.
 * Pages outside every file are placed where they came from, if that is certain.
 */
export function virtualPages(facts: PageFacts, ram: RamView): Float64Array {
  const pages = new Float64Array(facts.head.length).fill(Number.NaN);
  const only = ram.onlyFile();
  for (let row = 0; row < pages.length; row++) {
    const file = (facts.owner[row] ?? -2) === -1 ? only : facts.owners[facts.owner[row] ?? -2];
    const index = facts.fileIndex[row] ?? Number.NaN;
    if (file && index >= 0) pages[row] = ram.virtualPage(file, index * 4096) ?? Number.NaN;
  }
  return pages;
}

/** The ranges of virtual pages to read from a page table. */
export function pageRanges(pages: Float64Array): NumberRuns {
  return consecutive(pages.filter(page => !Number.isNaN(page)).sort());
}

/** Runs of a page table (native PageRuns) → one value a row: a PFN, {@link HIDDEN}, {@link NOT_PRESENT} or {@link NOT_MAPPED}. */
export function pageTableEntries(
  pages: Float64Array,
  runs: { page: Float64Array; count: Float64Array; frame: Float64Array; flags: Uint16Array },
): Float64Array {
  const entries = new Float64Array(pages.length).fill(NOT_MAPPED);
  for (const [row, page] of pages.entries()) {
    const low = lastAtOrBelow(runs.page, page);
    const inside = page - (runs.page[low] ?? Number.NaN);
    if (!(inside >= 0 && inside < (runs.count[low] ?? 0))) continue;
    const present = ((runs.flags[low] ?? 0) & 0x100) !== 0;
    const frame = runs.frame[low] ?? 0;
    entries[row] = !present ? NOT_PRESENT : frame === 0 ? HIDDEN : frame + inside;
  }
  return entries;
}

const BACKINGS: readonly Backing[] = ['unknown', 'connected', 'disconnected'];
const [UNKNOWN, CONNECTED, DISCONNECTED] = [0, 1, 2];

/**
 * Whether each page is still what its file holds there.
 * - In no page cache: it was truncated or punched out while pinned, and cannot come back: disconnected.
 * - The process maps that place of the file and sees another page there: disconnected (private RAM, for one).
 * - In the file's page cache, and the process sees it or has nothing mapped there: connected. The page cache is the
 *   authority, so a hole in the page table is not touched.
 */
function backingOf(facts: PageFacts, row: number, entry: number, pfn: number): number {
  const owner = facts.owner[row] ?? -2;
  if (owner === -1) return DISCONNECTED;
  if (owner < 0) return UNKNOWN;
  return entry > 0 && entry !== pfn ? DISCONNECTED : CONNECTED;
}

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

export interface JoinedPages {
  readonly runs: RunColumns;
  /** Distinct folios, and the bytes of them all. */
  readonly folios: number;
  readonly folioBytes: number;
}

export interface JoinInput {
  /** The buffer's entries, in order. */
  readonly pfn: Float64Array;
  readonly facts: PageFacts;
  /** {@link pageTableEntries} for the rows of `facts`. */
  readonly entries: Float64Array;
  readonly frames: FrameMap | undefined;
  readonly ram: RamView;
  /** Pageblock types of this kernel, value → name. */
  readonly migratetypes: ReadonlyMap<number, string>;
}

/** The runs of one buffer. A run ends wherever anything stops being equal or contiguous. */
export function joinPages(input: JoinInput): JoinedPages {
  const { pfn, facts, entries, frames, ram } = input;
  const names = new Names();
  const types = new Map([...input.migratetypes].map(([value, name]) => [value, names.of(name)]));
  const origin = originOf(input);
  const runs = new RunBuilder();
  const heads = new Set<number>();
  let folioBytes = 0;
  let lastHead = Number.NaN;

  let frame = { node: -1, zone: -1, from: 0, until: 0 };
  let guest: { owner: number; from: number; until: number; shift: number } | undefined;
  for (let i = 0; i < pfn.length; i++) {
    const page = pfn[i] ?? 0;
    const row = facts.slot(page);
    const folioPages = facts.folioPages[row] ?? 0;
    const head = facts.head[row] ?? -1;
    if (head !== lastHead && head >= 0) {
      if (!heads.has(head)) {
        heads.add(head);
        folioBytes += folioPages * 4096;
      }
      lastHead = head;
    }
    if (!(page >= frame.from && page < frame.until)) {
      const found = frames?.locate(page);
      frame = {
        node: found?.node ?? -1,
        zone: found?.zone == null ? -1 : names.of(found.zone),
        from: page,
        until: found?.until ?? Number.POSITIVE_INFINITY,
      };
    }
    const owner = facts.owner[row] ?? -2;
    const file = owner === -1 ? origin : facts.owners[owner];
    const offset = file ? (facts.fileIndex[row] ?? Number.NaN) * 4096 : Number.NaN;
    let gpa = Number.NaN;
    if (file && offset >= 0) {
      if (!(guest && guest.owner === owner && offset >= guest.from && offset < guest.until)) {
        const range = ram.guestRange(file, offset);
        guest = range && {
          owner,
          from: range.offset,
          until: range.offset + range.bytes,
          shift: range.gpa - range.offset,
        };
      }
      if (guest) gpa = offset + guest.shift;
    }
    runs.add({
      index: i,
      pfn: page,
      folioBytes: folioPages * 4096,
      node: frame.node,
      zone: frame.zone,
      migratetype: types.get(facts.migratetype[row] ?? -1) ?? -1,
      gpa,
      ramInode: file?.inode ?? Number.NaN,
      ramOffset: offset,
      backing: backingOf(facts, row, entries[row] ?? NOT_MAPPED, page),
    });
  }
  return { runs: runs.columns(names.list), folios: heads.size, folioBytes };
}

/** Where pages of this buffer that left their file came from: the file of all its other pages, else the process's only memfd. */
function originOf({ pfn, facts, ram }: JoinInput): FileId | undefined {
  let origin: FileId | undefined;
  for (const page of pfn) {
    const file = facts.owners[facts.owner[facts.slot(page)] ?? -2];
    if (!file || (origin && sameFile(origin, file))) continue;
    if (origin) return undefined;
    origin = file;
  }
  return origin ?? ram.onlyFile();
}

class Names {
  readonly list: string[] = [];
  of(name: string): number {
    const at = this.list.indexOf(name);
    return at >= 0 ? at : this.list.push(name) - 1;
  }
}

interface Entry {
  index: number;
  pfn: number;
  folioBytes: number;
  node: number;
  zone: number;
  migratetype: number;
  gpa: number;
  ramInode: number;
  ramOffset: number;
  backing: number;
}

/** Both unknown, or the second `by` behind the first. */
const follows = (before: number, now: number, by: number): boolean =>
  now === before + by || (Number.isNaN(before) && Number.isNaN(now));

class RunBuilder {
  private readonly starts: Entry[] = [];
  private readonly counts: number[] = [];
  private last: Entry | undefined;

  add(entry: Entry): void {
    const { last } = this;
    const same =
      last !== undefined &&
      entry.pfn === last.pfn + 1 &&
      entry.folioBytes === last.folioBytes &&
      entry.node === last.node &&
      entry.zone === last.zone &&
      entry.migratetype === last.migratetype &&
      entry.backing === last.backing &&
      follows(last.ramInode, entry.ramInode, 0) &&
      follows(last.ramOffset, entry.ramOffset, 4096) &&
      follows(last.gpa, entry.gpa, 4096);
    if (same) {
      this.counts[this.counts.length - 1] = (this.counts[this.counts.length - 1] ?? 0) + 1;
    } else {
      this.starts.push(entry);
      this.counts.push(1);
    }
    this.last = entry;
  }

  columns(names: readonly string[]): RunColumns {
    const { starts } = this;
    const numbers = (of: (entry: Entry) => number) => Float64Array.from(starts, of);
    return {
      length: starts.length,
      index: numbers(e => e.index),
      pfn: numbers(e => e.pfn),
      count: Float64Array.from(this.counts),
      folioBytes: numbers(e => e.folioBytes),
      node: Int32Array.from(starts, e => e.node),
      zone: Int16Array.from(starts, e => e.zone),
      migratetype: Int16Array.from(starts, e => e.migratetype),
      gpa: numbers(e => e.gpa),
      ramInode: numbers(e => e.ramInode),
      ramOffset: numbers(e => e.ramOffset),
      backing: Uint8Array.from(starts, e => e.backing),
      names,
    };
  }
}

/** The same runs as the snapshot's objects. */
export function toPageRuns(columns: RunColumns): PageRun[] {
  const at = (column: { readonly [i: number]: number }, i: number): number => column[i] ?? Number.NaN;
  const orNull = (value: number): number | null => (Number.isNaN(value) || value < 0 ? null : value);
  const name = (value: number): string | null => columns.names[value] ?? null;
  return Array.from({ length: columns.length }, (_, i) => {
    const gpa = orNull(at(columns.gpa, i));
    return {
      index: at(columns.index, i),
      pfn: at(columns.pfn, i),
      count: at(columns.count, i),
      folioBytes: at(columns.folioBytes, i),
      node: orNull(at(columns.node, i)),
      zone: name(at(columns.zone, i)),
      migratetype: name(at(columns.migratetype, i)),
      gpa: gpa === null ? null : hex(gpa),
      ramInode: orNull(at(columns.ramInode, i)),
      ramOffset: orNull(at(columns.ramOffset, i)),
      backing: BACKINGS[at(columns.backing, i)] ?? 'unknown',
    };
  });
}
