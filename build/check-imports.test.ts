import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const script = fileURLToPath(new URL('./check-imports.mjs', import.meta.url));
const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

/** Checks a tree of these files. */
function check(files: Record<string, string>) {
  const dir = mkdtempSync(join(tmpdir(), 'pinscope-imports-'));
  dirs.push(dir);
  execFileSync('git', ['init', '--quiet', dir]);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { cwd: dir, encoding: 'utf8' });
  return { status, stdout, complaints: stderr.split('\n').filter(line => line !== '') };
}
const some = { 'model/a.ts': '', 'sampler/a.ts': '', 'native/index.ts': '', 'model/units.ts': '' };

test('what the table allows passes', () => {
  const { status, stdout, complaints } = check({
    ...some,
    'model/b.ts': "import { a } from './a.ts';\nexport type { b } from './units.ts';",
    'sampler/b.ts':
      "import fs from 'node:fs';\nimport type { N } from '../native/index.ts';\nimport '../model/a.ts';",
    'cli/b.ts':
      "import '../sampler/a.ts';\nimport { Command } from 'commander';\nconst c = await import('./c.ts');",
    'cli/c.ts': "import pc from 'picocolors';",
    'build/b.mjs': "import ts from 'typescript';\nimport { x } from 'node:path';",
    'config.ts': "import 'anything';",
  });
  expect({ status, complaints }).toEqual({ status: 0, complaints: [] });
  expect(stdout).toMatch(/^imports: 10 files follow the table\n$/);
});

describe('what it does not is refused, with the file and the import', () => {
  test.each([
    [
      'the model needs Node',
      'model/b.ts',
      "import { readFileSync } from 'node:fs';",
      /may not import node:fs/,
    ],
    ['… in the old spelling', 'model/b.ts', "import fs from 'fs';", /may not import fs /],
    [
      'the model needs the sampler',
      'model/b.ts',
      "import '../sampler/a.ts';",
      /may not import \.\.\/sampler\/a\.ts/,
    ],
    ['only a type', 'model/b.ts', "import type { A } from '../sampler/a.ts';", /may not import/],
    ['passed on', 'model/b.ts', "export * from '../sampler/a.ts';", /may not import/],
    ['on demand', 'model/b.ts', "const a = await import('../sampler/a.ts');", /may not import/],
    ['a package', 'sampler/b.ts', "import { Command } from 'commander';", /may not import commander/],
    [
      'a part of a package',
      'sampler/b.ts',
      "import x from '@scope/name/part';",
      /may not import @scope\/name\/part/,
    ],
    [
      'the addon’s inside',
      'sampler/b.ts',
      "import '../native/other.ts';",
      /may not import \.\.\/native\/other\.ts/,
    ],
    ['the terminal program goes to the addon', 'cli/b.ts', "import '../native/index.ts';", /may not import/],
    [
      'a file that is not there',
      'sampler/b.ts',
      "import './gone.ts';",
      /sampler\/b\.ts: \.\/gone\.ts does not exist/,
    ],
    ['a folder of no row', 'other/b.ts', '', /folder other\/ has no row in build\/check-imports\.mjs/],
    [
      'the addon by its file',
      'sampler/b.ts',
      "load('../native/build/pinscope.node');",
      /only native\/index\.ts knows/,
    ],
  ])('%s', (_, path, text, complaint) => {
    const { status, complaints, stdout } = check({ ...some, 'native/other.ts': '', [path]: text });
    expect([status, stdout, complaints.length]).toEqual([1, '', 1]);
    expect(complaints[0]).toMatch(complaint);
    expect(complaints[0]).toContain(path.startsWith('other/') ? 'other/' : `${path}: `);
  });
});

test('every offence is told at once', () => {
  const { complaints } = check({
    'model/a.ts': "import 'node:fs';\nimport 'commander';",
    'model/b c\nd.ts': "import 'node:os';",
  });
  expect(complaints.filter(line => line.includes('may not import'))).toHaveLength(3);
});

test('tests may reach for anything', () => {
  expect(
    check({
      'model/a.test.ts': "import 'node:fs';\nimport 'vitest';\nimport '../sampler/x.ts';",
      'test/b.ts': "import 'anything';",
    }).status,
  ).toBe(0);
});

test('what git ignores is not looked at', () => {
  expect(check({ '.gitignore': 'gone/\n', 'gone/a.ts': "import 'x';", 'model/a.ts': '' }).status).toBe(0);
});
