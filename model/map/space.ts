import { formatBytes, plural } from '../format.ts';
import type { Sample } from '../run-columns.ts';
import type { MemoryBlockState, RamBackend, ZoneState } from '../snapshot.ts';
import { printable } from '../text.ts';

/** Bytes of the pages that a snapshot counts in. */
export const PAGE_BYTES = 4096;

export type SpaceKind = 'host' | 'guest';

/**
 * `present`: memory by what the kernel lists (a memory block, a zone without holes; a range of guest RAM). `hole`: nothing that
 * could be held. `unknown`: a zone with holes that nobody places.
 */
export type Presence = 'present' | 'hole' | 'unknown';

/** Neighbouring pages of a map that are alike. Addresses are page numbers (address / 4096); page `i` has each of them plus `i`. */
export interface MapSegment {
  /** Position of the first page on the map. */
  readonly start: number;
  /** Positions that it takes. */
  readonly pages: number;
  /** Pages that it stands for: more than `pages` only in a long hole, which is drawn shorter. */
  readonly real: number;
  readonly presence: Presence;
  /** Why it is no memory, or not known to be; empty where it is present. */
  readonly note: string;
  /** Which of `regions` it belongs to; -1: none. */
  readonly region: number;
  readonly pfn: number | null;
  readonly gpaPage: number | null;
  readonly ram: { readonly inode: number; readonly page: number } | null;
}

/** A zone of a node, or a range of a memory backend: what gets a name on the map. */
export interface MapRegion {
  readonly start: number;
  readonly pages: number;
  readonly label: string;
  /** A sentence more. */
  readonly detail: string;
}

/** A line of pages from left to right and top to bottom, with holes; positions keep the alignment of addresses. */
export interface MapSpace {
  readonly kind: SpaceKind;
  /** Positions, all segments together. */
  readonly pages: number;
  /** Ascending and without gaps. */
  readonly segments: readonly MapSegment[];
  readonly regions: readonly MapRegion[];
  /** Pages of a hotplug block; `null` for guest RAM and where it is not known. */
  readonly blockPages: number | null;
}

/** Positions are 32-bit numbers in the index. What does not fit (16 TiB of memory) has no place on the map. */
const MOST_PAGES = 2 ** 32 - 4096;

type Part = Omit<MapSegment, 'start' | 'pages' | 'real'>;

/**
 * What long holes are shortened by: multiples of it keep everything aligned that is aligned to less. A 16th of the memory, so
 * that holes do not take the screen; at least 2 MiB and what `least` says; at most 1 GiB.
 */
function stepOf(memory: number, least: number): number {
  const share = 2 ** Math.floor(Math.log2(Math.max(1, memory / 16)));
  return Math.max(512, least, Math.min(2 ** 18, share));
}

/** Puts segments after one another, joins those that are alike, shortens long holes. */
class Line {
  readonly segments: MapSegment[] = [];
  readonly step: number;
  pages = 0;

  constructor(step: number) {
    this.step = step;
  }

  add(pages: number, part: Part): void {
    if (pages <= 0) return;
    const last = this.segments.at(-1);
    if (last !== undefined && continues(last, part)) {
      this.pages -= last.pages;
      this.segments.pop();
      this.#push(last.real + pages, last);
    } else {
      this.#push(pages, part);
    }
  }

  #push(real: number, part: Part): void {
    const shorter = part.presence === 'hole' && real >= 3 * this.step;
    const wanted = shorter ? (real % this.step) + this.step : real;
    const pages = Math.min(wanted, MOST_PAGES - this.pages);
    if (pages <= 0) return;
    const { presence, note, region, pfn, gpaPage, ram } = part;
    this.segments.push({ start: this.pages, pages, real, presence, note, region, pfn, gpaPage, ram });
    this.pages += pages;
  }
}

function continues(a: MapSegment, b: Part): boolean {
  const follows = (first: number | null, next: number | null): boolean =>
    first === null ? next === null : first + a.real === next;
  const ram =
    a.ram === null
      ? b.ram === null
      : b.ram !== null && a.ram.inode === b.ram.inode && a.ram.page + a.real === b.ram.page;
  return (
    a.presence === b.presence &&
    a.note === b.note &&
    a.region === b.region &&
    follows(a.pfn, b.pfn) &&
    follows(a.gpaPage, b.gpaPage) &&
    ram
  );
}

/** Where each region came to lie. */
function placed(
  segments: readonly MapSegment[],
  names: readonly { label: string; detail: string }[],
): MapRegion[] {
  return names.map(({ label, detail }, region) => {
    const mine = segments.filter(segment => segment.region === region);
    const start = mine[0]?.start ?? 0;
    const last = mine.at(-1);
    return { label, detail, start, pages: last === undefined ? 0 : last.start + last.pages - start };
  });
}

