import {
  CONNECTED,
  DISCONNECTED,
  type RunColumns,
  type Sample,
  type SampledResource,
} from './run-columns.ts';

/** Pages that agree in what they were counted by. `null` parts are unknown. */
export interface HeldPages {
  readonly node: number | null;
  readonly zone: string | null;
  readonly migratetype: string | null;
  readonly folioBytes: number;
  /** Distinct pages (PFNs). */
  readonly pages: number;
  /** Bytes of the folios that these pages lie in, each folio once. */
  readonly inFolios: number;
}

/** What all buffers of a sample hold together: a page that two buffers have, or one buffer twice, counts once. */
export interface HeldMemory {
  readonly groups: readonly HeldPages[];
  readonly pages: number;
  /** Bytes of the distinct folios: what can be neither moved nor freed. */
  readonly inFolios: number;
  /** Entries of the buffers whose pages were read; more than `pages` where a page occurs twice. */
  readonly entries: number;
  readonly connected: number;
  /** Pages that any buffer holds and the guest no longer has. */
  readonly disconnected: number;
  /** Pages of which no buffer tells, and at least one cannot. */
  readonly unknown: number;
  /** udmabufs, or buffers of an unknown exporter, whose pages were not read: nothing of theirs is counted. */
  readonly unread: number;
}

const cache = new WeakMap<Sample, HeldMemory>();

/**
 * Adds up the page runs of all buffers by node, zone, migratetype and size of the folio, in one sweep over the runs in the
 * order of their PFNs; kept for each sample. Takes time linear in runs, and memory for runs, never for pages.
 *
 * Folios lie at a multiple of their size (the buddy allocator and hugetlb both see to that), so the folio of a page is its
 * PFN rounded down. Where two buffers disagree about a page, which only a race can do, the run that starts first counts.
 */
export function heldMemory(sample: Sample): HeldMemory {
  const known = cache.get(sample);
  if (known !== undefined) return known;
  const held = sweep(sample);
  cache.set(sample, held);
  return held;
}

interface Group extends Omit<HeldPages, 'pages' | 'inFolios'> {
  readonly folioPages: number;
  pages: number;
  inFolios: number;
}

function sweep({ resources, host: { pageSize } }: Sample): HeldMemory {
  const { pfns, counts, marks, groups, order } = flatten(resources, pageSize);
  let [entries, pages, inFolios, disconnected, notConnected] = [0, 0, 0, 0, 0];
  // How far the pages, folios, disconnected and not connected pages until here reach.
  let [covered, coveredFolio, coveredLost, coveredNot] = [0, 0, 0, 0];
  for (let k = 0; k < order.length; k++) {
    const row = order[k] as number;
    const pfn = pfns[row] as number;
    const count = counts[row] as number;
    const end = pfn + count;
    const mark = marks[row] as number;
    const group = groups[mark >>> BACKING_BITS] as Group;
    entries += count;
    if (end > covered) {
      const more = end - Math.max(pfn, covered);
      pages += more;
      group.pages += more;
      covered = end;
    }
    const { folioPages } = group;
    const folioEnd = Math.ceil(end / folioPages) * folioPages;
    if (folioEnd > coveredFolio) {
      const more = (folioEnd - Math.max(Math.floor(pfn / folioPages) * folioPages, coveredFolio)) * pageSize;
      inFolios += more;
      group.inFolios += more;
      coveredFolio = folioEnd;
    }
    const backing = mark & BACKING;
    if (backing === CONNECTED) continue;
    if (end > coveredNot) {
      notConnected += end - Math.max(pfn, coveredNot);
      coveredNot = end;
    }
    if (backing === DISCONNECTED && end > coveredLost) {
      disconnected += end - Math.max(pfn, coveredLost);
      coveredLost = end;
    }
  }
  return {
    groups: groups.filter(group => group.pages > 0).map(({ folioPages: _, ...group }) => group),
    pages,
    inFolios,
    entries,
    connected: pages - notConnected,
    disconnected,
    unknown: notConnected - disconnected,
    unread: resources.filter(
      ({ pages: read, exporter }) => read === null && (exporter ?? 'udmabuf') === 'udmabuf',
    ).length,
  };
}

