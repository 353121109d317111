import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { kill } from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { eventually } from '../eventually.ts';
import { browse, idleQemu, serve } from './browser.ts';
import { environment } from './programs.ts';

/** Opens an address in a tab, whose scripts must not fail. */
async function open(address: string): Promise<Page> {
  const context = await browse();
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', error => errors.push(error.message));
  page.on('console', message => {
    if (/Content.Security.Policy|Trusted.?Type/i.test(message.text())) errors.push(message.text());
  });
  onTestFinished(() => expect(errors).toEqual([]));
  await page.goto(address);
  return page;
}

/** The recording, whatever this machine runs. */
async function withRecording(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Recorded example' }).waitFor();
  await page.keyboard.press('Control+o');
  await page.getByText('RECORDING, not this machine').first().waitFor();
  await page.keyboard.press('Alt+2');
  await page.getByRole('grid', { name: 'Resources' }).getByText('2025').first().waitFor();
}
const notices = (page: Page) => page.getByRole('region', { name: 'Notices' });

describe('the console in a browser', () => {
  test('opens from the printed address, which then has no token, and is used by keyboard alone', async () => {
    const { url, port } = await serve();
    const page = await open(url);
    await withRecording(page);
    expect(page.url()).toBe(`http://127.0.0.1:${port}/`);
    // Keys that Chromium has uses of its own for: other tabs, print, load again, help.
    await page.keyboard.press('Alt+2');
    await page.keyboard.press('Home');
    await page.getByRole('region', { name: /^Detail of dma-buf/ }).waitFor();
    await page.keyboard.press('Alt+4');
    await page.getByRole('region', { name: 'Findings' }).waitFor();
    await page.keyboard.press('Alt+5');
    await page.getByRole('region', { name: 'Host memory' }).waitFor();
    await page.keyboard.press('F5');
    await page.keyboard.press('F1');
    const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
    await help.waitFor();
    expect(await help.getByText('Pause or continue').count()).toBe(1);
    // What Electron does is nobody's here.
    for (const title of ['Close window', 'Quit', 'Actual size'])
      expect(await help.getByText(title).count()).toBe(0);
    await page.keyboard.press('Escape');
    await help.waitFor({ state: 'detached' });
    const theme = () => page.locator(':root').getAttribute('data-theme');
    const before = await theme();
    await page.keyboard.press('Control+Shift+L');
    await eventually(async () => expect(await theme()).not.toBe(before));
    expect(
      page
        .context()
        .pages()
        .filter(tab => tab.url() !== 'about:blank'),
    ).toHaveLength(1);
  });

  test('a live process is picked by keyboard, paused, and lost with the server, which is said', async () => {
    const name = 'guest-in-a-browser';
    const pid = await idleQemu(name);
    const first = await serve();
    const page = await open(first.url);
    const row = page
      .getByRole('listbox', { name: 'Processes' })
      .getByRole('option', { name: new RegExp(name) });
    await row.waitFor({ timeout: 20_000 });
    await page.keyboard.press('Alt+1');
    await page.keyboard.press('Home');
    for (let i = 0; i < 40 && (await row.getAttribute('aria-selected')) !== 'true'; i++)
      await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByRole('status').filter({ hasText: 'LIVE' }).waitFor();
    await page.getByText(`pid ${pid}`).first().waitFor();
    await page.keyboard.press('Alt+5');
    await page.getByRole('region', { name: 'Host memory' }).getByRole('table', { name: 'Zones' }).waitFor();
    await page.keyboard.press('Control+p');
    await page.getByRole('status').filter({ hasText: 'PAUSED' }).waitFor();
    await page.keyboard.press('Control+p');
    await page.getByRole('status').filter({ hasText: 'LIVE' }).waitFor();
    // Loaded again, the tab still has its token, and the start's process is the same.
    await page.reload();
    await row.waitFor({ timeout: 20_000 });

    await first.stop();
    await notices(page).getByText('It is tried again until it answers.').waitFor();
    // Another start at the same port has another token: its address is what helps, in the same tab.
    const second = await serve('--port', String(first.port), '--pid', String(pid));
    await notices(page)
      .getByText('open the address that pinscope serve has printed')
      .waitFor({ timeout: 30_000 });
    await page.goto(second.url);
    await page.getByRole('status').filter({ hasText: 'LIVE' }).waitFor({ timeout: 20_000 });
    await page.getByText(`pid ${pid}`).first().waitFor();
  });

  test('without the token there is the recording, and what to do', async () => {
    const { port, url } = await serve();
    const page = await open(`http://127.0.0.1:${port}/`);
    await notices(page).getByText('This page has no token: open the address').waitFor();
    await page.getByText('RECORDING, not this machine').first().waitFor();
    const other = await open(`${url}x`);
    await notices(other).getByText('is not that of this start: open the address').waitFor();
  });

  test('a page of another origin gets nothing, also with the token', async () => {
    const { port, url } = await serve();
    const elsewhere = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>elsewhere</title>');
    }).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    onTestFinished(() => void elsewhere.close());
    const context = await browse();
    const page = await context.newPage();
    // Another port, and another name of this machine.
    for (const name of ['127.0.0.1', 'localhost']) {
      await page.goto(`http://${name}:${(elsewhere.address() as AddressInfo).port}/`);
      const got = await page.evaluate(
        `(async ([at, token]) => {
          const tried = fetching => fetching.then(response => response.type, () => 'refused');
          const socket = protocols => new Promise(resolve => {
            const socket = new WebSocket(at.replace('http', 'ws') + 'sampler', protocols);
            socket.onopen = () => resolve('open');
            socket.onerror = () => resolve('refused');
          });
          const element = (name, source) => new Promise(resolve => {
            const made = Object.assign(document.createElement(name), source);
            made.onload = () => resolve('loaded');
            made.onerror = () => resolve('refused');
            document.head.append(made);
          });
          const frame = document.createElement('iframe');
          frame.src = at;
          document.documentElement.append(frame);
          await new Promise(resolve => { frame.onload = resolve; setTimeout(resolve, 3000); });
          return {
            read: await tried(fetch(at)),
            blind: await tried(fetch(at, { mode: 'no-cors' })),
            start: await tried(fetch(at + 'startup', { method: 'POST', headers: { authorization: 'Bearer ' + token } })),
            simple: await tried(fetch(at + 'startup', { method: 'POST', mode: 'no-cors' })),
            socket: await socket([]),
            withToken: await socket(['pinscope.1', 'pinscope.token.' + token]),
            image: await element('img', { src: at + 'favicon.svg' }),
            frame: frame.contentDocument === null ? 'refused' : 'readable',
          };
        })(${JSON.stringify([`http://127.0.0.1:${port}/`, new URL(url).hash.slice(1)])})`,
      );
      expect(got).toEqual({
        read: 'refused',
        blind: 'refused',
        start: 'refused',
        simple: 'refused',
        socket: 'refused',
        withToken: 'refused',
        image: 'refused',
        frame: 'refused',
      });
    }
  });
});

describe('npm start without a display', () => {
  test('is the console in a browser, and says why and how', async () => {
    // A process group of its own: npm and node end together.
    const child = spawn('npm', ['start'], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: Object.fromEntries(Object.entries(environment()).filter(([name]) => name !== 'DISPLAY')),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', data => {
      stdout += data;
    });
    child.stderr.on('data', data => {
      stderr += data;
    });
    try {
      await vi.waitFor(() => expect(stderr).toContain('Ctrl-C ends it'), 150_000);
      expect(stderr).toMatch(/^pinscope: there is no display .*, so this is the console in a browser; /m);
      const url = /^http:\S+$/m.exec(stdout)?.[0] ?? '';
      const page = await open(url);
      await withRecording(page);
    } finally {
      const ended = once(child, 'exit');
      kill(-(child.pid ?? 0), 'SIGINT');
      await ended;
    }
  });
});
