import type { TargetId } from '../model/contract.ts';
import { evaluate } from '../model/hazards/index.ts';
import { Past } from '../model/hazards/past.ts';
import type { Sample } from '../model/run-columns.ts';

import type { Finding, NotChecked } from '../model/snapshot.ts';
import { CliError, EXIT } from './exit.ts';
import { openSession } from './show.ts';

/** What a session file says of one process before now. */
export interface Earlier {
  readonly file: string;
  readonly target: TargetId;
  /** Samples of that process; at least 1. */
  readonly samples: number;
  /** When the first and the last of them were taken, ISO 8601. */
  readonly from: string;
  readonly to: string;
  /** What today's rules say of the last one, with those before as its past. */
  readonly findings: readonly Finding[];
  readonly notChecked: readonly NotChecked[];
}

/**
 * Reads what a session file says of a process. Throws a CliError when it has no sample of it.
 * @param wanted `null`: the process of its last whole sample
 * @param each is given every sample of the process, oldest first
 */
export async function earlierOf(
  path: string,
  wanted: TargetId | null,
  each: (sample: Sample) => void,
): Promise<Earlier> {
  const file = await openSession(path);
  const newest = await file.sample(await file.whole(file.count - 1, -1));
  if (!newest) throw new CliError(`${path} has no whole sample; pinscope show --info says why`, EXIT.failed);
  const { pid, startTime } = wanted ?? newest.target;
  const past = new Past();
  let first: Sample | undefined;
  let last: Sample | undefined;
  let samples = 0;
  for (let n = 0; n < file.count; n++) {
    const sample = await file.sample(n);
    if (sample?.target.pid !== pid || sample.target.startTime !== startTime) continue;
    if (last) past.observe(last);
    first ??= sample;
    last = sample;
    samples++;
    each(sample);
  }
  if (!first || !last) {
    const whose =
      newest.target.pid === pid ? 'an earlier process of that pid' : `process ${newest.target.pid}`;
    throw new CliError(
      `${path} has no sample of the process ${pid} that runs now; its last one is of ${whose}`,
      EXIT.noProcess,
    );
  }
  return {
    ...{ file: path, target: { pid, startTime }, samples, from: first.takenAt, to: last.takenAt },
    ...evaluate(last, past.isOf(last) ? past : null),
  };
}

/** A finding is the same one while rule and resource are. */
const keyOf = ({ rule, resource }: Finding): string => `${rule} ${resource}`;

/** How the findings of now differ from those at the end of the session. */
export interface Compared {
  /** Whether a finding was not there then. */
  readonly isNew: (finding: Finding) => boolean;
  /** Not there any more, though their rule was checked. */
  readonly gone: readonly Finding[];
}

export function compare(
  earlier: Pick<Earlier, 'findings'>,
  findings: readonly Finding[],
  notChecked: readonly NotChecked[],
): Compared {
  const then = new Set(earlier.findings.map(keyOf));
  const now = new Set(findings.map(keyOf));
  const open = new Set(notChecked.map(({ rule }) => rule));
  return {
    isNew: finding => !then.has(keyOf(finding)),
    gone: earlier.findings.filter(finding => !now.has(keyOf(finding)) && !open.has(finding.rule)),
  };
}
