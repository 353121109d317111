import { type RunColumns, rowOfPage } from '../run-columns.ts';
import { FLAG } from './classes.ts';
import { CHUNK_PAGES, ownerOf, piecesIn, stretchesOf } from './held.ts';
import type { Entry, PageMapModel } from './page-map.ts';

/** A page on the map and who holds it there. */
export interface Spot {
  readonly position: number;
  readonly entry: Entry;
}

/** Pieces from a chunk on, ascending or descending, each with its position. */
function* from(
  model: PageMapModel,
  position: number,
  step: 1 | -1,
): Generator<[piece: number, start: number]> {
  const { index } = model;
  const first = Math.min(index.chunks - 1, Math.max(0, Math.floor(position / CHUNK_PAGES)));
  for (let chunk = first; chunk >= 0 && chunk < index.chunks; chunk += step) {
    const [low, high] = [index.chunkFirst[chunk] ?? 0, index.chunkFirst[chunk + 1] ?? 0];
    for (let i = 0; i < high - low; i++) {
      const piece = step > 0 ? low + i : high - 1 - i;
      yield [piece, chunk * CHUNK_PAGES + (index.offset[piece] ?? 0)];
    }
  }
}

/**
 * The run that begins next on the map, after or before the one at a spot. Runs of buffers that are faint or of classes that
 * are off are passed over; runs that begin at the same page (a page held twice) come one after the other.
 * @param at `null`: from the start, or the end
 */
export function nextRun(model: PageMapModel, at: Spot | null, step: 1 | -1): Spot | null {
  return next(model, at, step, run => model.isShown(run));
}

/** The next run that is disconnected, or of a buffer with a finding (`FLAG.error`, `FLAG.warning`); around the end. */
export function nextMarked(model: PageMapModel, at: Spot | null, step: 1 | -1, flag: number): Spot | null {
  const wanted = (run: number) => ((model.flags[run] ?? 0) & flag) !== 0;
  return next(model, at, step, wanted) ?? (at === null ? null : next(model, null, step, wanted));
}

function next(
  model: PageMapModel,
  at: Spot | null,
  step: 1 | -1,
  wanted: (run: number) => boolean,
): Spot | null {
  const { index } = model;
  const current = at === null ? -1 : runOf(model, at.entry);
  const start = at === null ? (step > 0 ? 0 : model.space.pages - 1) : beginOf(model, at);
  for (const [piece, position] of from(model, start, step)) {
    const run = index.run[piece] ?? 0;
    if (run === current || !wanted(run)) continue;
    if (at !== null) {
      // At the same page, runs go by their number; the index has them in that order.
      const order = position - start || run - current;
      if (order * step <= 0) continue;
    }
    const entry = model.entry(run, position);
    if (entry === null) continue;
    // A long run is in several pieces: only the first one is where it begins.
    if (beginOf(model, { position, entry }) === position) return { position, entry };
  }
  return null;
}

/** Where the run at a spot begins on the map: the stretch that the spot is in. */
function beginOf(model: PageMapModel, { position, entry }: Spot): number {
  const runs = entry.resource.pages?.runs;
  if (runs === undefined) return position;
  const here = stretchesOf(model.space, runs, entry.row).find(
    ({ start, pages }) => start <= position && position < start + pages,
  );
  return here?.start ?? position;
}

const runOf = ({ index, sample }: PageMapModel, { resource, row }: Entry): number =>
  (index.runBase[sample.resources.indexOf(resource)] ?? -1) + row;

/** Where page `page` of a buffer lies on the map; the first place if there are several, `null` if there is none. */
export function spotOf(model: PageMapModel, inode: number, page: number): Spot | null {
  const resource = model.sample.resources.find(one => one.inode === inode);
  const runs = resource?.pages?.runs;
  if (resource === undefined || runs === undefined) return null;
  const row = rowOfPage(runs, page);
  if (row < 0) return null;
  const inside = page - (runs.index[row] ?? 0);
  const here = stretchesOf(model.space, runs, row).find(
    stretch => stretch.page <= inside && inside < stretch.page + stretch.pages,
  );
  if (here === undefined) return null;
  return { position: here.start + inside - here.page, entry: { resource, row, page } };
}

