import { formatBytes } from '../format.ts';
import { DISCONNECTED, type RunColumns, type Sample } from '../run-columns.ts';
import { printable } from '../text.ts';

/** What the colour of a page tells. */
export const COLOUR_MODES = ['resource', 'zone', 'node', 'migratetype', 'folio', 'age', 'backing'] as const;
export type ColourMode = (typeof COLOUR_MODES)[number];

/** How a class is painted: one of the categorical colours, a step of the ramp (0 to 5), or a meaning of its own. */
export type Paint =
  | { readonly kind: 'category'; readonly step: number }
  | { readonly kind: 'ramp'; readonly step: number }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'disconnected' };

/** Pages that are coloured alike. */
export interface MapClass {
  /** The same in the next sample. */
  readonly key: string;
  readonly label: string;
  readonly paint: Paint;
}

export interface Classes {
  readonly mode: ColourMode;
  readonly classes: readonly MapClass[];
  /** Class of each run, counted through the resources of the sample. */
  readonly ofRun: Uint16Array;
}

/** Bits of a run, and of a cell that holds a page of such a run. */
export const FLAG = {
  disconnected: 1,
  /** Of a buffer that a finding of severity error is about. */
  error: 2,
  warning: 4,
  /** Not among the buffers that are shown: drawn faint. */
  faint: 8,
  /** Cells only: a page is held more than once. */
  repeated: 16,
  /** Cells only: shown pages of more than one class. */
  mixed: 32,
} as const;

/** Classes are 16-bit numbers; buffers past these share the last one. */
const MOST_CLASSES = 65535;
const CATEGORIES = 8;

const ORDER: Partial<Record<ColourMode, readonly string[]>> = {
  // enum zone_type, enum migratetype (include/linux/mmzone.h), as /proc prints them.
  zone: ['DMA', 'DMA32', 'Normal', 'HighMem', 'Movable', 'Device'],
  migratetype: ['Unmovable', 'Movable', 'Reclaimable', 'HighAtomic', 'CMA', 'Isolate'],
};

const AGES: readonly (readonly [label: string, belowMs: number])[] = [
  ['under 10 s', 10e3],
  ['under 1 min', 60e3],
  ['under 10 min', 600e3],
  ['under 1 h', 3600e3],
  ['under 1 day', 86400e3],
  ['1 day and older', Number.POSITIVE_INFINITY],
];

/** The class of every run of a sample. Classes that no run has are left out, but the three of `backing`. */
export function classify(sample: Pick<Sample, 'resources' | 'takenAt'>, mode: ColourMode): Classes {
  const total = sample.resources.reduce((sum, { pages }) => sum + (pages?.runs.length ?? 0), 0);
  const ofRun = new Uint16Array(total);
  const classes = fill(sample, mode, ofRun);
  return { mode, classes, ofRun };
}

function fill(
  { resources, takenAt }: Pick<Sample, 'resources' | 'takenAt'>,
  mode: ColourMode,
  ofRun: Uint16Array,
): MapClass[] {
  const found = new Found(ofRun);
  let base = 0;
  if (mode === 'resource') {
    return resources.slice(0, MOST_CLASSES).map((resource, i, shown) => {
      const last = i === MOST_CLASSES - 1;
      const length = resource.pages?.runs.length ?? 0;
      ofRun.fill(i, base, last ? ofRun.length : base + length);
      base += length;
      const name = resource.name === null ? '' : ` ${printable(resource.name)}`;
      const label =
        last && resources.length > shown.length ? 'all others' : `dma-buf ${resource.inode}${name}`;
      return { key: String(resource.inode), label, paint: { kind: 'category', step: i % CATEGORIES } };
    });
  }
  for (const { pages, createdAt } of resources) {
    if (pages === null) continue;
    const { runs } = pages;
    if (mode === 'age') found.all(runs.length, base, ageOf(createdAt, takenAt));
    else found.column(runs, mode, base);
    base += runs.length;
  }
  return found.sorted(mode);
}

const ageOf = (createdAt: string | null, takenAt: string): number => {
  const age = createdAt === null ? Number.NaN : Date.parse(takenAt) - Date.parse(createdAt);
  return Number.isNaN(age) ? -1 : AGES.findIndex(([, below]) => age < below);
};

/** Values met so far, in the order in which they were met: the class of each until all are known. */
class Found {
  readonly #ofRun: Uint16Array;
  readonly #ids = new Map<string | number, number>();

  constructor(ofRun: Uint16Array) {
    this.#ofRun = ofRun;
  }

  all(length: number, base: number, value: number): void {
    this.#ofRun.fill(this.#id(value), base, base + length);
  }

