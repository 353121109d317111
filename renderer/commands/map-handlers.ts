import type { Navigation } from '../state/navigation.svelte.ts';
import type { PageMapState } from '../state/page-map.svelte.ts';
import type { PageCommandId } from './keys.ts';

export type MapCommandId = Extract<PageCommandId, `map.${string}`> | 'go.map';

/** What the commands of the page map do. They work from any view, and show the map first. */
export function mapHandlers(navigation: Navigation, map: PageMapState): Record<MapCommandId, () => void> {
  const shown = (act: () => void) => () => {
    const wasShown = navigation.view === 'map';
    void navigation.go('map').then(() => {
      // What is about a place on the map waits until the map has its sample and its size.
      if (wasShown) act();
      else requestAnimationFrame(act);
    });
  };
  return {
    'go.map': () => void navigation.go('map'),
    'map.zoomIn': shown(() => map.zoom(1)),
    'map.zoomOut': shown(() => map.zoom(-1)),
    'map.fitAll': shown(() => map.fitAll()),
    'map.fitSelection': shown(() => map.fitSelection()),
    'map.nextDisconnected': shown(() => map.step('disconnected', 1)),
    'map.previousDisconnected': shown(() => map.step('disconnected', -1)),
    'map.nextFinding': shown(() => map.step('finding', 1)),
    'map.host': shown(() => map.setSpace('host')),
    'map.guest': shown(() => map.setSpace('guest')),
    'map.colourResource': shown(() => map.setMode('resource')),
    'map.colourZone': shown(() => map.setMode('zone')),
    'map.colourNode': shown(() => map.setMode('node')),
    'map.colourMigratetype': shown(() => map.setMode('migratetype')),
    'map.colourFolio': shown(() => map.setMode('folio')),
    'map.colourAge': shown(() => map.setMode('age')),
    'map.colourBacking': shown(() => map.setMode('backing')),
  };
}
