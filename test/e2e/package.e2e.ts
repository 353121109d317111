import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readFuses } from '../../build/fuses.mjs';
import { eventually } from '../eventually.ts';
import { QUIET } from '../window-switches.ts';
import { Debugged } from './debugged.ts';
import { launch } from './launch.ts';
import { APPIMAGE, binaryOf, DRIVABLE, environment, HARDENED, processesOf, temporary } from './programs.ts';

/** Width, height and the number of different bytes of a PNG's rows: a blank one has a handful. */
function look(png: Buffer) {
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const data = png.subarray(at + 8, at + 8 + png.readUInt32BE(at));
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(data);
  }
  const bytes = new Set(inflateSync(Buffer.concat(parts)));
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20), bytes: bytes.size };
}

/** What a start that ends by itself says, and its status. AppImages need no FUSE. */
async function run(program: string, args: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const child = spawn(program, args, {
    env: environment({ APPIMAGE_EXTRACT_AND_RUN: '1', TMPDIR: temporary(), ...more }),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', data => {
    stderr += data;
  });
  const code = await new Promise(resolve =>
    child.once('close', (status, signal) => resolve(status ?? signal)),
  );
  return { stderr, code };
}

/** No process of the program is left, nor soon will be. */
async function expectNothingLeft(text: string): Promise<void> {
  await eventually(() => expect(processesOf(text)).toEqual([]));
}

