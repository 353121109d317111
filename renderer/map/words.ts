import { formatBytes, formatSpan, plural } from '../../model/format.ts';
import type { ColourMode } from '../../model/map/classes.ts';
import type { PageMapModel } from '../../model/map/page-map.ts';
import {
  type MapSegment,
  type MapSpace,
  PAGE_BYTES,
  type SpaceKind,
  segmentAt,
} from '../../model/map/space.ts';
import type { Holding, Spot } from '../../model/map/walk.ts';
import { pageRun } from '../../model/run-columns.ts';
import { printable } from '../../model/text.ts';
import { hex } from '../../model/units.ts';
import type { MapLayout } from './layout.ts';

export const SPACES: readonly { readonly id: SpaceKind; readonly title: string }[] = [
  { id: 'host', title: 'Host page frames' },
  { id: 'guest', title: 'Guest memory' },
];

export const MODES: readonly { readonly id: ColourMode; readonly title: string }[] = [
  { id: 'resource', title: 'Resource' },
  { id: 'zone', title: 'Zone' },
  { id: 'node', title: 'Node' },
  { id: 'migratetype', title: 'Migratetype' },
  { id: 'folio', title: 'Folio size' },
  { id: 'age', title: 'Age' },
  { id: 'backing', title: 'Backing' },
];

/** Rows from one printed address to the next: a power of two, at least 18 pixels. */
export function rowStep(cellHeight: number): number {
  let step = 1;
  while (step * cellHeight < 18) step *= 2;
  return step;
}

/** A position's address: PFN, guest physical address, or `+` and its offset in the memfd; empty in a hole without addresses. */
export function addressText(space: MapSpace, position: number): string {
  const segment = segmentAt(space, position);
  if (segment === undefined || position >= space.pages) return '';
  const inside = position - segment.start;
  if (segment.pfn !== null)
    return inside < segment.pages && segment.real === segment.pages ? hex(segment.pfn + inside) : '';
  if (segment.gpaPage !== null)
    return segment.real === segment.pages ? hex((segment.gpaPage + inside) * PAGE_BYTES) : '';
  return segment.ram === null ? '' : `+${hex((segment.ram.page + inside) * PAGE_BYTES)}`;
}

/** What is printed in a cell of one page: its page frame number, or the number of the guest's page. */
export function pageText(space: MapSpace, position: number): string {
  const segment = segmentAt(space, position);
  if (segment === undefined) return '';
  const page = segment.pfn ?? segment.gpaPage ?? segment.ram?.page;
  return page === undefined || page === null ? '' : hex(page + position - segment.start);
}

const pagesText = (pages: number): string => `${plural(pages, 'page')} (${formatBytes(pages * PAGE_BYTES)})`;

/** `1 cell = 64 pages (256 KiB), 1 row = 32 MiB`. */
export function scaleText({ level, rowBits }: MapLayout): string {
  return `1 cell = ${pagesText(2 ** level)}, 1 row = ${formatBytes(2 ** rowBits * PAGE_BYTES)}`;
}

/** What the whole map holds, in a line. */
export function totalText({ counts, space, index }: PageMapModel): string {
  const present = space.segments.reduce(
    (sum, { presence, pages }) => (presence === 'hole' ? sum : sum + pages),
    0,
  );
  const repeats =
    counts.repeats > 0 ? `, ${plural(counts.repeats, 'entry', 'entries')} more on the same pages` : '';
  const lost =
    index.unplaced > 0
      ? ` ${plural(index.unplaced, 'entry', 'entries')} of buffers ${index.unplaced === 1 ? 'has' : 'have'} no place here${space.kind === 'guest' ? ': in no memfd of this guest that is known' : ''}.`
      : '';
  return `${pagesText(counts.held)} held of ${formatBytes(present * PAGE_BYTES)}${repeats}.${lost}`;
}

export interface Fact {
  readonly name: string;
  readonly value: string;
  readonly tone?: 'error' | 'muted';
}

