import { mount } from 'svelte';
import App from './App.svelte';
import './styles/tokens.css';
import './styles/base.css';
import { findShell } from './shell.ts';
import { afterPaint } from './state/after-paint.ts';
import { Clock } from './state/clock.svelte.ts';
import { Filter } from './state/filter.svelte.ts';
import { Findings } from './state/findings.svelte.ts';
import { History } from './state/history.svelte.ts';
import { Mutes } from './state/mutes.svelte.ts';
import { Navigation } from './state/navigation.svelte.ts';
import { Prefs, type PrefsStore } from './state/prefs.svelte.ts';
import { Privilege } from './state/privilege.svelte.ts';
import { Recordings } from './state/recordings.svelte.ts';
import { Selection } from './state/selection.svelte.ts';
import { Session } from './state/session.svelte.ts';
import { Tables } from './state/tables.svelte.ts';
import { applyTheme } from './state/theme.ts';
import { loadRecording } from './transport/replay.ts';

/** Reading the property already throws where the user or the shell forbids storage. */
function prefsStore(): PrefsStore | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

const shell = findShell(window);
const transport = shell?.transport ?? null;

const prefs = new Prefs(prefsStore());
prefs.followSystem(matchMedia('(prefers-color-scheme: dark)'));
applyTheme(document.documentElement, prefs);

const clock = new Clock();
const selection = new Selection();
const privilege = new Privilege(transport, shell?.kind !== 'browser');
const recordings = new Recordings(transport);
const session = new Session(transport, loadRecording, selection, clock, () => recordings.on);
const navigation = new Navigation();
const history = new History(afterPaint);
session.onSample((sample, source, periodMs) => history.observe(sample, source, periodMs));
const filter = new Filter();
const tables = new Tables(filter, text => navigator.clipboard.writeText(text));
const mutes = new Mutes();
const findings = new Findings(mutes);

const target = document.getElementById('app');
if (target === null) throw new Error('index.html has no element #app');
const props = {
  shell,
  clock,
  prefs,
  selection,
  privilege,
  recordings,
  session,
  navigation,
  history,
  filter,
  tables,
  mutes,
  findings,
};
mount(App, { target, props });
