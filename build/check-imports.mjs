// Who may import whom, as an allow-list (docs/ARCHITECTURE.md has the table with the reasons). Run by `npm run check`.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/** Folder → what its files may import: paths of the checkout by prefix, `node`, packages by name. */
const allowed = {
  model: ['model/'],
  native: ['native/', 'model/units.ts', 'node'],
  sampler: ['sampler/', 'model/', 'native/index.ts', 'node'],
  cli: ['cli/', 'model/', 'sampler/', 'node', 'commander', 'picocolors', 'string-width', 'ws'],
  electron: [
    'electron/',
    'model/contract.ts',
    'model/commands.ts',
    'model/page-files.ts',
    'node',
    'electron',
  ],
  renderer: ['renderer/', 'model/', 'svelte', '@lucide/svelte', 'bits-ui', 'uplot'],
  build: [
    'build/',
    'node',
    'rolldown',
    'typescript',
    'vite',
    '@sveltejs/vite-plugin-svelte',
    'electron-builder',
  ],
  test: ['*'],
};
/** Tests sit beside what they test and may reach for anything. */
const isTest = path => path.startsWith('test/') || /\.test\.ts$/.test(path);

function targetOf(from, specifier) {
  if (specifier.startsWith('.')) return normalize(join(dirname(from), specifier));
  if (specifier.startsWith('node:') || builtinModules.includes(specifier)) return 'node';
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

const patterns = ['*.ts', '*.mjs', '*.svelte'];
const files = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard', ...patterns], {
  encoding: 'utf8',
})
  .split('\0')
  .filter(path => path && existsSync(path));
const complaints = [];
for (const path of files) {
  const folder = path.split('/')[0];
  if (!path.includes('/') || isTest(path)) continue;
  const text = readFileSync(path, 'utf8');
  if (!(folder in allowed)) {
    complaints.push(`${path}: the folder ${folder}/ has no row in build/check-imports.mjs`);
    continue;
  }
  for (const { fileName: specifier } of ts.preProcessFile(text, true, true).importedFiles) {
    const target = targetOf(path, specifier);
    if (!allowed[folder].some(rule => (rule.endsWith('/') ? target.startsWith(rule) : target === rule))) {
      complaints.push(
        `${path}: may not import ${specifier} (${folder}/ may import ${allowed[folder].join(', ')})`,
      );
    }
    if (specifier.startsWith('.') && !existsSync(target))
      complaints.push(`${path}: ${specifier} does not exist`);
  }
  if (path !== 'native/index.ts' && folder !== 'build' && /['"`/]pinscope\.node\b/.test(text)) {
    complaints.push(`${path}: only native/index.ts knows where the addon is`);
  }
}
if (complaints.length > 0) {
  process.stderr.write(`${complaints.join('\n')}\n`);
  process.exit(1);
}
process.stdout.write(`imports: ${files.length} files follow the table\n`);
