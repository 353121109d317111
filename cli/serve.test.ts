import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { BROWSER_SHELL } from '../model/contract.ts';
import { eventually } from '../test/eventually.ts';
import { ask, GoodPage, openSocket, partsOf } from '../test/served.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'dist/cli/pinscope.js');
beforeAll(() => {
  expect(spawnSync(process.execPath, [join(root, 'build/setup.mjs')]).status).toBe(0);
});

interface Started {
  readonly child: ChildProcessWithoutNullStreams;
  readonly url: string;
  stdout(): string;
  stderr(): string;
}

/** Starts `pinscope serve` and waits for its address. */
async function serve(args: readonly string[] = [], file = program): Promise<Started> {
  const child = spawn(process.execPath, [file, 'serve', ...args]);
  onTestFinished(() => void child.kill('SIGKILL'));
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', data => {
    stdout += data;
  });
  child.stderr.on('data', data => {
    stderr += data;
  });
  await eventually(() => expect(stderr).toContain('Ctrl-C'));
  return { child, url: stdout.trim(), stdout: () => stdout, stderr: () => stderr };
}
const refused = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'serve', ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, stdout, stderr };
};
const rss = ({ pid }: ChildProcessWithoutNullStreams): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;

describe('pinscope serve', () => {
  test('prints the address alone, says how it is reached, and ends by a signal', async () => {
    const { child, url, stdout, stderr } = await serve(['--pid', String(process.pid)]);
    const { port, token, origin } = partsOf(url);
    expect(stdout()).toBe(`http://127.0.0.1:${port}/#${token}\n`);
    expect(stderr()).toContain(`\n  ssh -L ${port}:127.0.0.1:${port} `);
    expect(stderr()).not.toContain('WARNING');
    expect(stderr()).not.toContain(token);
    expect(
      stderr()
        .split('\n')
        .every(line => line.length <= 110),
    ).toBe(true);
    expect((await ask(port, '/')).text).toContain('<meta name="pinscope-shell" content="browser" />');
    const { text } = await ask(port, BROWSER_SHELL.startup, {
      method: 'POST',
      headers: { origin, authorization: `Bearer ${token}` },
    });
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(JSON.parse(text)).toEqual({
      ...{ version, runtimeNotice: null, open: { pid: process.pid } },
      program: expect.stringMatching(/node\S* \S+dist\/cli\/pinscope\.js$/),
    });
    const page = openSocket(url);
    await once(page, 'open');
    const ended = once(child, 'close');
    child.kill('SIGINT');
    expect(await once(page, 'close')).toEqual([1001, Buffer.from('the server was stopped')]);
    expect(await ended).toEqual([0, null]);
    expect(stdout()).toBe(`${url}\n`);
    // Nothing of a request is logged.
    expect(stderr()).not.toContain(token);
  });

  test('--listen elsewhere warns, and names the tunnel', async () => {
    const { child, url, stderr } = await serve(['--listen', '0.0.0.0']);
    const { port } = partsOf(url);
    expect(stderr()).toContain('WARNING: other machines reach this address');
    expect(stderr()).toContain(`\n  ssh -L ${port}:127.0.0.1:${port} `);
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  test('needs no package of the checkout', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pinscope-alone-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    cpSync(join(root, 'dist/cli'), join(folder, 'dist/cli'), { recursive: true });
    cpSync(join(root, 'dist/renderer'), join(folder, 'dist/renderer'), { recursive: true });
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    symlinkSync(join(root, 'native'), join(folder, 'native'));
    const { url } = await serve([], join(folder, 'dist/cli/pinscope.js'));
    const page = new GoodPage(url);
    await eventually(() => expect(page.messages[0]).toMatchObject({ event: { type: 'hello' } }));
    page.socket.terminate();
  });

  test('a message of 100 MB is not kept', async () => {
    const { child, url } = await serve();
    const good = new GoodPage(url);
    await eventually(() => expect(good.messages.length).toBeGreaterThan(1));
    const before = rss(child);
    let highest = before;
    const watch = setInterval(() => {
      highest = Math.max(highest, rss(child));
    }, 5);
    const bad = openSocket(url);
    bad.on('error', () => {});
    await once(bad, 'open');
    bad.send('x'.repeat(100 * 1024 * 1024));
    await once(bad, 'close');
    clearInterval(watch);
    // Chunks that are read and dropped are collected now and then; all of it would be more than 100.
    expect(highest - before).toBeLessThan(60);
    const heard = good.messages.length;
    await eventually(() => expect(good.messages.length).toBeGreaterThan(heard));
    good.socket.terminate();
  });
});

describe('what cannot be', () => {
  test.each([
    [['--port', '65536'], /--port <port>' argument '65536' is invalid. It must be from 0 to 65535/],
    [['--port', 'http'], /--port/],
    [['--listen', '127.0.0.1/8'], /--listen <address>' argument '127\.0\.0\.1\/8' is invalid/],
    [['--pid', '-1'], /--pid/],
    [['--grant', 'all'], /Allowed choices are kernel-memory, pages/],
    [['--token', 'mine'], /unknown option '--token'/],
  ])('%j: usage', (args, message) => {
    const { status, stdout, stderr } = refused(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
  });

  test('a port that is taken, an address that is none of ours', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const first = refused('--port', String(port));
    expect([first.status, first.stdout]).toEqual([1, '']);
    expect(first.stderr).toMatch(
      /^pinscope: listen EADDRINUSE.*another program listens there; give another --port, or none\n$/,
    );
    taken.close();
    const second = refused('--listen', '192.0.2.1');
    expect(second.status).toBe(1);
    expect(second.stderr).toMatch(
      /^pinscope: listen EADDRNOTAVAIL.*--listen takes an address of this machine\n$/,
    );
  });

  test('rights to pages of no process', () => {
    expect(refused('--grant', 'pages')).toEqual({
      status: 2,
      stdout: '',
      stderr: 'pinscope: --grant pages is for one process: give --pid\n',
    });
    expect(refused('--grant', 'pages', '--pid', '4194304').status).toBe(3);
  });
});
