import { COMMANDS, type CommandId } from '../../model/commands.ts';
import type { Shell } from '../shell.ts';
import type { Filter } from '../state/filter.svelte.ts';
import type { Privilege } from '../state/privilege.svelte.ts';
import type { Recordings } from '../state/recordings.svelte.ts';
import type { Session } from '../state/session.svelte.ts';

/** What decides whether a command can do anything now. */
export interface Circumstances {
  readonly session: Pick<Session, 'mode' | 'sample' | 'processes' | 'replay' | 'before'>;
  readonly privilege: Pick<Privilege, 'state' | 'canAsk'>;
  readonly recordings: Pick<Recordings, 'possible'>;
  readonly filter: Pick<Filter, 'text'>;
  /** What opened the page. */
  readonly shell: Shell['kind'] | null;
}

/** Why a command can do nothing now, in a sentence; `null`: it can. */
export function whyNot(
  id: CommandId,
  { session, privilege, recordings, filter, shell }: Circumstances,
): string | null {
  if ('role' in COMMANDS[id]) {
    return shell === 'window'
      ? 'By its key or from the menu.'
      : 'Only in the desktop window; a browser has its own.';
  }
  const { mode, sample } = session;
  switch (id) {
    case 'capture.pause':
      return mode.kind === 'live' || mode.kind === 'paused' ? null : 'Nothing is watched live.';
    case 'capture.refresh':
      return session.processes === null ? 'There is no sampler to ask.' : null;
    case 'capture.grant':
      if (privilege.state === null) return 'There is no sampler to grant anything to.';
      return privilege.canAsk ? null : 'Everything is granted already.';
    case 'capture.revoke':
      return privilege.state?.state === 'granted' ? null : 'Nothing was granted.';
    case 'file.saveRedacted':
    case 'replay.play':
    case 'replay.previous':
    case 'replay.next':
    case 'replay.first':
    case 'replay.last':
      return session.replay === null ? 'No session is shown.' : null;
    case 'replay.live':
      return session.before === null ? 'No process was watched before.' : null;
    case 'file.record':
      return recordings.possible ? null : 'There is no sampler that could record.';
    case 'filter.clear':
      return filter.text === '' ? 'There is no filter.' : null;
    case 'finding.next':
    case 'finding.previous':
    case 'finding.show':
    case 'finding.copyRecheck':
    case 'finding.mute':
      return sample !== null && sample.findings.length > 0 ? null : 'No rule has found anything.';
    case 'go.runs':
      return sample !== null && sample.resources.length > 0 ? null : 'There is no dma-buf.';
    default:
      return null;
  }
}
