import { lastAtOrBelow, type NumberRuns } from '../ascending.ts';
import type { PageFacts } from '../kernel/pages.ts';
import { CONNECTED, DISCONNECTED, type RunColumns, UNKNOWN } from '../run-columns.ts';
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

/** Neighbouring rows of page facts that a process maps one behind the other. */
export interface Placement {
  readonly row: number;
  readonly count: number;
  /** Virtual page number (address / 4096) of the first. */
  readonly page: number;
}

/**
 * Where the process should show the rows of `facts`: through its mapping of the owning memfd. Pages outside every file are
 * placed where they came from, if that is certain; rows without a place are left out.
 */
export function placeRows(facts: PageFacts, ram: RamView): Placement[] {
  const placements: Placement[] = [];
  const only = ram.onlyFile();
  const rows = facts.head.length;
  for (let row = 0; row < rows; ) {
    const owner = facts.owner[row] ?? -2;
    const index = facts.fileIndex[row] ?? Number.NaN;
    let count = 1;
    while (
      row + count < rows &&
      facts.owner[row + count] === owner &&
      facts.fileIndex[row + count] === index + count
    ) {
      count++;
    }
    const file = owner === -1 ? only : facts.owners[owner];
    const mapping = file && index >= 0 ? ram.mapping(file, index * 4096) : undefined;
    // Of a run that begins outside every mapping, the end may lie in one.
    if (file && !mapping && index >= 0) count = Math.min(count, ram.pagesToMapping(file, index * 4096));
    if (mapping) {
      const inside = index * 4096 - mapping.offset;
      const left = (Number(mapping.end - mapping.start) - inside) / 4096;
      count = Math.min(count, left);
      placements.push({ row, count, page: (Number(mapping.start) + inside) / 4096 });
    }
    row += count;
  }
  return placements;
}

/** The ranges of virtual pages to read from a page table: ascending, without overlap. */
export function pageRanges(placements: readonly Placement[]): NumberRuns {
  const first: number[] = [];
  const count: number[] = [];
  let end = -1;
  for (const placement of [...placements].sort((a, b) => a.page - b.page)) {
    const from = Math.max(placement.page, end);
    const until = placement.page + placement.count;
    if (until <= from) continue;
    if (from === end) count[count.length - 1] = (count[count.length - 1] ?? 0) + until - from;
    else {
      first.push(from);
      count.push(until - from);
    }
    end = until;
  }
  return { first: Float64Array.from(first), count: Float64Array.from(count) };
}

/** Runs of a page table (native PageRuns) → one value a row: a PFN, {@link HIDDEN}, {@link NOT_PRESENT} or {@link NOT_MAPPED}. */
export function pageTableEntries(
  rows: number,
  placements: readonly Placement[],
  runs: { page: Float64Array; count: Float64Array; frame: Float64Array; flags: Uint16Array },
): Float64Array {
  const entries = new Float64Array(rows).fill(NOT_MAPPED);
  for (const { row, count, page } of placements) {
    const end = page + count;
    for (let run = lastAtOrBelow(runs.page, page); run < runs.page.length; run++) {
      const start = runs.page[run] ?? Number.POSITIVE_INFINITY;
      if (start >= end) break;
      const from = Math.max(start, page);
      const until = Math.min(start + (runs.count[run] ?? 0), end);
      const present = ((runs.flags[run] ?? 0) & 0x100) !== 0;
      const frame = runs.frame[run] ?? 0;
      for (let at = from; at < until; at++) {
        entries[row + at - page] = !present ? NOT_PRESENT : frame === 0 ? HIDDEN : frame + at - start;
      }
    }
  }
  return entries;
}

/**
 * Whether each page is still what its file holds there.
 * - In no page cache: it was truncated or punched out while pinned, and cannot come back: disconnected.
 * - Of a file that could not be read: unknown.
 * - The process maps that place of the file and sees another page there: disconnected (private RAM, for one).
 * - In the file's page cache, and the process sees it or has nothing mapped there: connected. The page cache is the
 *   authority, so a hole in the page table is not touched.
 */
function backingOf(facts: PageFacts, owner: number, entry: number, pfn: number): number {
  if (owner === -1) return DISCONNECTED;
  if (facts.owners[owner] === undefined) return UNKNOWN;
  return entry > 0 && entry !== pfn ? DISCONNECTED : CONNECTED;
}

