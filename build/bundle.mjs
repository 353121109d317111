// Bundles every program of the checkout into one file each, so that a cold start opens few files.
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { recordPackages } from './licences.mjs';

const programs = [
  { input: 'cli/pinscope.ts', file: 'dist/cli/pinscope.js', banner: '#!/usr/bin/env node' },
  { input: 'electron/main.ts', file: 'dist/electron/main.cjs', window: true },
  { input: 'electron/preload.ts', file: 'dist/electron/preload.cjs', window: true },
  { input: 'sampler/utility.ts', file: 'dist/electron/sampler.cjs', window: true },
  { input: 'test/bench/bench.ts', file: 'dist/bench/bench.js' },
  { input: 'test/bench/page-sampler.ts', file: 'dist/bench/page-sampler.js' },
  { input: 'test/guide/pictures.ts', file: 'dist/guide/pictures.js' },
  { input: 'test/rig/rig.ts', file: 'dist/rig/rig.js' },
  { input: 'test/rig/inside.ts', file: 'dist/rig/inside.js' },
];
const sources = [
  'model',
  'native',
  'sampler',
  'cli',
  'electron',
  'test',
  'build',
  'package.json',
  'package-lock.json',
];

/**
 * What runs inside Electron: CommonJS, one file each (a sandboxed preload can load no second one), with the syntax of the oldest
 * Electron that tests start on, whose Node is 16.
 */
function forWindow(root, file) {
  const { version, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return {
    external: ['electron'],
    plugins: [recordPackages(root, basename(file, extname(file)))],
    transform: {
      target: 'node16',
      define: {
        PINSCOPE_VERSION: JSON.stringify(version),
        PINSCOPE_ELECTRON: JSON.stringify(devDependencies.electron),
      },
    },
    output: { format: 'cjs', codeSplitting: false },
  };
}

/** When a source below a path last changed; a directory changes when a file in it comes or goes. */
function newest(path) {
  // An editor's lock may be a link to nowhere.
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory())
    return /\.(ts|mjs|json|svelte|css|html|svg|pinscope)$/.test(path) ? stat.mtimeMs : 0;
  if (/\/(fixtures|native\/build)$/.test(path)) return 0;
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), stat.mtimeMs);
}

/** Builds what is older than its sources. `root` is the checkout. Rejects with rolldown's message. */
export async function bundle(root) {
  const stamp = join(root, 'dist', '.bundled');
  const latest = Math.max(...sources.map(path => newest(join(root, path))));
  const wanted = programs.filter(({ input }) => existsSync(join(root, input)));
  const complete = [stamp, ...wanted.map(({ file }) => join(root, file))].every(path => existsSync(path));
  if (complete && statSync(stamp).mtimeMs >= latest) return;
  const started = new Date();
  const { build } = await import('rolldown');
  await build(
    wanted.map(({ input, file, banner, window }) => {
      const { output, ...options } = window ? forWindow(root, file) : { output: { format: 'esm' } };
      return {
        input: join(root, input),
        cwd: root,
        platform: 'node',
        logLevel: 'warn',
        // Loads files beside its own.
        external: ['playwright-core'],
        ...options,
        output: {
          dir: join(root, dirname(file)),
          entryFileNames: basename(file),
          // What is imported on demand is a file of its own, beside the program.
          chunkFileNames: `${basename(file, extname(file))}-[name].js`,
          // Names stay, for stack traces; only what costs a cold start to read goes.
          minify: { compress: false, mangle: false, codegen: true },
          ...(banner ? { banner: chunk => (chunk.isEntry ? banner : '') } : {}),
          ...output,
        },
      };
    }),
  );
  // Dated at the start: an edit during the bundling makes the next run bundle again.
  writeFileSync(stamp, '');
  utimesSync(stamp, started, started);
}

/** Bundles the page of the window (renderer/) where its sources are newer. Rejects with vite's message. */
export async function bundlePage(root) {
  if (!existsSync(join(root, 'renderer', 'index.html'))) return;
  const page = join(root, 'dist', 'renderer', 'index.html');
  const of = ['renderer', 'model', 'build/vite.config.mjs', 'package-lock.json'];
  const latest = Math.max(...of.map(path => newest(join(root, path))));
  if (existsSync(page) && statSync(page).mtimeMs >= latest) return;
  const started = new Date();
  const { build } = await import('vite');
  await build({ configFile: join(root, 'build', 'vite.config.mjs') });
  utimesSync(page, started, started);
}