/** One held page, fact by fact. What is not known says so. */
export function spotFacts(model: PageMapModel, { entry }: Spot): Fact[] {
  const { resource, row, page } = entry;
  const runs = resource.pages?.runs;
  if (runs === undefined) return [];
  const run = pageRun(runs, row);
  const inside = page - run.index;
  const known = (value: string | null): Pick<Fact, 'value' | 'tone'> =>
    value === null ? { value: 'unknown', tone: 'muted' } : { value: printable(value) };
  const age =
    resource.createdAt === null
      ? null
      : formatSpan(Date.parse(model.sample.takenAt) - Date.parse(resource.createdAt));
  const guest = run.gpa === null ? null : hex(Number(run.gpa) + inside * PAGE_BYTES);
  const offset = run.ramOffset === null ? null : `${hex(run.ramOffset + inside * PAGE_BYTES)}`;
  return [
    {
      name: 'dma-buf',
      value: `${resource.inode}${resource.name === null ? '' : ` ${printable(resource.name)}`}`,
    },
    { name: 'PFN', value: hex(run.pfn + inside) },
    { name: 'Index', value: `${page} of ${resource.pages?.count ?? '?'} pages` },
    { name: 'Run', value: `${row + 1} of ${runs.length}, ${plural(run.count, 'page')}` },
    { name: 'Guest address', ...known(guest) },
    {
      name: 'RAM offset',
      ...known(offset === null || run.ramInode === null ? null : `memfd ${run.ramInode} + ${offset}`),
    },
    { name: 'Zone', ...known(run.zone) },
    { name: 'Node', ...known(run.node === null ? null : String(run.node)) },
    { name: 'Migratetype', ...known(run.migratetype) },
    { name: 'Folio', value: formatBytes(run.folioBytes) },
    {
      name: 'Backing',
      value: run.backing,
      ...(run.backing === 'disconnected'
        ? { tone: 'error' as const }
        : run.backing === 'unknown'
          ? { tone: 'muted' as const }
          : {}),
    },
    { name: 'Age', ...known(age) },
  ];
}

/** A run in one sentence, for those who listen. */
export function spotWords(spot: Spot): string {
  const { resource, row } = spot.entry;
  const runs = resource.pages?.runs;
  if (runs === undefined) return '';
  const run = pageRun(runs, row);
  return [
    `dma-buf ${resource.inode}${resource.name === null ? '' : ` ${printable(resource.name)}`}`,
    `run ${row + 1} of ${runs.length}`,
    plural(run.count, 'page'),
    `PFN ${hex(run.pfn)}`,
    run.gpa === null ? 'guest address unknown' : `guest address ${printable(run.gpa)}`,
    `${run.zone === null ? 'zone unknown' : printable(run.zone)}, node ${run.node ?? 'unknown'}`,
    run.migratetype === null ? 'migratetype unknown' : printable(run.migratetype),
    run.backing === 'unknown' ? 'backing unknown' : run.backing,
  ].join(', ');
}

/** What a hole is, and how long; what is drawn shorter says so. */
export function holeText({ note, real, pages }: MapSegment): string {
  return `${note}, ${formatBytes(real * PAGE_BYTES)}${real > pages ? ', drawn shorter' : ''}`;
}

/** What lies in a cell without a held page, or beside it. */
export function groundText({ space }: PageMapModel, start: number): string {
  const segment = segmentAt(space, start);
  if (segment === undefined) return '';
  const region = space.regions[segment.region];
  const where = region === undefined ? '' : `${region.label}. `;
  if (segment.presence === 'present') return where.trim();
  return segment.presence === 'hole'
    ? `Hole: ${holeText(segment)}.`
    : `${where}Not known to be memory: ${segment.note}.`;
}

/** `12 of 64 pages held, by 3 buffers`. */
export function cellText(held: number, entries: number, pages: number, { owners }: Holding): string {
  if (held === 0) return pages === 1 ? 'This page is not held.' : `None of ${pages} pages is held.`;
  const by = plural(owners.length, 'buffer');
  const twice =
    entries > held ? `, ${plural(entries - held, 'entry', 'entries')} more on the same pages` : '';
  return pages === 1 ? `Held by ${by}${twice}.` : `${held} of ${pages} pages held, by ${by}${twice}.`;
}

/** What else there is to say about a zone or a memory backend. */
export function regionDetail({ space }: PageMapModel, position: number): string {
  const segment = segmentAt(space, position);
  return space.regions[segment?.region ?? -1]?.detail ?? '';
}
