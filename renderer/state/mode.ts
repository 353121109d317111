import type { TargetId } from '../../model/contract.ts';
import type { ProcessList, ProcessSummary } from '../../model/process-list.ts';

/** What the window shows now. */
export type Mode =
  /** Nothing was decided yet. */
  | { readonly kind: 'starting' }
  | { readonly kind: 'recording'; readonly why: RecordingReason }
  | { readonly kind: 'live'; readonly target: TargetId }
  | { readonly kind: 'paused'; readonly target: TargetId }
  /** The process ended; what was read last stays. */
  | { readonly kind: 'gone'; readonly target: TargetId; readonly detail: string };

export type RecordingReason =
  | { readonly why: 'asked' }
  /** A session file that the user opened. */
  | { readonly why: 'file'; readonly name: string }
  /** A page without a shell. */
  | { readonly why: 'no-shell' }
  /** No process here uses udmabuf. */
  | { readonly why: 'nothing-here' }
  | { readonly why: 'no-sampler'; readonly detail: string };

export const sameTarget = (a: TargetId, b: TargetId): boolean =>
  a.pid === b.pid && a.startTime === b.startTime;

/** The process of the mode, where there is a live one. */
export const targetOf = (mode: Mode): TargetId | null => ('target' in mode ? mode.target : null);

/** QEMUs first, then by what they hold; processes whose buffers are denied come after those that show some. */
export function inOrder(list: ProcessList): ProcessSummary[] {
  const rank = ({ kind, buffers }: ProcessSummary): number =>
    (kind === 'qemu' ? 0 : 10) + (buffers === null ? 1 : buffers > 0 ? 0 : 2);
  return [...list.processes].sort(
    (a, b) => rank(a) - rank(b) || (b.bufferBytes ?? 0) - (a.bufferBytes ?? 0) || a.pid - b.pid,
  );
}

/** The process to attach to unasked: the first that holds buffers, or a QEMU whose buffers this user may not see. */
export function worthWatching(list: ProcessList): ProcessSummary | null {
  return (
    inOrder(list).find(({ buffers, kind }) => (buffers ?? 0) > 0 || (buffers === null && kind === 'qemu')) ??
    null
  );
}