/** The lowest bits of a mark: a value of the column `backing`. The others number the run's group. */
const BACKING_BITS = 2;
const BACKING = 2 ** BACKING_BITS - 1;

/** Runs of all buffers under one numbering, and their numbers by ascending PFN. */
interface Flat {
  readonly pfns: Float64Array;
  readonly counts: Float64Array;
  readonly marks: Uint32Array;
  readonly groups: readonly Group[];
  readonly order: Uint32Array;
}

function flatten(resources: readonly SampledResource[], pageSize: number): Flat {
  const columns = resources.flatMap(({ pages }) => (pages === null ? [] : [pages.runs]));
  const total = columns.reduce((sum, { length }) => sum + length, 0);
  const pfns = new Float64Array(total);
  const counts = new Float64Array(total);
  const marks = new Uint32Array(total);
  const grouping = new Grouping(pageSize);
  let first = 0;
  for (const runs of columns) {
    const { length, pfn, count } = runs;
    // Mostly a few rows, for which a view of them would take longer.
    for (let i = 0; i < length; i++) {
      pfns[first + i] = pfn[i] as number;
      counts[first + i] = count[i] as number;
    }
    grouping.mark(runs, marks, first);
    first += length;
  }
  return { pfns, counts, marks, groups: grouping.groups, order: ascending(pfns) };
}

const DIGIT_BITS = 11;
const WORD_BITS = 32;

/** Numbers of the rows in the order of their PFN; rows of one PFN keep their order. A radix sort: linear, and no row is compared. */
function ascending(pfns: Float64Array): Uint32Array {
  const rows = pfns.length;
  let order = new Uint32Array(rows);
  let largest = pfns[0] ?? 0;
  let sorted = true;
  for (let row = 0; row < rows; row++) {
    const pfn = pfns[row] as number;
    order[row] = row;
    if (row > 0 && pfn < (pfns[row - 1] as number)) sorted = false;
    if (pfn > largest) largest = pfn;
  }
  if (sorted) return order;
  let next = new Uint32Array(rows);
  const words = new Uint32Array(rows);
  for (let unit = 1; unit <= largest; unit *= 2 ** WORD_BITS) {
    for (let row = 0; row < rows; row++) words[row] = Math.floor((pfns[row] as number) / unit);
    for (let shift = 0; shift < WORD_BITS && unit * 2 ** shift <= largest; shift += DIGIT_BITS) {
      if (sortByDigit(words, shift, order, next)) [order, next] = [next, order];
    }
  }
  return order;
}

const places = new Uint32Array(2 ** DIGIT_BITS);

/** Puts `order` into `out` by one digit, and changes nothing among rows that have it alike. `false`: all do, `out` is not filled. */
function sortByDigit(words: Uint32Array, shift: number, order: Uint32Array, out: Uint32Array): boolean {
  const rows = words.length;
  const digits = places.length - 1;
  places.fill(0);
  for (let row = 0; row < rows; row++) {
    const digit = ((words[row] as number) >>> shift) & digits;
    places[digit] = (places[digit] as number) + 1;
  }
  if (places[((words[0] as number) >>> shift) & digits] === rows) return false;
  let before = 0;
  for (let digit = 0; digit <= digits; digit++) {
    const here = places[digit] as number;
    places[digit] = before;
    before += here;
  }
  for (let k = 0; k < rows; k++) {
    const row = order[k] as number;
    const digit = ((words[row] as number) >>> shift) & digits;
    const at = places[digit] as number;
    places[digit] = at + 1;
    out[at] = row;
  }
  return true;
}

/** Places for groups that were found; a power of two, more than there are groups by far. */
const FOUND = 256;

