import {
  CONNECTED,
  DISCONNECTED,
  type RunColumns,
  type Sample,
  type SampledResource,
} from '../../model/run-columns.ts';
import type { Snapshot, SourceState } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { mutedText } from './findings.ts';
import { sentence } from './sentence.ts';

/** Where pages lie, and how many of them. */
export interface PlaceCount {
  readonly node: number | null;
  readonly zone: string | null;
  readonly migratetype: string | null;
  readonly pages: number;
}

/** What the runs of a buffer add up to; repeats of a page counted. */
export interface RunSummary {
  /** Most pages first. */
  readonly places: readonly PlaceCount[];
  readonly connected: number;
  readonly disconnected: number;
  readonly unknown: number;
}

const summaries = new WeakMap<RunColumns, RunSummary>();

/** Adds up runs in one pass over the columns, once for each set of runs. */
export function summaryOf(runs: RunColumns): RunSummary {
  const known = summaries.get(runs);
  if (known !== undefined) return known;
  const { length, count, node, zone, migratetype, backing, names } = runs;
  // A buffer lies in a few places, and neighbouring runs mostly in the same: a list is faster than a map.
  const keys: number[] = [];
  const pagesOf: number[] = [];
  // Zone and type are -1 or indices into `names`: small whole numbers are what a machine compares fastest.
  const base = names.length + 1;
  let at = 0;
  let [connected, disconnected, unknown] = [0, 0, 0];
  for (let i = 0; i < length; i++) {
    const pages = count[i] ?? 0;
    const place = (((node[i] ?? -1) + 1) * base + (zone[i] ?? -1) + 1) * base + (migratetype[i] ?? -1) + 1;
    if (at >= keys.length || keys[at] !== place) {
      at = 0;
      while (at < keys.length && keys[at] !== place) at++;
      if (at === keys.length) {
        keys.push(place);
        pagesOf.push(0);
      }
    }
    pagesOf[at] = (pagesOf[at] ?? 0) + pages;
    if (backing[i] === CONNECTED) connected += pages;
    else if (backing[i] === DISCONNECTED) disconnected += pages;
    else unknown += pages;
  }
  const places = keys
    .map((place, i): PlaceCount => {
      const rest = Math.floor(place / base);
      const nodeOf = Math.floor(rest / base) - 1;
      return {
        node: nodeOf < 0 ? null : nodeOf,
        zone: names[(rest % base) - 1] ?? null,
        migratetype: names[(place % base) - 1] ?? null,
        pages: pagesOf[i] ?? 0,
      };
    })
    .sort((a, b) => b.pages - a.pages);
  const summary = { places, connected, disconnected, unknown };
  summaries.set(runs, summary);
  return summary;
}

/** `0 Normal Movable`: node, zone, migratetype; `?` for what is unknown. */
export function placeText({ node, zone, migratetype }: Omit<PlaceCount, 'pages'>): string {
  return printable(`${node ?? '?'} ${zone ?? '?'} ${migratetype ?? '?'}`);
}

/** Where most pages lie, and in how many other places the rest. */
export function whereText(runs: RunColumns): string {
  const [most, ...others] = summaryOf(runs).places;
  if (most === undefined) return '–';
  return `${placeText(most)}${others.length > 0 ? ` +${others.length}` : ''}`;
}

export function backingText({ disconnected, unknown }: RunSummary): string {
  if (disconnected > 0) return `${disconnected} disconnected`;
  return unknown > 0 ? `${unknown} unknown` : 'connected';
}

export const isUdmabuf = ({ exporter }: SampledResource): boolean => (exporter ?? 'udmabuf') === 'udmabuf';

export interface WhyNoPages {
  /** For a cell. */
  readonly word: string;
  readonly sentence: string;
  /** What would grant it; `null`: no right would. */
  readonly grant: string | null;
}

/** Why a resource has no pages. */
export function whyNoPages(resource: SampledResource, sources: Snapshot['sources']): WhyNoPages {
  if (!isUdmabuf(resource)) {
    const sentence = 'This is no udmabuf: its pages belong to the driver that exported it.';
    return { word: '–', sentence, grant: null };
  }
  const why = sources.find(({ name }) => name === 'kernel-memory');
  const detail = sentence(why?.detail ?? '');
  switch (why?.state) {
    case 'denied':
      return {
        word: 'denied',
        sentence: `Its exact pages are in kernel memory, which this user may not read. ${detail}`,
        grant: printable(why.grant ?? 'root'),
      };
    case 'raced':
      return { word: 'raced', sentence: `It changed while it was read. ${detail}`, grant: null };
    case 'ok':
      return {
        word: 'raced',
        sentence: 'The kernel did not have this buffer at the moment its memory was read.',
        grant: null,
      };
    default:
      return {
        word: 'not read',
        sentence: why ? `Kernel memory could not be read. ${detail}` : 'Kernel memory was not read.',
        grant: null,
      };
  }
}

/**
 * The source that says that this user may not see which dma-bufs there are; `null` where they may. Whoever may not see the mappings
 * may not see the open files.
 */
export const deniedMaps = (sources: Snapshot['sources']): SourceState | null =>
  sources.find(({ name, state }) => name === 'maps' && state === 'denied') ?? null;

/** Nothing to see, and nothing that this user may see, are different answers. */
export function noResources(sources: Snapshot['sources']): string {
  return deniedMaps(sources)
    ? 'The dma-bufs of this process are denied to this user: there may be any number of them.'
    : 'This process holds no dma-buf now.';
}

/**
 * How many there are, for a tab: what was not looked at is not counted as none, what is muted is told apart.
 * @param heard findings whose rules are not muted
 */
export function countTexts(
  {
    resources,
    findings,
    notChecked,
    sources,
  }: Pick<Sample, 'resources' | 'findings' | 'notChecked' | 'sources'>,
  heard = findings.length,
): {
  resources: string;
  findings: string;
} {
  return {
    resources: resources.length === 0 && deniedMaps(sources) !== null ? 'denied' : String(resources.length),
    findings:
      findings.length === 0 && notChecked.length > 0
        ? `0, ${notChecked.length} not checked`
        : String(findings.length) + mutedText(findings.length, heard),
  };
}