export interface JoinedPages {
  readonly runs: RunColumns;
  /** Distinct folios, and the bytes of them all. */
  readonly folios: number;
  readonly folioBytes: number;
  /** Entries whose page is in no page cache: truncated or punched out, or its file is gone. */
  readonly withoutFile: number;
}

export interface JoinInput {
  readonly facts: PageFacts;
  /** {@link pageTableEntries} for the rows of `facts`. */
  readonly entries: Float64Array;
  readonly frames: FrameMap | undefined;
  readonly ram: RamView;
  /** Pageblock types of this kernel, value → name. */
  readonly migratetypes: ReadonlyMap<number, string>;
}

/**
 * For each row the first row behind it at which anything of the page stops being equal or contiguous: folio size, type,
 * owner, place in the file, backing.
 */
function segmentEnds(facts: PageFacts, backing: Uint8Array): Uint32Array {
  const rows = facts.head.length;
  const ends = new Uint32Array(rows);
  const { folioPages, migratetype, owner, fileIndex } = facts;
  for (let row = rows - 1; row >= 0; row--) {
    const same =
      row + 1 < rows &&
      folioPages[row] === folioPages[row + 1] &&
      migratetype[row] === migratetype[row + 1] &&
      owner[row] === owner[row + 1] &&
      backing[row] === backing[row + 1] &&
      follows(fileIndex[row] as number, fileIndex[row + 1] as number, 1);
    ends[row] = same ? (ends[row + 1] as number) : row + 1;
  }
  return ends;
}

/** The runs of each buffer. A run ends wherever anything stops being equal or contiguous. */
export function joinPages(buffers: readonly Float64Array[], input: JoinInput): JoinedPages[] {
  const { facts, entries } = input;
  const backing = new Uint8Array(facts.head.length);
  facts.forEachRow((row, pfn) => {
    backing[row] = backingOf(facts, facts.owner[row] ?? -2, entries[row] ?? NOT_MAPPED, pfn);
  });
  const ends = segmentEnds(facts, backing);
  return buffers.map(pfn => joinBuffer(pfn, input, backing, ends));
}

function joinBuffer(
  pfn: Float64Array,
  input: JoinInput,
  backing: Uint8Array,
  ends: Uint32Array,
): JoinedPages {
  const { facts, frames, ram } = input;
  const names = new Names();
  const types = new Map([...input.migratetypes].map(([value, name]) => [value, names.of(name)]));
  let origin: FileId | undefined | 'not looked for' = 'not looked for';
  const runs = new RunBuilder();
  const folios = new FolioCount(facts);
  let frame = { node: -1, zone: -1, from: 0, until: 0 };
  let withoutFile = 0;
  for (let i = 0; i < pfn.length; ) {
    const page = pfn[i] ?? 0;
    const row = facts.slot(page);
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
    if (owner === -1 && origin === 'not looked for') origin = originOf(pfn, facts, ram);
    const file = owner === -1 ? (origin as FileId | undefined) : facts.owners[owner];
    const offset = file ? (facts.fileIndex[row] ?? Number.NaN) * 4096 : Number.NaN;
    const guest = file && offset >= 0 ? ram.guestRange(file, offset) : undefined;
    // How far all of it stays the same: in the page map, in the zone, in the guest's range, in the buffer.
    const limit = Math.min(
      (ends[row] ?? 0) - row,
      frame.until - page,
      guest ? (guest.offset + guest.bytes - offset) / 4096 : Number.POSITIVE_INFINITY,
      // A guest range that begins further on must not be passed over.
      guest || !file ? Number.POSITIVE_INFINITY : ram.pagesToGuest(file, offset),
      pfn.length - i,
    );
    let count = 1;
    while (count < limit && pfn[i + count] === page + count) count++;
    folios.add(row, count);
    if (owner === -1) withoutFile += count;
    runs.add(
      i,
      page,
      count,
      (facts.folioPages[row] ?? 0) * 4096,
      frame.node,
      frame.zone,
      types.get(facts.migratetype[row] ?? -1) ?? -1,
      guest ? guest.gpa + offset - guest.offset : Number.NaN,
      file?.inode ?? Number.NaN,
      offset,
      backing[row] ?? UNKNOWN,
    );
    i += count;
  }
  return { runs: runs.columns(names.list), ...folios.total(), withoutFile };
}

