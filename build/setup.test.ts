import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const checkout = fileURLToPath(new URL('..', import.meta.url));
const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

type Tool = 'npm' | 'make' | 'g++';
const TOOLS: readonly Tool[] = ['npm', 'make', 'g++'];

/** A small checkout with the real build scripts, and tools that only write down how they were called. */
class Checkout {
  readonly root = mkdtempSync(join(tmpdir(), 'pinscope-setup-'));
  private readonly log = join(this.root, 'calls.txt');
  private readonly bin = join(this.root, 'bin');

  constructor(tools: readonly Tool[] = TOOLS) {
    dirs.push(this.root);
    for (const name of ['bundle.mjs', 'licences.mjs', 'setup.mjs']) {
      cpSync(join(checkout, 'build', name), join(this.root, 'build', name));
    }
    this.write('package.json', JSON.stringify({ type: 'module', engines: { node: '>=20.19' } }));
    this.write('package-lock.json', '{"lock":1}');
    this.write('cli/pinscope.ts', "import { answer } from '../model/a.ts';\nconsole.log(answer);\n");
    this.write('model/a.ts', 'export const answer: number = 42;\n');
    for (const folder of ['native', 'sampler', 'test']) this.write(`${folder}/x.ts`, '');
    // Its own directory: setup leaves a mark in it.
    mkdirSync(join(this.root, 'node_modules'));
    for (const name of readdirSync(join(checkout, 'node_modules'))) {
      if (!name.startsWith('.')) {
        symlinkSync(join(checkout, 'node_modules', name), join(this.root, 'node_modules', name));
      }
    }
    mkdirSync(this.bin);
    for (const tool of tools) this.tool(tool, 0);
    this.settle();
  }

  /** Makes `tool` answer with this code. */
  tool(tool: Tool, code: number): void {
    const file = join(this.bin, tool);
    writeFileSync(
      file,
      `#!/bin/sh\n[ "$1" = --version ] && exit 0\necho ${tool} "$@" >> '${this.log}'\nexit ${code}\n`,
    );
    chmodSync(file, 0o755);
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  /** As if everything here had been written a while ago. */
  settle(): void {
    const past = new Date(Date.now() - 60_000);
    for (const name of readdirSync(this.root, { recursive: true, encoding: 'utf8' })) {
      if (!/^(node_modules|dist|bin)/.test(name)) utimesSync(join(this.root, name), past, past);
    }
  }

  setup(...args: readonly string[]) {
    const child = spawnSync(process.execPath, [join(this.root, 'build/setup.mjs'), ...args], {
      encoding: 'utf8',
      env: { PATH: this.bin },
    });
    const calls = existsSync(this.log) ? readFileSync(this.log, 'utf8').trimEnd().split('\n') : [];
    rmSync(this.log, { force: true });
    return { status: child.status, stdout: child.stdout, stderr: child.stderr, calls };
  }

  get program(): string {
    return join(this.root, 'dist/cli/pinscope.js');
  }
}

describe('something is missing: one sentence that names the package', () => {
  test.each([
    [
      'g++',
      'pinscope setup: g++ is missing and builds the addon; install the package g++ (sudo apt install g++).\n',
    ],
    [
      'make',
      'pinscope setup: make is missing and builds the addon; install the package make (sudo apt install make).\n',
    ],
    [
      'npm',
      'pinscope setup: npm is missing and fetches the libraries; install the package npm (sudo apt install npm).\n',
    ],
  ] as const)('%s', (tool, sentence) => {
    const setup = new Checkout(TOOLS.filter(name => name !== tool)).setup();
    expect(setup).toEqual({ status: 1, stdout: '', stderr: sentence, calls: [] });
  });

  test('nothing is there: the first of them', () => {
    expect(new Checkout([]).setup().stderr.split('\n')).toHaveLength(2);
  });

  test.each(['>=99.0', `>=${process.versions.node.split('.')[0]}.999`])('Node %s', wanted => {
    const made = new Checkout();
    made.write('package.json', JSON.stringify({ engines: { node: wanted } }));
    expect(made.setup()).toEqual({
      status: 1,
      stdout: '',
      stderr: `pinscope setup: Node ${wanted.slice(2)} or newer is needed and this is ${process.versions.node}; install a newer nodejs package.\n`,
      calls: [],
    });
  });
});

describe('a fresh checkout', () => {
  const made = new Checkout();
  test('libraries, addon, bundle, and nothing on standard output', () => {
    const { status, stdout, stderr, calls } = made.setup();
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: '',
      stderr: 'pinscope setup: installing dependencies\n',
    });
    expect(calls).toEqual([expect.stringMatching(/^npm install .*--no-save/), 'make --silent -C native']);
    expect(spawnSync(process.execPath, [made.program], { encoding: 'utf8' }).stdout).toBe('42\n');
    expect(readFileSync(made.program, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
  });
  test('a second time nothing is fetched and nothing bundled', () => {
    const before = statSync(made.program).mtimeMs;
    expect(made.setup()).toEqual({ status: 0, stdout: '', stderr: '', calls: ['make --silent -C native'] });
    expect(statSync(made.program).mtimeMs).toBe(before);
  });
  test('npm is not needed then', () => {
    rmSync(join(made.root, 'bin/npm'));
    expect(made.setup().status).toBe(0);
    made.tool('npm', 0);
  });
  test('helper programs of a folder when asked', () => {
    expect(made.setup('test/rig').calls).toEqual(['make --silent -C native', 'make --silent -C test/rig']);
  });
  test('another lock file: libraries are fetched again', () => {
    appendFileSync(join(made.root, 'package-lock.json'), '\n');
    expect(made.setup().calls[0]).toMatch(/^npm install/);
    expect(made.setup().calls).toEqual(['make --silent -C native']);
  });
  test('libraries that could not be fetched are not taken for fetched', () => {
    appendFileSync(join(made.root, 'package-lock.json'), '\n');
    made.tool('npm', 1);
    for (let i = 0; i < 2; i++) {
      const { status, stderr } = made.setup();
      expect(status).toBe(1);
      expect(stderr).toMatch(
        /\npinscope setup: npm install failed \(npm install .*\); its message is above\.\n$/,
      );
    }
    made.tool('npm', 0);
    expect(made.setup().status).toBe(0);
  });
  test('an addon that does not build', () => {
    made.tool('make', 2);
    expect(made.setup()).toMatchObject({
      status: 1,
      stderr: 'pinscope setup: building the addon failed (make --silent -C native); its message is above.\n',
    });
    made.tool('make', 0);
  });
  test('a source with an error: told, and the old program stays', () => {
    made.write('model/a.ts', 'export const answer = = 42;\n');
    const { status, stderr, stdout } = made.setup();
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^pinscope setup: bundling failed: /);
    expect(existsSync(made.program)).toBe(true);
    made.write('model/a.ts', 'export const answer: number = 43;\n');
    expect(made.setup().status).toBe(0);
    expect(spawnSync(process.execPath, [made.program], { encoding: 'utf8' }).stdout).toBe('43\n');
  });
});

