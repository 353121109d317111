import type { Sample, SampledResource } from '../run-columns.ts';
import type { Finding, NotChecked, SourceState } from '../snapshot.ts';
import type { Past } from './past.ts';

export type Severity = Finding['severity'];
/** For sorting, worst first. */
export const SEVERITY_RANK: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };
export type Evidence = Finding['evidence'][number];

/** A sample before the rules have seen it. */
export type Unjudged = Omit<Sample, 'findings' | 'notChecked'>;

/** What a rule says of one resource, or with `resource: null` of the process. */
export interface Told {
  readonly resource: number | null;
  /** Where it is not the rule's. */
  readonly severity?: Severity;
  readonly title: string;
  readonly explanation: string;
  readonly remedy: string;
  readonly evidence: readonly Evidence[];
}

/** Why a part was not looked at, in lower case; with what would grant it where a right is missing. A text alone: nothing would. */
export type Reason = string | { readonly because: string; readonly grant: string | null };

/** A reason with words before it; what would grant it stays. */
export const within = (words: string, reason: Reason): Reason =>
  typeof reason === 'string'
    ? `${words}${reason}`
    : { because: `${words}${reason.because}`, grant: reason.grant };

/** Outcome of a rule: what it found in what it could look at, and a reason for each part that it could not. */
export interface Outcome {
  readonly found: readonly Told[];
  readonly because: readonly Reason[];
}

/**
 * A hazard as data. Severity: `error`, something is wrong now; `warning`, something will fail when the host does its part (takes
 * memory offline, asks CMA for it) or is paid for all the time; `info`, good to know.
 */
export interface Rule {
  readonly id: string;
  readonly severity: Severity;
  /** A sentence: when it fires. */
  readonly fires: string;
  /** Facts that it rests on, ids of inputs.ts: without one it is not checked. */
  readonly needs: readonly string[];
  /** @param past earlier samples of the same process; null: there are none, and a rule that needs time is not checked. */
  readonly check: (sample: Unjudged, past: Past | null) => Outcome;
}

/** The finding of the schema. */
export const toFinding = (rule: Rule, { resource, severity = rule.severity, ...told }: Told): Finding => ({
  rule: rule.id,
  severity,
  resource,
  ...told,
  reference: `docs/HAZARDS.md#${rule.id}`,
});

/** One entry a rule. `because` begins in lower case: it goes on after “not checked, because”. */
export function toNotChecked(rule: Rule, reasons: readonly Reason[]): NotChecked {
  const whole = reasons.map(reason =>
    typeof reason === 'string' ? { because: reason, grant: null } : reason,
  );
  const grants = new Set(whole.flatMap(({ grant }) => grant ?? []));
  return {
    rule: rule.id,
    because: whole.map(({ because }) => because).join('; '),
    ...(grants.size > 0 ? { grant: [...grants].join('; ') } : {}),
  };
}

/** A resource that is a udmabuf, or whose exporter nobody told. */
export const mayBeUdmabuf = ({ exporter }: Pick<SampledResource, 'exporter'>): boolean =>
  (exporter ?? 'udmabuf') === 'udmabuf';

/**
 * `WHAT: kernel-memory is denied (DETAIL; needs GRANT)` of the first of these sources that is not `ok`; else `WHAT: OTHERWISE`.
 * @param what is not known, in lower case
 */
export function whyMissing(
  what: string,
  sources: readonly SourceState[],
  names: readonly string[],
  otherwise: string,
): Reason {
  for (const name of names) {
    const source = sources.find(each => each.name === name);
    if (!source) return `${what}: ${name} was not read`;
    if (source.state === 'ok') continue;
    const { state, detail, grant = null } = source;
    return {
      because: `${what}: ${name} is ${state} (${detail}${grant === null ? '' : `; needs ${grant}`})`,
      grant,
    };
  }
  return `${what}: ${otherwise}`;
}

/** Why the resources of the list may not be all there are; `null`: they are. */
export function unlisted({ resources, sources }: Unjudged): Reason | null {
  // Whoever may see the mappings may see the open files.
  const maps = sources.find(({ name }) => name === 'maps');
  if (resources.length > 0 || maps?.state === 'ok') return null;
  return whyMissing('the dma-bufs of this process are not known', sources, ['maps'], '');
}

/**
 * How udmabuf holds pages here, in a word: `pinned` where it takes FOLL_PIN (memfd_pin_folios, 6.11), `held` where it takes plain
 * references or nothing tells.
 */
export const heldWord = ({ host }: Unjudged): 'pinned' | 'held' =>
  host.kernel.udmabufEra === 'folio-pins' ? 'pinned' : 'held';

/**
 * A shell line that prints the page runs of one buffer which hold a text, by `pinscope snapshot --json`: one run a line, whatever
 * white space the JSON has.
 */
export const recheckRuns = ({ target }: Unjudged, inode: number, text: string): string =>
  `sudo pinscope snapshot --pid ${target.pid} --resource ${inode} --json | tr -d ' \\n' | tr '{' '\\n' | grep '"pfn":.*${text}'`;
