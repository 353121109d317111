import type { PrivilegeLevel, PrivilegeState } from '../../model/contract.ts';

import type { Tone } from '../tables/column.ts';
import { sentence } from './sentence.ts';

/** A state of the user's rights for a person. */
export interface PrivilegeText {
  /** For the bar. */
  readonly short: string;
  readonly sentence: string;
  readonly tone: Tone;
}

/** What a level opens, in plain words; docs/SOURCES.md has the files. */
export const LEVELS: Record<
  PrivilegeLevel,
  { readonly title: string; readonly opens: string; readonly gives: string }
> = {
  pages: {
    title: 'Pages of this process',
    opens: 'Page table, page flags, memory map and open files of the one process that is watched.',
    gives:
      'Shows the buffers of a process that is not yours, their holders and attached devices. What a buffer really pins stays unknown: only kernel memory has that.',
  },
  'kernel-memory': {
    title: 'Kernel memory',
    opens:
      'Everything that the kernel holds in memory (/proc/kcore), and the same files of every process. That includes other users’ data and keys; Pinscope reads the lists of dma-bufs and their pages, and writes nothing.',
    gives:
      'Shows the exact pages of each udmabuf, its pins, migratetypes, and pages that are no longer the guest’s.',
  },
};

const REFUSED = {
  dismissed: 'Prompt was closed',
  refused: 'Access was refused',
  unavailable: 'Nothing here can ask',
  lost: 'Access was lost',
  failed: 'Access failed',
} as const;

export function privilegeText(state: PrivilegeState | null): PrivilegeText {
  switch (state?.state) {
    case undefined:
      return {
        short: 'Rights unknown',
        sentence: 'No sampler runs, so nothing tells what may be read.',
        tone: 'muted',
      };
    case 'root':
      return { short: 'Root', sentence: 'The sampler runs as root and may read everything.', tone: 'ok' };
    case 'asking':
      return {
        short: 'Waiting for your answer',
        sentence: 'The system asks for your password in a window of its own.',
        tone: 'info',
      };
    case 'granted': {
      const what = LEVELS[state.level].title;
      const whose = state.target === null ? '' : ` of process ${state.target.pid}`;
      return {
        short: state.level === 'pages' ? 'Process pages granted' : 'Kernel memory granted',
        sentence: `Granted: ${what.toLowerCase()}${state.level === 'pages' ? whose : ''}. Files are opened by pinscope-broker, pid ${state.brokerPid}, until you give access back or Pinscope ends.`,
        tone: 'ok',
      };
    }
    case 'ungranted':
      if (state.last !== null) {
        return { short: REFUSED[state.last.reason], sentence: sentence(state.last.detail), tone: 'warning' };
      }
      return {
        short: 'Pages not granted',
        sentence: 'Your own rights show buffers, sizes, holders and ages. Page frame numbers need a grant.',
        tone: 'warning',
      };
  }
}
