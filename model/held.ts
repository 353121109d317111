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
 * order of their PFNs; kept for each sample. Takes `n log n` for `n` runs, and memory for runs, never for pages.
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
  const { pfns, counts, backings, groupOf, groups, order } = flatten(resources, pageSize);
  let [entries, pages, inFolios, disconnected, notConnected] = [0, 0, 0, 0, 0];
  // How far the pages, folios, disconnected and not connected pages until here reach.
  let [covered, coveredFolio, coveredLost, coveredNot] = [0, 0, 0, 0];
  for (let k = 0; k < order.length; k++) {
    const row = order[k] as number;
    const pfn = pfns[row] as number;
    const count = counts[row] as number;
    const end = pfn + count;
    const group = groups[groupOf[row] as number] as Group;
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
    const backing = backings[row];
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

/** Runs of all buffers under one numbering, and their numbers by ascending PFN. */
interface Flat {
  readonly pfns: Float64Array;
  readonly counts: Float64Array;
  readonly backings: Uint8Array;
  readonly groupOf: Uint16Array;
  readonly groups: readonly Group[];
  readonly order: Uint32Array;
}

function flatten(resources: readonly SampledResource[], pageSize: number): Flat {
  const columns = resources.flatMap(({ pages }) => (pages === null ? [] : [pages.runs]));
  const total = columns.reduce((sum, { length }) => sum + length, 0);
  const pfns = new Float64Array(total);
  const counts = new Float64Array(total);
  const backings = new Uint8Array(total);
  const groupOf = new Uint16Array(total);
  const grouping = new Grouping(pageSize);
  let first = 0;
  let largest = 0;
  for (const runs of columns) {
    pfns.set(runs.pfn.subarray(0, runs.length), first);
    counts.set(runs.count.subarray(0, runs.length), first);
    backings.set(runs.backing.subarray(0, runs.length), first);
    for (let i = 0; i < runs.length; i++) {
      groupOf[first + i] = grouping.of(runs, i);
      largest = Math.max(largest, runs.pfn[i] as number);
    }
    first += runs.length;
  }
  return { pfns, counts, backings, groupOf, groups: grouping.groups, order: ascending(pfns, largest) };
}

/** Numbers of the rows in the order of their PFN; rows of one PFN keep their order. */
function ascending(pfns: Float64Array, largest: number): Uint32Array {
  const rows = pfns.length;
  if ((largest + 1) * rows <= Number.MAX_SAFE_INTEGER) {
    // One number for both sorts without a comparator, which is several times quicker.
    const keys = new Float64Array(rows);
    for (let row = 0; row < rows; row++) keys[row] = (pfns[row] as number) * rows + row;
    keys.sort();
    const order = new Uint32Array(rows);
    for (let k = 0; k < rows; k++) order[k] = (keys[k] as number) % rows;
    return order;
  }
  return Uint32Array.from(pfns, (_, row) => row).sort(
    (a, b) => (pfns[a] as number) - (pfns[b] as number) || a - b,
  );
}

/** The groups that there are, by what their pages agree in. There are few: a machine has tens, not thousands. */
class Grouping {
  readonly groups: Group[] = [];
  readonly #pageSize: number;
  readonly #byText = new Map<string, number>();
  #runs: RunColumns | null = null;
  #last = [Number.NaN, 0, 0, 0, 0];

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  /** Number of the group of run `i`. Neighbours mostly share one, so it is compared with the one before first. */
  of(runs: RunColumns, i: number): number {
    const node = runs.node[i] as number;
    const zone = runs.zone[i] as number;
    const migratetype = runs.migratetype[i] as number;
    const folioBytes = runs.folioBytes[i] as number;
    const last = this.#last;
    if (
      runs === this.#runs &&
      node === last[0] &&
      zone === last[1] &&
      migratetype === last[2] &&
      folioBytes === last[3]
    ) {
      return last[4] as number;
    }
    const group = {
      node: node < 0 ? null : node,
      zone: runs.names[zone] ?? null,
      migratetype: runs.names[migratetype] ?? null,
      folioBytes,
    };
    const text = JSON.stringify(Object.values(group));
    let number = this.#byText.get(text);
    if (number === undefined) {
      const folioPages = Math.max(1, folioBytes / this.#pageSize);
      number = this.groups.push({ ...group, folioPages, pages: 0, inFolios: 0 }) - 1;
      this.#byText.set(text, number);
    }
    this.#runs = runs;
    this.#last = [node, zone, migratetype, folioBytes, number];
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