/** The page of the buffer before or after this one in the sample that lies lowest on the map; buffers without a place are passed over. */
export function nextResource(model: PageMapModel, inode: number | null, step: 1 | -1): Spot | null {
  const { resources } = model.sample;
  const at = resources.findIndex(one => one.inode === inode);
  const start = at < 0 ? (step > 0 ? 0 : resources.length - 1) : at + step;
  for (let i = start; i >= 0 && i < resources.length; i += step) {
    const lowest = lowestOf(model, i);
    if (lowest !== null) return lowest;
  }
  return null;
}

function lowestOf(model: PageMapModel, at: number): Spot | null {
  const resource = model.sample.resources[at];
  const runs = resource?.pages?.runs;
  if (resource === undefined || runs === undefined) return null;
  let best: Spot | null = null;
  for (let row = 0; row < runs.length; row++) {
    for (const { start, page } of stretchesOf(model.space, runs, row)) {
      if (best !== null && best.position <= start) continue;
      best = { position: start, entry: { resource, row, page: (runs.index[row] ?? 0) + page } };
    }
  }
  return best;
}

/** What a stretch of the map holds. */
export interface Holding {
  /** Each buffer that holds pages here, with their number; most pages first. */
  readonly owners: readonly { readonly inode: number; readonly pages: number }[];
  /** One page here with all that hold it: a disconnected one if there is one, else one that is shown, else any. */
  readonly spots: readonly Spot[];
}

/** Who holds pages from `start` up to `end`, and one page of them. */
export function holdingOf(model: PageMapModel, start: number, end: number): Holding {
  const { index, flags, sample } = model;
  const owners = new Map<number, number>();
  let best: { rank: number; position: number } | null = null;
  for (const piece of piecesIn(index, start, end)) {
    const run = index.run[piece] ?? 0;
    const first = startOf(piece, start, index.chunkFirst, index.offset);
    const from = Math.max(start, first);
    const to = Math.min(end, first + (index.count[piece] ?? 0));
    const { resource } = ownerOf(index, run);
    const inode = sample.resources[resource]?.inode ?? -1;
    owners.set(inode, (owners.get(inode) ?? 0) + to - from);
    const rank = ((flags[run] ?? 0) & FLAG.disconnected) !== 0 ? 2 : model.isShown(run) ? 1 : 0;
    if (best === null || rank > best.rank) best = { rank, position: from };
  }
  return {
    owners: [...owners].map(([inode, pages]) => ({ inode, pages })).sort((a, b) => b.pages - a.pages),
    spots: best === null ? [] : spotsAt(model, best.position),
  };
}

/** Everything that holds the page at a position: what is disconnected first, then what is shown. */
export function spotsAt(model: PageMapModel, position: number): Spot[] {
  const { index, flags } = model;
  const rank = (run: number) =>
    (((flags[run] ?? 0) & FLAG.disconnected) !== 0 ? 2 : 0) + (model.isShown(run) ? 1 : 0);
  return [...piecesIn(index, position, position + 1)]
    .map(piece => index.run[piece] ?? 0)
    .sort((a, b) => rank(b) - rank(a) || a - b)
    .flatMap(run => {
      const entry = model.entry(run, position);
      return entry === null ? [] : [{ position, entry }];
    });
}

/** Position of a piece that is known to lie in the chunk of `near` or after it. */
function startOf(piece: number, near: number, chunkFirst: Uint32Array, offset: Uint16Array): number {
  let chunk = Math.floor(near / CHUNK_PAGES);
  while ((chunkFirst[chunk + 1] ?? Number.POSITIVE_INFINITY) <= piece) chunk++;
  return chunk * CHUNK_PAGES + (offset[piece] ?? 0);
}

/** Place in the buffer of its first page whose PFN is from `first` up to `end`; `null`: it has none. */
export function firstPageIn(runs: RunColumns, first: number, end: number): number | null {
  for (let row = 0; row < runs.length; row++) {
    const pfn = runs.pfn[row] ?? Number.NaN;
    if (pfn < end && pfn + (runs.count[row] ?? 0) > first)
      return (runs.index[row] ?? 0) + Math.max(0, first - pfn);
  }
  return null;
}
