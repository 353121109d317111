// Bundles renderer/ into dist/renderer: the page of the window.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { recordPackages } from './licences.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The theme is set by the page's script: nothing is painted before it ran. */
const paintAfterScript = {
  name: 'paint-after-script',
  transformIndexHtml: {
    order: 'post',
    handler: html => html.replace('<script type="module"', '<script type="module" blocking="render"'),
  },
};

export default defineConfig({
  root: join(root, 'renderer'),
  base: './',
  logLevel: 'warn',
  plugins: [svelte({ configFile: false }), paintAfterScript, recordPackages(root, 'renderer')],
  build: {
    outDir: join(root, 'dist', 'renderer'),
    emptyOutDir: true,
    // Chromium 108 is the oldest that the tests start the window on; syntax and CSS are lowered to it.
    target: 'chrome108',
    cssTarget: 'chrome108',
    modulePreload: { polyfill: false },
    // The page's policy forbids data: URLs in scripts and styles.
    assetsInlineLimit: 0,
    // The page comes from this machine: one file of some hundred kilobytes is nothing to split.
    chunkSizeWarningLimit: 1500,
    // How long plugins took is nothing that a set-up should print.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