/**
 * The machine's page frames, from PFN 0 to the end of the last zone or memory block. Presence is known by memory block
 * (/sys/devices/system/memory); a zone whose `present` pages are fewer than it spans has holes inside blocks too, which nobody places.
 * @param whole no hole is drawn shorter, and it reaches to the last held page: for pages that are held where no memory should be
 */
export function hostSpace(sample: Pick<Sample, 'host' | 'resources'>, whole = false): MapSpace {
  const { host } = sample;
  const blockPages = host.memoryBlockBytes === null ? null : host.memoryBlockBytes / host.pageSize;
  const zones = (host.zones ?? []).flatMap(zone =>
    zone.startPfn === null || zone.spannedPages === 0
      ? []
      : [{ zone, first: zone.startPfn, end: zone.startPfn + zone.spannedPages }],
  );
  const blocks =
    host.memoryBlocks === null || blockPages === null
      ? null
      : host.memoryBlocks
          .map(block => ({ block, first: block.startPfn, end: block.startPfn + blockPages }))
          .sort((a, b) => a.first - b.first);
  const known = [...zones, ...(blocks ?? [])];
  const heldTo = known.length === 0 || whole ? heldEnd(sample) : 0;
  const end = Math.max(heldTo, ...known.map(span => span.end));
  const cuts = [...new Set([0, end, ...known.flatMap(span => [span.first, span.end])])].sort((a, b) => a - b);
  const memory = host.memoryBlocks?.length
    ? host.memoryBlocks.length * (blockPages ?? 0)
    : zones.reduce((sum, { zone }) => sum + zone.presentPages, 0);
  const line = new Line(whole ? Number.POSITIVE_INFINITY : stepOf(memory, blockPages ?? 0));
  let at = 0;
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [first = 0, next = 0] = [cuts[i], cuts[i + 1]];
    while (blocks !== null && at < blocks.length && (blocks[at]?.end ?? 0) <= first) at++;
    const here = blocks?.[at];
    const block = here !== undefined && here.first <= first ? here.block : null;
    const covering = zones.filter(span => span.first <= first && span.end >= next);
    // Spans of nodes may interleave; the block says whose pages these are.
    const zone = covering.find(span => span.zone.node === block?.node) ?? covering[0];
    const [presence, note] = presenceOf(block, blocks !== null, zone?.zone ?? null, host.zones !== null);
    const region = zone === undefined || presence === 'hole' ? -1 : zones.indexOf(zone);
    line.add(next - first, { presence, note, region, pfn: first, gpaPage: null, ram: null });
  }
  return {
    kind: 'host',
    pages: line.pages,
    segments: line.segments,
    regions: placed(
      line.segments,
      zones.map(({ zone }, i) => nameOfZone(zone, pagesOf(line.segments, i))),
    ),
    blockPages,
  };
}

const pagesOf = (segments: readonly MapSegment[], region: number): number =>
  segments.reduce((sum, segment) => (segment.region === region ? sum + segment.pages : sum), 0);

/** @param drawn pages of the zone that are drawn as memory, or as unknown */
function nameOfZone(zone: ZoneState, drawn: number): { label: string; detail: string } {
  const missing = drawn - zone.presentPages;
  return {
    label: `${printable(zone.zone)}, node ${zone.node}`,
    detail: missing > 0 ? `${plural(missing, 'page')} of them no memory: which is not told.` : '',
  };
}

function presenceOf(
  block: MemoryBlockState | null,
  blocksKnown: boolean,
  zone: ZoneState | null,
  zonesKnown: boolean,
): [Presence, string] {
  if (blocksKnown) {
    if (block === null) return ['hole', 'no memory block'];
    if (block.state !== 'online') return ['hole', `memory block ${block.block} is ${printable(block.state)}`];
    if (zonesKnown && zone === null) return ['hole', 'in no zone'];
    return ['present', ''];
  }
  if (!zonesKnown) return ['unknown', 'neither zones nor memory blocks were read'];
  if (zone === null) return ['hole', 'in no zone'];
  return zone.presentPages === zone.spannedPages
    ? ['present', '']
    : ['unknown', 'the zone has holes, and memory blocks were not read'];
}

/** One past the highest PFN that is held. */
function heldEnd({ resources }: Pick<Sample, 'resources'>): number {
  let end = 0;
  for (const { pages } of resources) {
    if (pages === null) continue;
    const { pfn, count, length } = pages.runs;
    for (let i = 0; i < length; i++) end = Math.max(end, (pfn[i] ?? 0) + (count[i] ?? 0));
  }
  return end;
}

