// Bundles every program of the checkout into one file each, so that a cold start opens few files.
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const programs = [
  { input: 'cli/pinscope.ts', file: 'dist/cli/pinscope.js', banner: '#!/usr/bin/env node' },
  { input: 'test/bench/bench.ts', file: 'dist/bench/bench.js' },
  { input: 'test/rig/rig.ts', file: 'dist/rig/rig.js' },
  { input: 'test/rig/inside.ts', file: 'dist/rig/inside.js' },
];
const sources = ['model', 'native', 'sampler', 'cli', 'test', 'build', 'package.json', 'package-lock.json'];

/** When a source below a path last changed; a directory changes when a file in it comes or goes. */
function newest(path) {
  // An editor's lock may be a link to nowhere.
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return /\.(ts|mjs|json)$/.test(path) ? stat.mtimeMs : 0;
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
    wanted.map(({ input, file, banner }) => ({
      input: join(root, input),
      cwd: root,
      platform: 'node',
      logLevel: 'warn',
      output: {
        dir: join(root, dirname(file)),
        entryFileNames: basename(file),
        // What is imported on demand is a file of its own, beside the program.
        chunkFileNames: `${basename(file, '.js')}-[name].js`,
        format: 'esm',
        // Names stay, for stack traces; only what costs a cold start to read goes.
        minify: { compress: false, mangle: false, codegen: true },
        ...(banner ? { banner: chunk => (chunk.isEntry ? banner : '') } : {}),
      },
    })),
  );
  // Dated at the start: an edit during the bundling makes the next run bundle again.
  writeFileSync(stamp, '');
  utimesSync(stamp, started, started);
}