describe('bundling again', () => {
  const made = new Checkout();
  made.setup();
  /** Whether setup bundles after this change. */
  function rebundles(change: () => void): boolean {
    made.settle();
    const long = new Date(Date.now() - 30_000);
    for (const file of [made.program, join(made.root, 'dist/.bundled')]) utimesSync(file, long, long);
    const before = statSync(made.program).mtimeMs;
    change();
    expect(made.setup()).toMatchObject({ status: 0, stderr: '' });
    return statSync(made.program).mtimeMs !== before;
  }
  const touch = (path: string) => () => utimesSync(join(made.root, path), new Date(), new Date());

  test.each([
    ['nothing changed', () => {}, false],
    ['a source was touched', touch('model/a.ts'), true],
    ['the script itself was', touch('build/bundle.mjs'), true],
    ['the program is gone', () => rmSync(made.program), true],
    ['a source came', () => made.write('sampler/new.ts', ''), true],
    ['a source went', () => rmSync(join(made.root, 'sampler/new.ts')), true],
    ['the addon was built', () => made.write('native/build/pinscope.node', 'x'), true],
    ['the addon was built again', () => made.write('native/build/other.o', 'x'), false],
    ['a host was recorded', () => made.write('test/fixtures/linux/proc/x.json', 'x'), true],
    ['a host was recorded again', () => made.write('test/fixtures/linux/proc/y.json', 'x'), false],
    ['a picture was touched', touch('calls.png'), false],
    ['an editor locked a file', () => symlinkSync('user@host.123', join(made.root, 'model/.#a.ts')), true],
  ])('%s', (_, change, expected) => {
    made.write('calls.png', '');
    expect(rebundles(change)).toBe(expected);
    rmSync(join(made.root, 'model/.#a.ts'), { force: true });
  });
});

test("the window's programs: one CommonJS file each that knows its place and version", () => {
  const made = new Checkout();
  made.write(
    'package.json',
    JSON.stringify({
      type: 'module',
      version: '1.2.3',
      engines: { node: '>=20.19' },
      devDependencies: { electron: '45.4.1' },
    }),
  );
  made.write(
    'electron/main.ts',
    `declare const PINSCOPE_VERSION: string, PINSCOPE_ELECTRON: string;
     import('../model/a.ts').then(({ answer }) => console.log([PINSCOPE_VERSION, PINSCOPE_ELECTRON, answer].join()));`,
  );
  made.write('electron/preload.ts', "import { ipcRenderer } from 'electron';\nipcRenderer.send('x');\n");
  made.write(
    'sampler/utility.ts',
    "import { createRequire } from 'node:module';\nconsole.log(import.meta.url, typeof createRequire(import.meta.url));\n",
  );
  expect(made.setup()).toMatchObject({ status: 0, stdout: '' });
  const folder = join(made.root, 'dist/electron');
  expect(readdirSync(folder).sort()).toEqual(['main.cjs', 'preload.cjs', 'sampler.cjs']);
  const run = (name: string) =>
    spawnSync(process.execPath, [join(folder, name)], { encoding: 'utf8' }).stdout.trim();
  expect(run('main.cjs')).toBe('1.2.3,45.4.1,42');
  expect(run('sampler.cjs')).toBe(`${pathToFileURL(join(folder, 'sampler.cjs'))} function`);
  expect(readFileSync(join(folder, 'preload.cjs'), 'utf8')).toMatch(/require\(["'`]electron["'`]\)/);
});