/** Counts distinct folios: large ones by head, single pages by the rows they cover. */
class FolioCount {
  private readonly large = new Map<number, number>();
  private readonly singles: { row: number; end: number }[] = [];
  constructor(private readonly facts: PageFacts) {}

  /** Rows of one folio size. */
  add(row: number, count: number): void {
    const pages = this.facts.folioPages[row] ?? 0;
    if (pages <= 1) {
      this.singles.push({ row, end: row + count });
      return;
    }
    for (let at = row; at < row + count; ) {
      const head = this.facts.head[at] ?? 0;
      this.large.set(head, pages);
      // On to the next folio: rows of a run are neighbours, so the first page of this one tells how many are left.
      at += Math.max(1, pages - (this.facts.pfnOf(at) - head));
    }
  }

  total(): { folios: number; folioBytes: number } {
    let folios = this.large.size;
    let pages = 0;
    for (const size of this.large.values()) pages += size;
    let covered = -1;
    for (const { row, end } of this.singles.sort((a, b) => a.row - b.row)) {
      const fresh = Math.max(0, end - Math.max(row, covered));
      folios += fresh;
      pages += fresh;
      covered = Math.max(covered, end);
    }
    return { folios, folioBytes: pages * 4096 };
  }
}

/** Where pages of this buffer that left their file came from: the file of all its other pages, else the process's only memfd. */
function originOf(pfn: Float64Array, facts: PageFacts, ram: RamView): FileId | undefined {
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

/** Both unknown, or the second `by` behind the first. */
const follows = (before: number, now: number, by: number): boolean =>
  now === before + by || (Number.isNaN(before) && Number.isNaN(now));

/** Collects runs, a number a column, and joins those that go on where the last one ended. */
class RunBuilder {
  private readonly index: number[] = [];
  private readonly pfn: number[] = [];
  private readonly count: number[] = [];
  private readonly folioBytes: number[] = [];
  private readonly node: number[] = [];
  private readonly zone: number[] = [];
  private readonly migratetype: number[] = [];
  private readonly gpa: number[] = [];
  private readonly ramInode: number[] = [];
  private readonly ramOffset: number[] = [];
  private readonly backing: number[] = [];

  add(
    index: number,
    pfn: number,
    count: number,
    folioBytes: number,
    node: number,
    zone: number,
    migratetype: number,
    gpa: number,
    ramInode: number,
    ramOffset: number,
    backing: number,
  ): void {
    const run = this.count.length - 1;
    const length = this.count[run] ?? 0;
    if (
      run >= 0 &&
      pfn === (this.pfn[run] ?? 0) + length &&
      folioBytes === this.folioBytes[run] &&
      node === this.node[run] &&
      zone === this.zone[run] &&
      migratetype === this.migratetype[run] &&
      backing === this.backing[run] &&
      follows(this.ramInode[run] ?? 0, ramInode, 0) &&
      follows(this.ramOffset[run] ?? 0, ramOffset, length * 4096) &&
      follows(this.gpa[run] ?? 0, gpa, length * 4096)
    ) {
      this.count[run] = length + count;
      return;
    }
    this.index.push(index);
    this.pfn.push(pfn);
    this.count.push(count);
    this.folioBytes.push(folioBytes);
    this.node.push(node);
    this.zone.push(zone);
    this.migratetype.push(migratetype);
    this.gpa.push(gpa);
    this.ramInode.push(ramInode);
    this.ramOffset.push(ramOffset);
    this.backing.push(backing);
  }

  columns(names: readonly string[]): RunColumns {
    return {
      length: this.count.length,
      index: Float64Array.from(this.index),
      pfn: Float64Array.from(this.pfn),
      count: Float64Array.from(this.count),
      folioBytes: Float64Array.from(this.folioBytes),
      node: Int32Array.from(this.node),
      zone: Int16Array.from(this.zone),
      migratetype: Int16Array.from(this.migratetype),
      gpa: Float64Array.from(this.gpa),
      ramInode: Float64Array.from(this.ramInode),
      ramOffset: Float64Array.from(this.ramOffset),
      backing: Uint8Array.from(this.backing),
      names,
    };
  }
}