/** The groups that there are, by what their pages agree in. There are few: a machine has tens, not thousands. */
class Grouping {
  readonly groups: Group[] = [];
  readonly #pageSize: number;
  readonly #byText = new Map<string, number>();
  /** Numbers of names, the same for all buffers; `null`, for none, is 0. */
  readonly #names = new Map<string | null, number>([[null, 0]]);
  /** Groups that were found last, each at a place that follows from what it is by: another one there is overwritten. */
  readonly #found = new Float64Array(5 * FOUND).fill(Number.NaN);

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  /** The mark of every run of a buffer, its group and its backing, into `marks` from `first` on. */
  mark(runs: RunColumns, marks: Uint32Array, first: number): void {
    const { length, node: nodes, zone: zones, migratetype: migratetypes, folioBytes: folios, backing } = runs;
    const numbers = runs.names.map(name => this.#number(name));
    const found = this.#found;
    for (let i = 0; i < length; i++) {
      const node = nodes[i] as number;
      const zoneName = zones[i] as number;
      const typeName = migratetypes[i] as number;
      const zone = zoneName < 0 ? 0 : (numbers[zoneName] ?? 0);
      const migratetype = typeName < 0 ? 0 : (numbers[typeName] ?? 0);
      const folioBytes = folios[i] as number;
      const mixed = node * 37 + zone * 11 + migratetype * 3 + (folioBytes >>> 12) * 5;
      const at = 5 * ((mixed ^ (mixed >>> 8)) & (FOUND - 1));
      if (
        found[at] !== folioBytes ||
        found[at + 1] !== node ||
        found[at + 2] !== zone ||
        found[at + 3] !== migratetype
      ) {
        found[at] = folioBytes;
        found[at + 1] = node;
        found[at + 2] = zone;
        found[at + 3] = migratetype;
        found[at + 4] = this.#groupOf(runs, i);
      }
      marks[first + i] =
        ((found[at + 4] as number) << BACKING_BITS) | Math.min(backing[i] as number, BACKING);
    }
  }

  #number(name: string): number {
    let number = this.#names.get(name);
    if (number === undefined) {
      number = this.#names.size;
      this.#names.set(name, number);
    }
    return number;
  }

  /** Number of the group of run `i`. */
  #groupOf(runs: RunColumns, i: number): number {
    const node = runs.node[i] as number;
    const folioBytes = runs.folioBytes[i] as number;
    const group = {
      node: node < 0 ? null : node,
      zone: runs.names[runs.zone[i] as number] ?? null,
      migratetype: runs.names[runs.migratetype[i] as number] ?? null,
      folioBytes,
    };
    const text = JSON.stringify(Object.values(group));
    let number = this.#byText.get(text);
    if (number === undefined) {
      const folioPages = Math.max(1, folioBytes / this.#pageSize);
      number = this.groups.push({ ...group, folioPages, pages: 0, inFolios: 0 }) - 1;
      this.#byText.set(text, number);
    }
    return number;
  }
}

/** One part of a whole, for a table of parts. */
export interface HeldPart<Key> {
  readonly key: Key;
  readonly pages: number;
  readonly inFolios: number;
}

/** Groups added up by what `keyOf` tells, most pages first; keys are compared by their text. */
export function partsBy<Key>(
  groups: readonly HeldPages[],
  keyOf: (group: HeldPages) => Key,
  textOf: (key: Key) => string = String,
): HeldPart<Key>[] {
  const parts = new Map<string, { key: Key; pages: number; inFolios: number }>();
  for (const group of groups) {
    const key = keyOf(group);
    const text = textOf(key);
    const part = parts.get(text);
    if (part === undefined) parts.set(text, { key, pages: group.pages, inFolios: group.inFolios });
    else {
      part.pages += group.pages;
      part.inFolios += group.inFolios;
    }
  }
  return [...parts.values()].sort((a, b) => b.pages - a.pages);
}
