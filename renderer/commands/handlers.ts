import { COMMANDS, type CommandId } from '../../model/commands.ts';
import type { Filter } from '../state/filter.svelte.ts';
import type { Findings } from '../state/findings.svelte.ts';
import type { Mutes } from '../state/mutes.svelte.ts';
import type { Navigation } from '../state/navigation.svelte.ts';
import type { PageMapState } from '../state/page-map.svelte.ts';
import type { Prefs } from '../state/prefs.svelte.ts';
import type { Privilege } from '../state/privilege.svelte.ts';
import type { Recordings } from '../state/recordings.svelte.ts';
import type { Selection } from '../state/selection.svelte.ts';
import type { Session } from '../state/session.svelte.ts';
import type { Tables } from '../state/tables.svelte.ts';
import { findingHandlers } from './finding-handlers.ts';
import { commandOf, type PageCommandId } from './keys.ts';
import { mapHandlers } from './map-handlers.ts';

export interface CommandStates {
  readonly session: Session;
  readonly privilege: Privilege;
  readonly navigation: Navigation;
  readonly prefs: Prefs;
  readonly pageMap: PageMapState;
  readonly recordings: Recordings;
  readonly filter: Filter;
  readonly tables: Tables;
  readonly selection: Selection;
  readonly mutes: Mutes;
  readonly findings: Findings;
  /** A shell line as this program is called here. */
  readonly asTyped: (line: string) => string;
  /** Saves a picture of the view, and says where. */
  readonly savePicture: () => void;
}

/** What each command does here. The compiler asks for every command of the table that Electron does not do itself. */
export function commandHandlers(states: CommandStates): Record<PageCommandId, () => void> {
  const { session, privilege, navigation, prefs, pageMap, recordings, filter, tables, savePicture } = states;
  return {
    'file.openRecording': () => void session.openRecording(),
    'file.openSession': () => {
      navigation.sessionsOpen = true;
    },
    'file.saveRedacted': () => void session.replay?.saveRedacted(),
    'file.record': () => void recordings.toggle(),
    'replay.play': () => session.replay?.toggle(),
    'replay.previous': () => session.replay?.step(-1),
    'replay.next': () => session.replay?.step(1),
    'replay.first': () => session.replay?.seek(0),
    'replay.last': () => session.replay?.seek(session.replay.file.count - 1, -1),
    'replay.live': () => session.backToLive(),
    'table.copyCell': () => void tables.copy('cell'),
    'table.copyRow': () => void tables.copy('row'),
    'table.copyTsv': () => void tables.copy('tsv'),
    'table.copyJson': () => void tables.copy('json'),
    'table.copyMarkdown': () => void tables.copy('markdown'),
    'view.palette': () => {
      navigation.paletteOpen = true;
    },
    'view.savePicture': () => savePicture(),
    'view.theme': () => prefs.switchTheme(),
    'view.filter': () => void navigation.go('filter'),
    'filter.clear': () => filter.clear(),
    'filter.applyCell': () => tables.filterBy('apply'),
    'filter.excludeCell': () => tables.filterBy('exclude'),
    'filter.addCell': () => tables.filterBy('add'),
    'go.processes': () => void navigation.go('processes'),
    'go.overview': () => void navigation.go('overview'),
    'go.resources': () => void navigation.go('resources'),
    'go.runs': () => void navigation.go('runs'),
    'go.findings': () => void navigation.go('findings'),
    'go.host': () => void navigation.go('host'),
    'go.timeline': () => void navigation.go('timeline'),
    'go.sources': () => void navigation.go('sources'),
    ...mapHandlers(navigation, pageMap),
    ...findingHandlers(states),
    'capture.pause': () => session.togglePaused(),
    'capture.refresh': () => session.refreshProcesses(),
    'capture.grant': () => {
      if (privilege.canAsk) navigation.grantOpen = true;
      else void navigation.go('sources');
    },
    'capture.revoke': () => void privilege.revoke(),
    'help.keys': () => {
      navigation.helpOpen = !navigation.helpOpen;
    },
  };
}

/** Runs commands by id; those that Electron does itself are none of the page's. */
export function commandRunner(handlers: Record<PageCommandId, () => void>): (id: CommandId) => void {
  return id => {
    if (!('role' in COMMANDS[id])) handlers[id as PageCommandId]();
  };
}

/** Whether a press at this element goes into a text. */
function isTyped(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || target.matches('input, textarea, select'))
  );
}

/** Keys of the whole window. Where a dialog is open, only those that close it. */
export function onWindowKey(event: KeyboardEvent, run: (id: CommandId) => void): void {
  if (event.defaultPrevented || event.repeat) return;
  const id = commandOf(event, isTyped(event.target));
  if (id === null) return;
  if (document.querySelector('dialog[open]') !== null && id !== 'help.keys') return;
  // Also keeps the shell's menu from doing the same a second time.
  event.preventDefault();
  run(id);
}
