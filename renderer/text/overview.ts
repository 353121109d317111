import { formatBytes, plural } from '../../model/format.ts';
import type { HeldMemory } from '../../model/held.ts';
import type { Sample, SampledResource } from '../../model/run-columns.ts';
import type { Finding, HostState, SourceState, Target } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import type { Tone } from '../tables/column.ts';
import { mutedText, severityRank } from './findings.ts';
import { deniedMaps, noResources } from './resource.ts';
import { sentence } from './sentence.ts';

/** The answer to “is anything wrong”, in one line. */
export interface Headline {
  /** `null`: no rule fired, which is not the same as nothing being wrong. */
  readonly severity: Finding['severity'] | null;
  readonly text: string;
  /** What the line does not say; empty where it says all. */
  readonly detail: string;
}

/** The finding with its buffer, as one clause: `dma-buf 7: 36 of 900 pages no longer the guest’s`. */
export const findingText = ({ resource, title }: Finding): string =>
  `${resource === null ? '' : `dma-buf ${resource}: `}${printable(title)}`;

/** Worst first, each kind in the order of the sample. */
export const worstFirst = (findings: readonly Finding[]): Finding[] =>
  [...findings].sort((a, b) => severityRank(b.severity) - severityRank(a.severity));

/** `1 error and 2 warnings`; without the kinds that there are none of. */
export function severityCounts(findings: readonly Finding[]): string {
  const count = (severity: Finding['severity']) => findings.filter(one => one.severity === severity).length;
  const kinds = [
    [count('error'), 'error', 'errors'],
    [count('warning'), 'warning', 'warnings'],
    [count('info'), 'note', 'notes'],
  ] as const;
  const texts = kinds.filter(([n]) => n > 0).map(([n, one, many]) => plural(n, one, many));
  return texts.length < 3 ? texts.join(' and ') : `${texts.slice(0, -1).join(', ')} and ${texts.at(-1)}`;
}

const HINT = 'Rules look for what is known to break; that none fires does not make anything safe.';

/**
 * What the sample says about the process, worst first. Nothing found is told apart from nothing looked at, and from nothing heard.
 * @param heard the findings whose rules are not muted; all are counted
 */
export function headline(
  { findings, notChecked, resources, sources }: Sample,
  heard: readonly Finding[] = findings,
): Headline {
  const [worst] = worstFirst(heard);
  const counts = severityCounts(findings) + mutedText(findings.length, heard.length);
  const open =
    notChecked.length === 0
      ? ''
      : `${plural(notChecked.length, 'rule')} could not look at everything; below is why.`;
  if (worst !== undefined) {
    const rest =
      findings.length > 1
        ? `${counts}. The worst${heard.length < findings.length ? ' that is heard' : ''}: `
        : `${counts}: `;
    return { severity: worst.severity, text: `${rest}${findingText(worst)}.`, detail: open };
  }
  if (findings.length > 0) {
    const hidden = 'Every rule that fires is muted until this window ends; Findings lists them.';
    return { severity: null, text: `${counts}.`, detail: [hidden, open].join(' ').trim() };
  }
  const denied = deniedMaps(sources) !== null;
  if (resources.length === 0) {
    const text = denied ? 'Whether anything is wrong cannot be told.' : 'No rule fires: there is no dma-buf.';
    return { severity: null, text, detail: [noResources(sources), denied ? open : HINT].join(' ').trim() };
  }
  if (notChecked.length > 0) return { severity: null, text: `No rule fires, but ${open}`, detail: HINT };
  return { severity: null, text: 'No rule fires.', detail: HINT };
}

/** What the buffers hold, and where it is more than one number, each with what it counts. */
export function heldText(held: HeldMemory, resources: readonly SampledResource[], pageSize: number): string {
  const read = resources.length - held.unread;
  if (held.entries === 0) return 'Which pages these buffers hold was not read.';
  const bytes = held.pages * pageSize;
  const shared =
    held.entries > held.pages
      ? ` They have ${plural(held.entries, 'entry', 'entries')}: some pages occur more than once and are counted once.`
      : '';
  const folios =
    held.inFolios > bytes
      ? ` These lie in folios of ${formatBytes(held.inFolios)}, and a folio is held as a whole.`
      : '';
  const unread = held.unread > 0 ? ` The pages of ${held.unread} more were not read.` : '';
  return `${plural(read, 'buffer')} ${read === 1 ? 'holds' : 'hold'} ${plural(held.pages, 'distinct page')}, ${formatBytes(bytes)}.${folios}${shared}${unread}`;
}

