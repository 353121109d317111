import { createContext } from 'svelte';
import type { CommandId } from '../model/commands.ts';
import type { Shell } from './shell.ts';
import type { Filter } from './state/filter.svelte.ts';
import type { Findings } from './state/findings.svelte.ts';
import type { History } from './state/history.svelte.ts';
import type { Mutes } from './state/mutes.svelte.ts';
import type { Navigation } from './state/navigation.svelte.ts';
import type { PageMapState } from './state/page-map.svelte.ts';
import type { Prefs } from './state/prefs.svelte.ts';
import type { Privilege } from './state/privilege.svelte.ts';
import type { Recordings } from './state/recordings.svelte.ts';
import type { Selection } from './state/selection.svelte.ts';
import type { Session } from './state/session.svelte.ts';
import type { Tables } from './state/tables.svelte.ts';

/** What every view may reach. */
export interface App {
  readonly session: Session;
  readonly selection: Selection;
  readonly privilege: Privilege;
  readonly navigation: Navigation;
  readonly prefs: Prefs;
  readonly history: History;
  readonly pageMap: PageMapState;
  readonly recordings: Recordings;
  readonly filter: Filter;
  readonly tables: Tables;
  readonly mutes: Mutes;
  readonly findings: Findings;
  /** Runs a command of model/commands.ts. */
  readonly run: (id: CommandId) => void;
  /** What opened the page; `null`: nothing did, so commands with a role of Electron's are nobody's. */
  readonly shell: Shell['kind'] | null;
  /** A shell line as this program is called here (`recheckAs`). */
  readonly asTyped: (line: string) => string;
  /** The shell's one line about its runtime, if it has one. */
  readonly runtimeNotice: () => string | null;
}

export const [getApp, setApp] = createContext<App>();
