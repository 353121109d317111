import { formatBytes } from '../format.ts';
import type { SampledResource } from '../run-columns.ts';
import type { Past } from './past.ts';
import type { Evidence, Outcome, Reason, Rule, Told, Unjudged } from './rule.ts';
import { Reasons, udmabufs } from './use.ts';

/** `7.91 MiB`, or `A buffer` of a size that nobody told. */
export const sizeOf = ({ sizeBytes }: SampledResource): string =>
  sizeBytes === null ? 'A buffer' : formatBytes(sizeBytes);

/** Age at the sample; null: its creation is not known. A buffer made while the sample was taken is of no age. */
export function ageOf({ takenAt }: Unjudged, { createdAt }: SampledResource): number | null {
  const age = Date.parse(takenAt) - Date.parse(createdAt ?? '');
  return Number.isNaN(age) ? null : Math.max(0, age);
}

/** When it was made. */
export const created = ({ target }: Unjudged, { inode, createdAt, holders }: SampledResource): Evidence => {
  const holder = holders.find(({ pid, fds }) => pid === target.pid && fds.length > 0);
  const fd = holder?.fds[0];
  return {
    source: fd === undefined ? 'kernel-memory' : `/proc/${target.pid}/fd/${fd}`,
    field: 'made (ctime of its inode)',
    value: createdAt ?? 'unknown',
    recheck:
      fd === undefined
        ? `sudo pinscope snapshot --pid ${target.pid} --resource ${inode} --json | tr -d ' \\n' | grep -o '"createdAt":"[^"]*"'`
        : `sudo stat -L -c %z /proc/${target.pid}/fd/${fd}`,
  };
};

/** A rule about each udmabuf by itself. `tell` gives null for one that is fine, a reason where that cannot be told. */
export function bufferRule(
  rule: Omit<Rule, 'check'>,
  tell: (
    resource: SampledResource,
    sample: Unjudged,
    past: Past | null,
  ) => Omit<Told, 'resource'> | Reason | null,
): Rule {
  return {
    ...rule,
    check: (sample, past): Outcome => {
      const { mine, because } = udmabufs(sample);
      const found: Told[] = [];
      const reasons = new Reasons();
      for (const resource of mine) {
        const told = tell(resource, sample, past);
        if (told === null) continue;
        if (typeof told === 'string' || 'because' in told) reasons.add(told);
        else found.push({ resource: resource.inode, ...told });
      }
      return { found, because: [...because, ...reasons.list()] };
    },
  };
}