  column(runs: RunColumns, mode: Exclude<ColourMode, 'resource' | 'age'>, base: number): void {
    const { length, names } = runs;
    const column = runs[mode === 'folio' ? 'folioBytes' : mode];
    const named = mode === 'zone' || mode === 'migratetype';
    let before = Number.NaN;
    let id = 0;
    for (let i = 0; i < length; i++) {
      const value = column[i] as number;
      if (value !== before) {
        before = value;
        id = this.#id(named ? (names[value] ?? -1) : value >= 0 ? value : -1);
      }
      this.#ofRun[base + i] = id;
    }
  }

  /** The classes in their order, and the runs' numbers changed to it. */
  sorted(mode: ColourMode): MapClass[] {
    if (mode === 'backing') for (const value of [1, DISCONNECTED, 0]) this.#id(value);
    const rank = (value: string | number): number => {
      if (value === -1) return Number.POSITIVE_INFINITY;
      if (typeof value === 'number') return value;
      const at = ORDER[mode]?.indexOf(value) ?? -1;
      return at >= 0 ? at : 1000;
    };
    const backing = [1, DISCONNECTED, 0];
    const order = [...this.#ids.keys()].sort((a, b) =>
      mode === 'backing'
        ? backing.indexOf(Number(a)) - backing.indexOf(Number(b))
        : compare(rank(a), rank(b)) || compare(String(a), String(b)),
    );
    const place = Uint16Array.from(this.#ids.keys(), value => order.indexOf(value));
    if (place.some((to, from) => to !== from)) {
      const ofRun = this.#ofRun;
      for (let i = 0; i < ofRun.length; i++) ofRun[i] = place[ofRun[i] as number] as number;
    }
    return order.map((value, i) => classOf(mode, value, i));
  }

  #id(value: string | number): number {
    const known = this.#ids.get(value);
    if (known !== undefined) return known;
    const id = this.#ids.size;
    this.#ids.set(value, id);
    return id;
  }
}

const compare = <T extends string | number>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

function classOf(mode: ColourMode, value: string | number, place: number): MapClass {
  const key = String(value);
  if (mode === 'backing') {
    if (value === DISCONNECTED) return { key, label: 'disconnected', paint: { kind: 'disconnected' } };
    if (value === 1) return { key, label: 'connected', paint: { kind: 'category', step: 0 } };
    return { key, label: 'unknown', paint: { kind: 'unknown' } };
  }
  if (value === -1) return { key, label: 'unknown', paint: { kind: 'unknown' } };
  switch (mode) {
    case 'node':
      return { key, label: `node ${value}`, paint: { kind: 'category', step: Number(value) % CATEGORIES } };
    case 'folio':
      return {
        key,
        label: formatBytes(Number(value)),
        paint: { kind: 'ramp', step: folioStep(Number(value)) },
      };
    case 'age':
      return {
        key,
        label: AGES[Number(value)]?.[0] ?? key,
        paint: { kind: 'ramp', step: 5 - Number(value) },
      };
    default: {
      // A colour stays with its name, whichever of them are there.
      const at = ORDER[mode]?.indexOf(key) ?? -1;
      const step = at >= 0 ? at : (ORDER[mode]?.length ?? 0) + (place % 2);
      return { key, label: printable(key), paint: { kind: 'category', step: step % CATEGORIES } };
    }
  }
}

/** 4 KiB, up to 64 KiB, up to 1 MiB, up to 2 MiB, up to 512 MiB, 1 GiB. */
const folioStep = (bytes: number): number =>
  [4096, 2 ** 16, 2 ** 20, 2 ** 21, 2 ** 29].filter(most => bytes > most).length;

/**
 * Flags of every run: disconnected pages, worst finding about its buffer, and whether its buffer is shown.
 * @param shown inodes of buffers that are not faint; `null`: all
 */
export function flagsOf(
  { resources, findings }: Pick<Sample, 'resources' | 'findings'>,
  shown: ReadonlySet<number> | null,
): Uint8Array {
  const total = resources.reduce((sum, { pages }) => sum + (pages?.runs.length ?? 0), 0);
  const flags = new Uint8Array(total);
  const worst = new Map<number, number>();
  for (const { resource, severity } of findings) {
    if (resource === null || severity === 'info') continue;
    if (worst.get(resource) !== FLAG.error) worst.set(resource, FLAG[severity]);
  }
  let base = 0;
  for (const { inode, pages } of resources) {
    if (pages === null) continue;
    const { length, backing } = pages.runs;
    const common = (worst.get(inode) ?? 0) | (shown === null || shown.has(inode) ? 0 : FLAG.faint);
    if (common !== 0) flags.fill(common, base, base + length);
    for (let i = 0; i < length; i++) {
      if (backing[i] === DISCONNECTED) flags[base + i] = common | FLAG.disconnected;
    }
    base += length;
  }
  return flags;
}