/**
 * Guest RAM: what has a guest physical address by that, with the holes between; after it what has none (all of it without a
 * monitor), by its offset in the memfd. `null`: the process's guest RAM is not known.
 */
export function guestSpace({ target }: Pick<Sample, 'target'>): MapSpace | null {
  if (target.ram === null) return null;
  const ranges = target.ram
    .flatMap(backend =>
      (backend.guestRanges ?? []).map(range => ({
        backend,
        gpaPage: inPages(Number(range.gpa)),
        page: inPages(range.offset),
        pages: inPages(range.bytes),
      })),
    )
    .filter(({ pages }) => pages > 0)
    .sort((a, b) => a.gpaPage - b.gpaPage);
  const line = new Line(
    stepOf(
      target.ram.reduce((sum, { sizeBytes }) => sum + inPages(sizeBytes), 0),
      0,
    ),
  );
  const names: { label: string; detail: string }[] = [];
  const hole = (pages: number, note: string, gpaPage: number | null): void =>
    line.add(pages, { presence: 'hole', note, region: -1, pfn: null, gpaPage, ram: null });
  let next = 0;
  for (const { backend, gpaPage, page, pages } of ranges) {
    hole(gpaPage - next, 'no guest RAM', next);
    const skipped = Math.max(0, next - gpaPage);
    const ram = { inode: backend.inode, page: page + skipped };
    line.add(pages - skipped, {
      presence: 'present',
      note: '',
      region: regionOf(names, nameOfRam(backend, 'guest memory')),
      pfn: null,
      gpaPage: gpaPage + skipped,
      ram,
    });
    next = Math.max(next, gpaPage + pages);
  }
  for (const backend of target.ram) {
    for (const { page, pages } of withoutAddress(backend)) {
      const note = 'nothing: what follows goes by its offset in the memfd';
      // Aligned as in the memfd, at least a row of 2 MiB apart from what has addresses.
      if (line.pages > 0) hole(512 + ((((page - line.pages) % 512) + 512) % 512), note, null);
      const why = backend.guestRanges === null ? 'guest addresses unknown' : 'not in the guest’s memory now';
      line.add(pages, {
        presence: 'present',
        note: '',
        region: regionOf(names, nameOfRam(backend, why)),
        pfn: null,
        gpaPage: null,
        ram: { inode: backend.inode, page },
      });
    }
  }
  const { segments } = line;
  return { kind: 'guest', pages: line.pages, segments, regions: placed(segments, names), blockPages: null };
}

function nameOfRam(backend: RamBackend, what: string): { label: string; detail: string } {
  const id = backend.id === null ? `memfd ${backend.inode}` : printable(backend.id);
  const pages = backend.pageSizeBytes === null ? '' : `, pages of ${formatBytes(backend.pageSizeBytes)}`;
  return {
    label: `${id}, ${what}`,
    detail: `memfd ${backend.inode}, ${formatBytes(backend.sizeBytes)}${pages}.`,
  };
}

const regionOf = (
  names: { label: string; detail: string }[],
  name: { label: string; detail: string },
): number => names.push(name) - 1;

const inPages = (bytes: number): number => Math.floor(bytes / PAGE_BYTES);

/** Parts of a backend that no guest range shows, in pages of the memfd. */
function withoutAddress(backend: RamBackend): { page: number; pages: number }[] {
  const shown = (backend.guestRanges ?? [])
    .map(({ offset, bytes }) => ({ first: inPages(offset), end: inPages(offset + bytes) }))
    .sort((a, b) => a.first - b.first);
  const rest: { page: number; pages: number }[] = [];
  let next = 0;
  for (const { first, end } of [...shown, { first: inPages(backend.sizeBytes), end: 0 }]) {
    if (first > next) rest.push({ page: next, pages: first - next });
    next = Math.max(next, end);
  }
  return rest;
}

/** The segment at a position; the last one for what is past the end. */
export function segmentAt({ segments }: MapSpace, position: number): MapSegment | undefined {
  let [low, high] = [0, segments.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((segments[middle]?.start ?? Number.POSITIVE_INFINITY) <= position) low = middle;
    else high = middle - 1;
  }
  return segments[low];
}

/** Whether two spaces put every page at the same place under the same name. */
export function sameSpace(a: MapSpace | null, b: MapSpace | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.kind === b.kind &&
    a.pages === b.pages &&
    a.blockPages === b.blockPages &&
    JSON.stringify([a.segments, a.regions]) === JSON.stringify([b.segments, b.regions])
  );
}
