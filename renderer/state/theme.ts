import type { Prefs } from './prefs.svelte.ts';

/** Keeps `data-theme` of the root element at the theme that is shown; tokens.css has its colours. */
export function applyTheme(root: HTMLElement, prefs: Prefs): void {
  root.dataset.theme = prefs.theme;
}