/** How udmabuf holds pages on this kernel, in a sentence (drivers/dma-buf/udmabuf.c: memfd_pin_folios since 6.11). */
export function eraText({ release, udmabufEra }: HostState['kernel']): string {
  const kernel = release === '' ? 'This kernel' : `Linux ${printable(release)}`;
  switch (udmabufEra) {
    case 'folio-pins':
      return `${kernel}: udmabuf pins whole folios (FOLL_PIN).`;
    case 'page-refs':
      return `${kernel}: udmabuf takes plain page references, which no counter of pins shows.`;
    case 'absent':
      return `${kernel} has no udmabuf driver.`;
    case null:
      return `How udmabuf holds pages on ${kernel} is unknown.`;
  }
}

/** The two limits of the driver, and how near the largest buffer is to the one of sizes. */
export function limitsText(
  { device, listLimit, sizeLimitMb }: HostState['udmabuf'],
  resources: readonly SampledResource[],
): string {
  // Without the driver there is nothing to be unknown.
  if (device === 'absent' && listLimit === null && sizeLimitMb === null) return DEVICE[device];
  const largest = resources.reduce((most, { sizeBytes }) => Math.max(most, sizeBytes ?? 0), 0);
  const items = listLimit === null ? 'an unknown number of ranges' : plural(listLimit, 'range');
  const size = sizeLimitMb === null ? 'an unknown size' : formatBytes(sizeLimitMb * 2 ** 20);
  const here = largest === 0 ? '' : `; the largest here is ${formatBytes(largest)}`;
  return `A udmabuf may have ${items} (list_limit) and ${size} (size_limit_mb)${here}. ${DEVICE[device]}`;
}

const DEVICE: Record<HostState['udmabuf']['device'], string> = {
  ok: 'This user may open /dev/udmabuf.',
  denied: 'This user may not open /dev/udmabuf.',
  absent: '/dev/udmabuf does not exist here.',
  raced: '/dev/udmabuf changed while it was looked at.',
  stale: '/dev/udmabuf was not looked at again.',
};

/** RLIMIT_MEMLOCK beside what is held: the driver accounts nothing to the process. */
export function memlockText({ memlockLimitBytes }: Target, held: HeldMemory): string {
  const limit =
    memlockLimitBytes === null
      ? 'RLIMIT_MEMLOCK is unknown'
      : memlockLimitBytes === 'unlimited'
        ? 'RLIMIT_MEMLOCK is unlimited'
        : `RLIMIT_MEMLOCK is ${formatBytes(Number(memlockLimitBytes))}`;
  const holds = held.entries === 0 ? '' : `, the buffers hold ${formatBytes(held.inFolios)}`;
  return `${limit}${holds}: udmabuf charges none of it to the process.`;
}

/** What was not seen for one reason. */
export interface Unseen {
  readonly names: string;
  readonly text: string;
  readonly tone: Tone;
}

/** Items with one value of `of` together, in the order of their first. */
function together<Item>(items: readonly Item[], of: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(of(item), [...(groups.get(of(item)) ?? []), item]);
  return [...groups.values()];
}

const namesOf = (names: readonly string[]): string => names.map(printable).join(', ');

/** Sources that this user may not read or that moved under the reader, by what would grant them, then by what went wrong. */
export function unseenSources(sources: readonly SourceState[]): Unseen[] {
  const bad = sources.filter(({ state }) => state !== 'ok' && state !== 'absent');
  return together(bad, ({ state, grant, detail }) => JSON.stringify([state, grant ?? detail])).map(
    (group): Unseen => {
      const [first] = group;
      const why = group.length === 1 ? ` ${sentence(first?.detail ?? '')}` : '';
      const needs = first?.grant === undefined ? '' : ` Needs ${printable(first.grant)}.`;
      return {
        names: namesOf(group.map(({ name }) => name)),
        text: `${first?.state}.${why}${needs}`,
        tone: 'warning',
      };
    },
  );
}

/** Names of the sources that this machine does not have. */
export const absentSources = (sources: readonly SourceState[]): string =>
  namesOf(sources.filter(({ state }) => state === 'absent').map(({ name }) => name));

/** Rules that could not look at everything, by the reason. */
export const uncheckedRules = (notChecked: Sample['notChecked']): Unseen[] =>
  together(notChecked, ({ because }) => because).map(group => ({
    names: namesOf(group.map(({ rule }) => rule)),
    text: `not checked, because ${printable(group[0]?.because ?? '')}`,
    tone: 'plain',
  }));

/** The first few of the buffers by a number, largest first; those without it are left out. */
export function topBy(
  resources: readonly SampledResource[],
  count: number,
  by: (resource: SampledResource) => number | null,
): SampledResource[] {
  return resources
    .flatMap(resource => {
      const value = by(resource);
      return value === null || Number.isNaN(value) ? [] : [{ resource, value }];
    })
    .sort((a, b) => b.value - a.value || a.resource.inode - b.resource.inode)
    .slice(0, count)
    .map(({ resource }) => resource);
}
