import type { Navigation } from '../state/navigation.svelte.ts';
import type { PageMapState } from '../state/page-map.svelte.ts';
import type { Selection } from '../state/selection.svelte.ts';

/** Keys while the map has the focus, as the help shows them. */
export const MAP_KEYS: readonly { readonly title: string; readonly key: string }[] = [
  { title: 'Next and previous run on the map', key: '→ ←' },
  { title: 'Next and previous buffer', key: '↓ ↑' },
  { title: 'Next and previous disconnected page', key: 'N, Shift+N' },
  { title: 'Next and previous page of a buffer with a finding', key: 'E, Shift+E' },
  { title: 'Zoom in and out', key: 'W S, + −, wheel' },
  { title: 'Up and down', key: 'A D, drag' },
  { title: 'A screen up and down', key: 'Page Up, Page Down' },
  { title: 'Show all', key: 'Home' },
  { title: 'Fit the selected run', key: 'F' },
  { title: 'Go to the run in Resources', key: 'Enter' },
  { title: 'Clear the selection', key: 'Esc' },
  { title: 'Host page frames or guest memory', key: 'G' },
  { title: 'Class of the legend off or on, only this one', key: 'Space, Shift+Space' },
];

type Press = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>;

/** What a key does on the map; `null`: nothing here. */
export function mapKey(
  event: Press,
  map: PageMapState,
  selection: Selection,
  navigation: Navigation,
): (() => void) | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const back = event.shiftKey ? -1 : 1;
  const acts: Readonly<Record<string, () => void>> = {
    arrowright: () => map.step('run', 1),
    arrowleft: () => map.step('run', -1),
    arrowdown: () => map.step('resource', 1),
    arrowup: () => map.step('resource', -1),
    n: () => map.step('disconnected', back),
    e: () => map.step('finding', back),
    w: () => map.zoom(1),
    '+': () => map.zoom(1),
    '=': () => map.zoom(1),
    s: () => map.zoom(-1),
    '-': () => map.zoom(-1),
    a: () => map.pan(-0.2),
    d: () => map.pan(0.2),
    pageup: () => map.pan(-0.9),
    pagedown: () => map.pan(0.9),
    home: () => map.fitAll(),
    f: () => map.fitSelection(),
    g: () => map.setSpace(map.space === 'host' ? 'guest' : 'host'),
    escape: () => selection.clearPage(),
    enter: () => void navigation.go(selection.run >= 0 ? 'runs' : 'resources'),
  };
  return acts[event.key.toLowerCase()] ?? null;
}
