import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { isRoot } from '../test/need.ts';
import { readFuses, setFuses } from './fuses.mjs';
import { packagesOf, recordOf, recordPackages, thirdPartyLicences } from './licences.mjs';

const checkout = fileURLToPath(new URL('..', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'pinscope-package-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function write(path: string, text: string | Buffer, mode = 0o644): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

const MARK = 'dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX';
/** A binary whose wire has these states; `wire` may name another format. */
function binary(states: string, wire = 1): string {
  const bytes = [Buffer.from(`before${MARK}`), Buffer.of(wire, states.length), Buffer.from(`${states}after`)];
  return write(join(home, `binary-${wire}-${states}`), Buffer.concat(bytes));
}

describe('fuses', () => {
  test('as Electron 22 has them; a removed one is none', () => {
    expect(readFuses(binary('101r001'))).toEqual({
      runAsNode: true,
      enableCookieEncryption: false,
      enableNodeOptionsEnvironmentVariable: true,
      enableEmbeddedAsarIntegrityValidation: false,
      onlyLoadAppFromAsar: false,
      loadBrowserProcessSpecificV8Snapshot: true,
    });
  });
  test('more than are known are left alone', () => {
    expect(Object.keys(readFuses(binary('1111111111')))).toHaveLength(8);
  });
  test('one is set, and nothing else changes', () => {
    const file = binary('10111011');
    const before = readFileSync(file);
    setFuses(file, { enableNodeCliInspectArguments: false });
    const after = readFileSync(file);
    expect([...after].flatMap((byte, at) => (byte === before[at] ? [] : [at]))).toEqual([
      before.indexOf(MARK) + MARK.length + 2 + 3,
    ]);
    expect(readFuses(file).enableNodeCliInspectArguments).toBe(false);
    setFuses(file, { enableNodeCliInspectArguments: true });
    expect(readFileSync(file)).toEqual(before);
  });
  test('one that this binary does not have', () => {
    const file = binary('1011');
    const before = readFileSync(file);
    expect(() => setFuses(file, { runAsNode: false, onlyLoadAppFromAsar: true })).toThrow(
      /has no fuse onlyLoadAppFrom/,
    );
    expect(readFileSync(file)).toEqual(before);
    expect(() => setFuses(binary('r011'), { runAsNode: true })).toThrow(/has no fuse runAsNode/);
  });
  test.each([
    ['no Electron', () => write(join(home, 'plain'), 'x')],
    ['a newer format', () => binary('1011', 2)],
  ])('%s', (_, file) => expect(() => readFuses(file())).toThrow(/has no fuses of version 1/));
});

describe('the launcher', () => {
  const folder = join(home, 'opt folder');
  const launcher = write(
    join(folder, 'pinscope'),
    readFileSync(join(checkout, 'build/resources/launcher.sh')),
    0o755,
  );
  write(join(folder, 'pinscope-window'), '#!/bin/sh\nprintf "%s\\n" $$ "$0" "$@"\n', 0o755);
  const link = join(home, 'pinscope');
  symlinkSync('opt folder/pinscope', link);
  chmodSync(home, 0o755);
  // As another user where root runs this.
  const user = isRoot ? { uid: 65534, gid: 65534 } : {};

  test.each([
    ['itself', launcher],
    ['a link to it', link],
  ])('by %s: the binary, in the same process, with all words', (_, path) => {
    const { pid, status, stdout, stderr } = spawnSync(path, ['--pid', '12', '', 'a b*'], {
      encoding: 'utf8',
      ...user,
    });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toEqual([
      `${pid}`,
      join(folder, 'pinscope-window'),
      '--pid',
      '12',
      '',
      'a b*',
      '',
    ]);
  });
});

test('the AppArmor profile is electron-builder’s, for the binary that the launcher starts', () => {
  const ours = readFileSync(join(checkout, 'build/resources/apparmor-profile.tpl'), 'utf8');
  const theirs = readFileSync(
    join(checkout, 'node_modules/app-builder-lib/templates/linux/apparmor-profile.tpl'),
    'utf8',
  );
  expect(
    ours
      .replace(/^# .*\n/m, '')
      .replace('}-window"', '}"')
      .trim(),
  ).toBe(theirs.trim());
});

describe('licences of what is bundled', () => {
  test('modules belong to the innermost package, to the bundler, or to nobody else', () => {
    expect(
      packagesOf([
        '/home/a/pinscope/renderer/main.ts',
        '/home/a/pinscope/node_modules/svelte/src/index.js',
        '/home/a/pinscope/node_modules/svelte/src/other.js?x=1',
        '/home/a/pinscope/node_modules/@lucide/svelte/dist/a.svelte',
        '/home/a/pinscope/node_modules/@a/b/node_modules/c/index.js',
        '\0vite/preload-helper.js',
        '\0rolldown/runtime.js',
        '\0/home/a/pinscope/node_modules/clsx/clsx.mjs?commonjs-proxy',
      ]),
    ).toEqual([
      'node_modules/@a/b/node_modules/c',
      'node_modules/@lucide/svelte',
      'node_modules/clsx',
      'node_modules/rolldown',
      'node_modules/svelte',
      'node_modules/vite',
    ]);
  });

  test('texts of the recorded packages and of those that are named, each once', () => {
    const root = join(home, 'licences');
    const pack = (name: string, file: string) => {
      write(
        join(root, 'node_modules', name, 'package.json'),
        JSON.stringify({ name, version: '1.2.3', license: 'MIT' }),
      );
      write(join(root, 'node_modules', name, file), `text of ${name}\n`);
    };
    pack('one', 'LICENSE.md');
    pack('two', 'licence');
    pack('bare', 'README.md');
    recordPackages(root, 'page').generateBundle(null, {
      'a.js': { type: 'chunk', moduleIds: [join(root, 'node_modules/one/x.js')] },
      'a.css': { type: 'asset' },
    });
    expect(JSON.parse(readFileSync(join(root, recordOf('page')), 'utf8'))).toEqual(['node_modules/one']);
    const text = thirdPartyLicences(root, ['page'], ['node_modules/two', 'node_modules/one']);
    expect(text.match(/^(one|two) 1\.2\.3 \(MIT\)\n\ntext of \1$/gm)).toHaveLength(2);
    expect(() => thirdPartyLicences(root, ['page', 'main'], [])).toThrow(
      'dist/packages/main.json is missing',
    );
    expect(() => thirdPartyLicences(root, [], ['node_modules/bare'])).toThrow(
      'bare is in the program and node_modules/bare has no licence file',
    );
  });
});

describe('package.mjs refuses in a sentence, before it builds', () => {
  const root = join(home, 'checkout');
  cpSync(join(checkout, 'build'), join(root, 'build'), { recursive: true });
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'));
  const content = [
    'dist/electron/main.cjs',
    'dist/electron/preload.cjs',
    'dist/electron/sampler.cjs',
    'dist/renderer/index.html',
    'native/build/pinscope.node',
    'native/build/pinscope-broker',
    'native/build/io.github.pinscope.policy',
  ];
  for (const path of content) write(join(root, path), '');
  const metadata = (more = {}) =>
    write(
      join(root, 'package.json'),
      JSON.stringify({ name: 'pinscope', type: 'module', devDependencies: { electron: '9.9.9' }, ...more }),
    );
  const electron = (name: string) => write(join(home, 'runtime', name), '#!/bin/sh\necho 9.9.9\n', 0o755);

  function refuses(words: readonly string[], env: NodeJS.ProcessEnv = {}): string {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'build/package.mjs'), ...words],
      {
        encoding: 'utf8',
        env: { PATH: '/nonexistent', HOME: home, PINSCOPE_ELECTRON: electron('electron'), ...env },
      },
    );
    expect([status, stdout]).toEqual([1, '']);
    return stderr.replace(/^pinscope: .*\n/, '');
  }

  test.each([
    [['--fast'], '--fast is no option; options are --e2e and --appimage.'],
    [['--release', 'snap'], 'snap is no target; targets are AppImage, deb, rpm, tar.gz.'],
  ])('%j', (words, sentence) => expect(refuses(words)).toBe(`pinscope package: ${sentence}\n`));

  test('something was not built', () => {
    metadata();
    rmSync(join(root, 'native/build/pinscope-broker'));
    expect(refuses([])).toBe(
      'pinscope package: native/build/pinscope-broker not built: run npm run setup.\n',
    );
    write(join(root, 'native/build/pinscope-broker'), '');
  });

  test('a runtime of another name', () => {
    metadata();
    expect(refuses([], { PINSCOPE_ELECTRON: electron('electron22') })).toMatch(
      /^pinscope package: .*\/electron22 must be named electron to be packaged \(PINSCOPE_ELECTRON\)\.\n$/,
    );
  });

  test('7za is missing', () => {
    metadata();
    expect(
      refuses([], { PATH: write(join(home, 'bin/sh'), '#!/bin/sh\nexit 1\n', 0o755).slice(0, -3) }),
    ).toBe(
      'pinscope package: 7za is missing and packs archives; install the package p7zip-full (sudo apt install p7zip-full).\n',
    );
  });

  test('what users get, on the stand-in', () => {
    metadata();
    const cache = join(home, '.cache/pinscope/electron');
    write(join(cache, '22.3.25-standin/electron'), '', 0o755);
    write(join(cache, '9.9.9.failed'), 'out of reach');
    expect(refuses(['--release'], { PINSCOPE_ELECTRON: '' })).toBe(
      'pinscope package: what users get is not built on the stand-in, which is out of support; fetch the pinned Electron (npm run electron), or set PINSCOPE_ALLOW_STANDIN=1 to try packaging itself.\n',
    );
  });

  test('deb and rpm without a maintainer, then without fpm', () => {
    metadata();
    expect(refuses(['--release', 'deb'])).toMatch(
      /^pinscope package: deb must name a maintainer and a home page: put /,
    );
    metadata({ author: { name: 'A', email: 'a@b.example' }, homepage: 'https://b.example' });
    expect(refuses(['--release'])).toBe(
      'pinscope package: fpm is missing and makes deb and rpm; install it (gem install fpm), or name other targets (npm run dist -- AppImage tar.gz).\n',
    );
  });
});
