import { tick } from 'svelte';
import { plural } from '../../model/format.ts';
import type { Sample } from '../../model/run-columns.ts';
import type { Finding } from '../../model/snapshot.ts';
import type { Filter } from '../state/filter.svelte.ts';
import type { Findings } from '../state/findings.svelte.ts';
import type { Mutes } from '../state/mutes.svelte.ts';
import type { Navigation } from '../state/navigation.svelte.ts';
import type { PageMapState } from '../state/page-map.svelte.ts';
import type { Selection } from '../state/selection.svelte.ts';
import type { Session } from '../state/session.svelte.ts';
import type { Tables } from '../state/tables.svelte.ts';
import { placeOf } from '../text/finding-places.ts';
import type { PageCommandId } from './keys.ts';

export type FindingCommandId = Extract<PageCommandId, `finding.${string}`>;

export interface FindingStates {
  readonly session: Pick<Session, 'sample'>;
  readonly selection: Selection;
  readonly filter: Filter;
  readonly navigation: Navigation;
  readonly pageMap: PageMapState;
  readonly tables: Pick<Tables, 'say' | 'copyText'>;
  readonly mutes: Mutes;
  readonly findings: Findings;
  readonly asTyped: (line: string) => string;
}

/** What the commands about the finding that is looked at do. They work from any view. */
export function findingHandlers(states: FindingStates): Record<FindingCommandId, () => void> {
  const { session, navigation, tables, mutes, findings, asTyped } = states;
  const step = (by: 1 | -1) => () => {
    if (session.sample !== null) findings.step(session.sample, by, navigation.view === 'findings');
    void navigation.go('findings');
  };
  const withFinding = (act: (finding: Finding, sample: Sample) => void) => () => {
    const { sample } = session;
    const finding = sample === null ? null : (findings.explained(sample)?.finding?.finding ?? null);
    if (sample === null || finding === null) tables.say('No finding is chosen.', 'warning');
    else act(finding, sample);
  };
  return {
    'finding.next': step(1),
    'finding.previous': step(-1),
    'finding.show': withFinding((finding, sample) => showFinding(finding, sample, states)),
    'finding.copyRecheck': withFinding(finding => {
      const lines = [...new Set(finding.evidence.map(({ recheck }) => asTyped(recheck)))];
      if (lines.length === 0) tables.say('This finding has no line that shows it again.', 'warning');
      else void tables.copyText(lines.join('\n'), `${plural(lines.length, 'line')} copied`);
    }),
    'finding.mute': () => {
      const explained = session.sample === null ? null : findings.explained(session.sample);
      if (explained === null) return tables.say('No rule is chosen.', 'warning');
      const { rule, finding } = explained;
      // Also where it was explained unasked: the same key is to undo it.
      if (finding !== null) findings.choose(finding);
      const muted = mutes.toggle(rule);
      void keepKeyboard(navigation);
      tables.say(muted ? `${rule} is muted until this window ends.` : `${rule} is heard again.`, 'ok');
    },
  };
}

/** The list goes with its last finding: what had the keyboard there has it in the same view. */
async function keepKeyboard(navigation: Navigation): Promise<void> {
  await tick();
  // Chromium takes the keyboard from what is gone with the next frame.
  await new Promise(requestAnimationFrame);
  if (navigation.view === 'findings' && document.activeElement === document.body)
    await navigation.go('findings');
}

/** Goes to what a finding is about, and leaves only that in sight where filter and map can. Says what it changed. */
export function showFinding(
  finding: Finding,
  sample: Sample,
  {
    selection,
    filter,
    navigation,
    pageMap,
    tables,
  }: Omit<FindingStates, 'session' | 'mutes' | 'findings' | 'asTyped'>,
): void {
  const place = placeOf(finding, sample);
  switch (place.kind) {
    case 'pages':
      filter.set(place.filter);
      pageMap.setSpace('host');
      pageMap.showOnly(sample, place.mode, place.classes);
      selection.selectPage(place.inode, place.page);
      void navigation.go('map');
      tables.say(`Filter: ${filter.text}`, 'ok');
      return;
    case 'buffer':
      selection.select(place.inode);
      void navigation.go(place.view);
      return;
    case 'block':
      if (place.block !== null) selection.selectBlock(place.block);
      void navigation.go('host').then(() => showSection(place.section));
      return;
    case 'view':
      void navigation.go(place.view).then(() => {
        if (place.section !== null) showSection(place.section);
      });
  }
}

/** Scrolls to a part of a view by its name. */
function showSection(name: string): void {
  const named = document.querySelector(`[role="tabpanel"] [aria-label="${CSS.escape(name)}"]`);
  (named?.closest('section') ?? named)?.scrollIntoView({ block: 'nearest' });
}