describe('the program as users get it', () => {
  test('its fuses; the drivable one differs in the inspector alone', () => {
    const fuses = readFuses(binaryOf(HARDENED));
    expect(fuses).toMatchObject({
      runAsNode: false,
      enableNodeOptionsEnvironmentVariable: false,
      enableNodeCliInspectArguments: false,
      onlyLoadAppFromAsar: true,
      loadBrowserProcessSpecificV8Snapshot: false,
    });
    // Later than Electron 22.
    expect(fuses.grantFileProtocolExtraPrivileges ?? false).toBe(false);
    expect(readFuses(binaryOf(DRIVABLE))).toEqual({ ...fuses, enableNodeCliInspectArguments: true });
    const [one, other] = [readFileSync(binaryOf(HARDENED)), readFileSync(binaryOf(DRIVABLE))];
    expect(one.length).toBe(other.length);
    let different = 0;
    for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) different++;
    expect(different).toBe(1);
    const files = (program: string) =>
      readdirSync(dirname(program), { recursive: true, encoding: 'utf8' })
        .filter(name => name !== 'pinscope-window')
        .map(name => [name, statSync(join(dirname(program), name)).size]);
    expect(files(DRIVABLE)).toEqual(files(HARDENED));
  });

  test('carries bundles, the addon, the broker and its policy, and no package of node_modules', () => {
    const resources = join(dirname(HARDENED), 'resources');
    const unpacked = readdirSync(join(resources, 'app.asar.unpacked'), { recursive: true, encoding: 'utf8' });
    expect(unpacked.filter(name => name.includes('.') || name.endsWith('broker')).sort()).toEqual([
      'native/build/io.github.pinscope.policy',
      'native/build/pinscope-broker',
      'native/build/pinscope.node',
    ]);
    const broker = join(resources, 'app.asar.unpacked/native/build/pinscope-broker');
    expect(statSync(broker).mode & 0o7777).toBe(0o755);
    expect(existsSync(join(resources, 'app'))).toBe(false);
    // Pickle: three sizes and the length of the header, then the header.
    const archive = readFileSync(join(resources, 'app.asar'));
    const header = JSON.parse(archive.toString('utf8', 16, 16 + archive.readUInt32LE(12)));
    expect(Object.keys(header.files).sort()).toEqual(['build', 'dist', 'native', 'package.json']);
    expect(Object.keys(header.files.dist.files.electron.files)).toEqual([
      'main.cjs',
      'preload.cjs',
      'sampler.cjs',
    ]);
  });

  test('opens a window that shows something, without Node in its page, and ends when that is closed', async () => {
    const program = new Debugged(HARDENED);
    await program.page();
    expect(await program.evaluate('document.title')).toContain('Pinscope');
    expect(await program.evaluate('[typeof require, typeof process, typeof module]')).toEqual(
      Array(3).fill('undefined'),
    );
    const { width, height, bytes } = look(await program.picture());
    expect(width).toBeGreaterThan(400);
    expect(height).toBeGreaterThan(300);
    expect(bytes).toBeGreaterThan(8);
    // Browser, zygotes, page, sampler.
    expect(processesOf(dirname(HARDENED)).length).toBeGreaterThan(3);

    await program.closePage();
    expect(await program.ended).toEqual({ code: 0, signal: null });
    await expectNothingLeft(dirname(HARDENED));
  });

  test('ends on SIGTERM and leaves nothing', async () => {
    const program = new Debugged(HARDENED);
    await program.page();
    process.kill(program.pid, 'SIGTERM');
    expect(await program.ended).toEqual({ code: 0, signal: null });
    await expectNothingLeft(dirname(HARDENED));
  });

  test('opens no inspector: not by option, not by SIGUSR1', async () => {
    // That the drivable one does is what makes silence mean something.
    const drivable = new Debugged(DRIVABLE, ['--inspect=0']);
    await drivable.page();
    expect(drivable.stderr).toContain('Debugger listening on ws://127.0.0.1:');

    const hardened = new Debugged(HARDENED, ['--inspect=0', '--inspect-brk=0']);
    await hardened.page();
    process.kill(hardened.pid, 'SIGUSR1');
    const raced = await Promise.race([hardened.ended, new Promise(resolve => setTimeout(resolve, 1000))]);
    expect(hardened.stderr).not.toContain('Debugger listening');
    // SIGUSR1 without a handler ends a program; with one that is switched off nothing happens. Neither opens a port.
    expect([undefined, { code: null, signal: 'SIGUSR1' }]).toContainEqual(raced);
  });

  test('is no Node: neither by ELECTRON_RUN_AS_NODE nor NODE_OPTIONS', async () => {
    const folder = temporary();
    const mark = join(folder, 'mark');
    const code = `require('fs').writeFileSync(${JSON.stringify(mark)}, '')`;
    const script = join(folder, 'x.cjs');
    spawnSync('sh', ['-c', 'printf %s "$1" > "$2"', 'sh', code, script]);
    const node = new Debugged(HARDENED, ['-e', code], { ELECTRON_RUN_AS_NODE: '1' });
    await node.page();
    await node.closePage();
    await node.ended;
    const options = new Debugged(HARDENED, [], { NODE_OPTIONS: `--require ${script}` });
    await options.page();
    await options.closePage();
    await options.ended;
    expect(existsSync(mark)).toBe(false);
  });

  test('brings its licence and those of the code in it', () => {
    const folder = dirname(HARDENED);
    expect(readFileSync(join(folder, 'LICENSE'), 'utf8')).toContain('The Pinscope authors');
    const licences = readFileSync(join(folder, 'THIRD-PARTY-LICENSES.txt'), 'utf8');
    for (const name of ['svelte', '@lucide/svelte', 'clsx', 'node-addon-api']) {
      expect(licences).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\((MIT|ISC)\\)$`, 'm'));
    }
    expect(licences).toMatch(/^Copyright .*Svelte Contributors/m);
    expect(licences).toMatch(/^Copyright .*Lucide/m);
    // Only what is in it.
    expect(licences).not.toMatch(/^(typescript|electron-builder|playwright-core) /m);
  });

  test.each([
    ['', HARDENED, []],
    [' also without the sandbox', HARDENED, ['--no-sandbox']],
    [' as an AppImage', APPIMAGE, []],
  ] as const)('refuses root in one line%s', async (_, program, args) => {
    // Root of a user namespace is what getuid() calls root, and needs no rights to become.
    const words = ['--user', '--map-root-user', program, ...QUIET, ...args];
    expect(await run('unshare', words)).toEqual({
      stderr:
        'pinscope: the window does not run as root; start it as yourself and grant access to pages inside, or run the terminal program as root\n',
      code: 1,
    });
    await expectNothingLeft(dirname(HARDENED));
  });

  test('refuses to run without its sandbox in one line', async () => {
    const sentence = /^pinscope: the window does not run without its sandbox [^\n]*\n$/;
    const refused = { stderr: expect.stringMatching(sentence), code: 1 };
    expect(await run(HARDENED, [...QUIET, '--no-sandbox'])).toEqual(refused);
    expect(await run(HARDENED, QUIET, { ELECTRON_DISABLE_SANDBOX: '1' })).toEqual(refused);
    // AppRun tries unshare, and adds the word where it fails.
    const folder = temporary();
    writeFileSync(join(folder, 'unshare'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    expect(await run(APPIMAGE, QUIET, { PATH: `${folder}:${process.env.PATH}` })).toEqual(refused);
    await expectNothingLeft(dirname(HARDENED));
  });
});

describe('the AppImage', () => {
  test('starts without FUSE, and leaves neither process nor file', async () => {
    const TMPDIR = temporary();
    const program = new Debugged(APPIMAGE, [], { TMPDIR, APPIMAGE_EXTRACT_AND_RUN: '1' });
    await program.page();
    expect(await program.evaluate('document.title')).toContain('Pinscope');
    expect(look(await program.picture()).bytes).toBeGreaterThan(8);
    expect(processesOf(TMPDIR).length).toBeGreaterThan(3);
    await program.closePage();
    expect(await program.ended).toEqual({ code: 0, signal: null });
    await expectNothingLeft(TMPDIR);
    expect(readdirSync(TMPDIR)).toEqual([]);
  });

  test('its menu entry is valid and does not turn the sandbox off', () => {
    const folder = temporary();
    const done = spawnSync(APPIMAGE, ['--appimage-extract', '*.desktop'], { cwd: folder, encoding: 'utf8' });
    expect(done.status).toBe(0);
    const file = join(folder, 'squashfs-root/pinscope.desktop');
    expect(readFileSync(file, 'utf8')).toMatch(/^Exec=AppRun %U$/m);
    const valid = spawnSync('desktop-file-validate', ['--no-hints', file], { encoding: 'utf8' });
    expect([valid.status, valid.stdout, valid.stderr]).toEqual([0, '', '']);
  });
});

describe('the drivable program', () => {
  test('Playwright reaches main and page, in the sandbox; closing the window leaves nothing', async () => {
    const { app, page } = await launch();
    expect(await page.title()).toContain('Pinscope');
    expect(await app.evaluate(({ app: main }) => [main.isPackaged, main.getName()])).toEqual([
      true,
      'pinscope',
    ]);
    expect(await app.evaluate(() => process.argv.join(' '))).not.toContain('--no-sandbox');
    const closed = new Promise(resolve => app.process().once('exit', (...how) => resolve(how)));
    // After the answer to this call: page.close() waits for one that a program that ends may not give.
    await app.evaluate(({ BrowserWindow }) => {
      setTimeout(() => BrowserWindow.getAllWindows()[0]?.close(), 100);
    });
    expect(await closed).toEqual([0, null]);
    await expectNothingLeft(dirname(DRIVABLE));
  });
});
