import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { isRoot, lacks } from '../test/need.ts';

const build = fileURLToPath(new URL('.', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'pinscope-start-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const checkout = join(home, 'checkout');
const runtime = join(home, 'runtime');
const window = join(checkout, 'dist/electron/main.cjs');

function write(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
}

/** What the window is told of the terminal program. */
const program = `program '${process.execPath}' '${join(checkout, 'dist/cli/pinscope.js')}'`;

/** Answers as Electron where it is asked, else tells how it was started. */
const ELECTRON = `#!/bin/sh
[ "$ELECTRON_RUN_AS_NODE" = 1 ] && echo 9.9.9 && exit
echo "window $0 $*"; echo "notice $PINSCOPE_RUNTIME_NOTICE"; echo "program $PINSCOPE_PROGRAM"; exec sh -c "$BEHAVE"
`;

for (const name of ['start.mjs', 'run-folder.mjs', 'electron-runtime.mjs', 'electron-stand-in.mjs']) {
  mkdirSync(join(checkout, 'build'), { recursive: true });
  cpSync(join(build, name), join(checkout, 'build', name));
}
write(
  join(checkout, 'package.json'),
  JSON.stringify({ type: 'module', devDependencies: { electron: '9.9.9' } }),
);
write(join(checkout, 'dist/cli/pinscope.js'), "console.log('terminal', ...process.argv.slice(2));\n");
// Another name than the window's own, as a distribution's might have.
write(join(runtime, 'electron22'), ELECTRON, 0o755);
write(join(runtime, 'resources.pak'), 'pak');
write(join(runtime, 'resources/default_app.asar'), 'theirs');
beforeEach(() => {
  write(window, '');
  spawnSync('chown', ['-R', '65534', home]);
});

/** No window runs as root, so a test that root runs starts as somebody else. */
const user = isRoot ? { uid: 65534, gid: 65534 } : {};
const allowed = spawnSync(process.execPath, ['-v'], user).status === 0;

/** How a start without a window goes on. */
const BROWSER = 'so this is the console in a browser; npm start -- list is the terminal program';

interface Options {
  readonly env?: NodeJS.ProcessEnv;
  readonly root?: boolean;
}
function environment(env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const base = { PATH: process.env.PATH, HOME: home, DISPLAY: ':1', BEHAVE: 'exit 0' };
  return { ...base, PINSCOPE_ELECTRON: join(runtime, 'electron22'), ...env };
}
function start(words: readonly string[], { env, root }: Options = {}) {
  const child = spawnSync(process.execPath, [join(checkout, 'build/start.mjs'), ...words], {
    encoding: 'utf8',
    env: environment(env),
    ...(root ? {} : user),
  });
  return { status: child.status, stdout: child.stdout, stderr: child.stderr };
}

describe.skipIf(lacks('a node that every user may run', allowed))('npm start', () => {
  const electron = join(checkout, 'dist/electron-run/electron');

  test('a display: the window, with its words, from a folder with the checkout as its app', () => {
    expect(start(['--pid', '12'])).toEqual({
      status: 0,
      stdout: `window ${electron} --pid 12\nnotice \n${program}\n`,
      stderr: `pinscope: Electron 9.9.9 (${runtime}/electron22)\n`,
    });
    expect(lstatSync(electron).isFile()).toBe(true);
    expect(readFileSync(join(checkout, 'dist/electron-run/resources.pak'), 'utf8')).toBe('pak');
    expect(existsSync(join(checkout, 'dist/electron-run/resources/default_app.asar'))).toBe(false);
    expect(readlinkSync(join(checkout, 'dist/electron-run/resources/app'))).toBe(checkout);
  });

  test('the folder is made once, and again for another runtime', () => {
    const made = () => statSync(join(checkout, 'dist/electron-run')).ino;
    start([]);
    const first = made();
    start([]);
    expect(made()).toBe(first);
    write(
      join(home, 'other/electron'),
      ELECTRON.replace('9.9.9', '8.0.0').replace('window', 'other window'),
      0o755,
    );
    const { stdout } = start([], { env: { PINSCOPE_ELECTRON: join(home, 'other/electron') } });
    expect(stdout).toBe(
      `other window ${electron} \nnotice Runs on Electron 8.0.0 of PINSCOPE_ELECTRON; it is made for 9.9.9.\n${program}\n`,
    );
    expect(start([]).stdout).toMatch(/^window/);
  });

  test('Wayland alone: Electron is told to look', () => {
    const { stdout } = start([], { env: { DISPLAY: '', WAYLAND_DISPLAY: 'wayland-0' } });
    expect(stdout).toMatch(/^window .* --ozone-platform-hint=auto\n/);
  });

  test.each([
    ['exit 3', 3],
    ['kill -TERM $$', 143],
  ])('the window ends with: %s', (BEHAVE, status) => {
    expect(start([], { env: { BEHAVE } }).status).toBe(status);
  });

  test('SIGTERM reaches the window', async () => {
    const child = spawn(process.execPath, [join(checkout, 'build/start.mjs')], {
      env: environment({ BEHAVE: "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.05; done" }),
      stdio: ['ignore', 'pipe', 'ignore'],
      ...user,
    });
    let text = '';
    child.stdout.on('data', data => {
      text += data;
      if (text.includes('ready') && !text.includes('told')) child.kill('SIGTERM');
    });
    const code = await new Promise(resolve => child.on('close', resolve));
    expect(code).toBe(5);
    expect(text).toContain('told');
  });

  test('no user namespaces: a sentence when the sandbox has ended the window', () => {
    write(join(home, 'bin/unshare'), '#!/bin/sh\nexit 1\n', 0o755);
    const PATH = `${join(home, 'bin')}:${process.env.PATH}`;
    const { status, stderr } = start([], { env: { PATH, BEHAVE: 'kill -TRAP $$' } });
    expect(status).toBe(133);
    expect(stderr).toMatch(/\npinscope: the window needs user namespaces for its sandbox.*\n$/);
    write(join(home, 'bin/unshare'), '#!/bin/sh\nexit 0\n', 0o755);
    expect(start([], { env: { PATH, BEHAVE: 'kill -TRAP $$' } }).stderr).not.toContain('user namespaces');
  });

  test.each([
    [[], 'terminal serve\n'],
    [['--pid', '12'], 'terminal serve --pid 12\n'],
  ])('no display: the console in a browser, and why (%j)', (words, stdout) => {
    const { status, stdout: printed, stderr } = start(words, { env: { DISPLAY: '' } });
    expect({ status, printed }).toEqual({ status: 0, printed: stdout });
    expect(stderr).toBe(
      `pinscope: there is no display (in a desktop session, or with DISPLAY or WAYLAND_DISPLAY set, npm start opens the window), ${BROWSER}\n`,
    );
  });

  test('no window was bundled', () => {
    rmSync(window);
    expect(start([])).toEqual({
      status: 0,
      stdout: 'terminal serve\n',
      stderr: `pinscope: dist/electron/main.cjs is not there (npm run setup makes it), ${BROWSER}\n`,
    });
  });

  test('no runtime', () => {
    const { stdout, stderr } = start([], { env: { PINSCOPE_ELECTRON: '/nonexistent' } });
    expect(stdout).toBe('terminal serve\n');
    expect(stderr).toMatch(
      /^pinscope: no window can be had \(PINSCOPE_ELECTRON is \/nonexistent, .*[^.]\), so this is the console in a browser; .*\n$/,
    );
  });

  test.each([[['list', '--json']], [['--help']]])(
    'words of the terminal program go there, display or not: %j',
    words => {
      expect(start(words)).toEqual({ status: 0, stdout: `terminal ${words.join(' ')}\n`, stderr: '' });
    },
  );
});

test.skipIf(lacks('root', isRoot))('root gets the console in a browser, and why', () => {
  expect(start([], { root: true })).toEqual({
    status: 0,
    stdout: 'terminal serve\n',
    stderr: `pinscope: a window does not run as root (as an ordinary user, npm start opens it), ${BROWSER}\n`,
  });
});
