import { tick } from 'svelte';

/** Views of the main pane, in the order of their tabs. */
export const VIEWS = [
  { id: 'overview', title: 'Overview', command: 'go.overview' },
  { id: 'resources', title: 'Resources', command: 'go.resources' },
  { id: 'map', title: 'Page map', command: 'go.map' },
  { id: 'findings', title: 'Findings', command: 'go.findings' },
  { id: 'host', title: 'Host memory', command: 'go.host' },
  { id: 'timeline', title: 'Timeline', command: 'go.timeline' },
  { id: 'sources', title: 'Sources and rights', command: 'go.sources' },
] as const;
export type ViewId = (typeof VIEWS)[number]['id'];

/** Places that take the keyboard: the element with this id, in this view (`null`: it is always there). */
const PLACES = {
  processes: null,
  overview: 'overview',
  resources: 'resources',
  filter: 'resources',
  runs: 'resources',
  map: 'map',
  findings: 'findings',
  host: 'host',
  timeline: 'timeline',
  sources: 'sources',
} as const satisfies Record<string, ViewId | null>;
export type Place = keyof typeof PLACES;

/** Id of the element that has the focus of a place. */
export const placeId = (place: Place): string => `place-${place}`;

export class Navigation {
  view = $state.raw<ViewId>('overview');
  helpOpen = $state(false);
  grantOpen = $state(false);
  sessionsOpen = $state(false);
  paletteOpen = $state(false);

  /** Shows a place and gives it the keyboard. */
  async go(place: Place): Promise<void> {
    this.view = PLACES[place] ?? this.view;
    await tick();
    // The list of findings is taller than its pane: it is not to scroll its first words away.
    document.getElementById(placeId(place))?.focus({ preventScroll: true });
  }
}
