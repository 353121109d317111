import { Format } from '../lines.ts';

/** A limit in the unit of its line; RLIM_INFINITY is `unlimited`. */
export type Limit = bigint | 'unlimited';
export interface ResourceLimit {
  readonly soft: Limit;
  readonly hard: Limit;
  /** `bytes`, `files`, `processes`, …; `null` for the two priorities. */
  readonly unit: string | null;
}

/** The name of the limit that mlock and vfio are held to, and udmabuf is not. */
export const MAX_LOCKED_MEMORY = 'Max locked memory';

const format: Format = new Format('limits');

/** Bounded repeats, so that no line takes long. */
const LINE =
  /^(Max [a-z ]{0,40}?[a-z]) {1,40}(unlimited|\d{1,20}) {1,40}(unlimited|\d{1,20}) {0,40}([a-z]{0,20}) {0,40}$/;

/**
 * /proc/PID/limits: fs/proc/base.c proc_pid_limits(), a heading and `NAME SOFT HARD UNIT` in columns of 25, 20, 20 and 10.
 * By name, as printed.
 */
export function parseLimits(text: string): ReadonlyMap<string, ResourceLimit> {
  const limits = new Map<string, ResourceLimit>();
  for (const [i, line] of format.lines(text).entries()) {
    if (!line.startsWith('Max ')) continue;
    const match = LINE.exec(line);
    if (!match) throw format.error('Max NAME SOFT HARD UNIT', line, i + 1);
    const [, name = '', soft = '', hard = '', unit = ''] = match;
    if (limits.has(name)) throw format.error(`${name} once`, line, i + 1);
    const limit = (value: string): Limit => (value === 'unlimited' ? value : format.u64(value, name, i + 1));
    limits.set(name, { soft: limit(soft), hard: limit(hard), unit: unit === '' ? null : unit });
  }
  if (!limits.has(MAX_LOCKED_MEMORY)) throw format.error(`a line ${MAX_LOCKED_MEMORY}`, text);
  return limits;
}
