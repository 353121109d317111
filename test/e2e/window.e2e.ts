import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kill } from 'node:process';
import { fileURLToPath } from 'node:url';
import type { ElectronApplication, Page } from 'playwright-core';
import { describe, expect, test, vi } from 'vitest';
import { SAMPLER_PORT_MESSAGE } from '../../model/contract.ts';
import { eventually } from '../eventually.ts';
import { QUIET } from '../window-switches.ts';
import { launch } from './launch.ts';
import { DRIVABLE, environment, processesOf } from './programs.ts';

/** The recording, whatever this machine runs: its framebuffer has 2025 pages. */
async function withRecording(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Recorded example' }).waitFor();
  await page.keyboard.press('Control+o');
  await page.getByText('RECORDING, not this machine').first().waitFor();
  await page.keyboard.press('Alt+2');
  await page.getByRole('grid', { name: 'Resources' }).getByText('2025').first().waitFor();
}

/** The sampler of this window alone: Chromium names the window's data folder to all its processes. */
async function samplersOf(app: ElectronApplication): Promise<() => number[]> {
  const data = await app.evaluate(({ app }) => app.getPath('userData'));
  return () => {
    const own = new Set(processesOf(data));
    return processesOf('--utility-sub-type=node.mojom.NodeService').filter(pid => own.has(pid));
  };
}

describe('the page', () => {
  test('has exactly the contract, and nothing of Node or Electron', async () => {
    const { page } = await launch();
    expect(
      await page.evaluate(`({
        api: Object.entries(window.pinscope).map(([name, value]) => [name, typeof value]).sort(),
        frozen: Object.isFrozen(window.pinscope) || !Reflect.set(window, 'pinscope', 1),
        others: ['require', 'process', 'module', 'Buffer', 'electron', 'ipcRenderer', '__dirname'].filter(name => name in window),
      })`),
    ).toEqual({
      api: [
        ['onCommand', 'function'],
        ['onOpen', 'function'],
        ['onSampler', 'function'],
        ['savePicture', 'function'],
        ['startup', 'function'],
      ],
      frozen: true,
      others: [],
    });
    // What the functions give back has no way to more.
    expect(
      await page.evaluate(`window.pinscope.startup().then(startup => Object.keys(startup).sort())`),
    ).toEqual(['open', 'runtimeNotice', 'version']);
  });

  test('may not go elsewhere, open windows, load or run foreign code, or ask for devices', async () => {
    const { app, page } = await launch();
    await withRecording(page);
    const refused = await page.evaluate(`(async () => {
      const violations = [];
      document.addEventListener('securitypolicyviolation', event => violations.push(event.effectiveDirective));
      const opened = String(window.open('https://example.org/'));
      const attempt = async what => { try { return await what(); } catch { return 'refused'; } };
      // Later, as the page's own: what a debugger evaluates may.
      const evaluated = await new Promise(resolve => setTimeout(() => { try { resolve((0, eval)('1 + 1')); } catch { resolve('refused'); } }));
      const script = document.createElement('script');
      const inline = await attempt(() => { script.textContent = 'window.injected = 1'; document.head.append(script); return String(window.injected); });
      const fetched = await attempt(async () => (await fetch('https://example.org/')).status);
      const local = await attempt(async () => (await fetch('file:///etc/passwd')).status);
      const outside = await attempt(async () => (await fetch('pinscope://app/..%2f..%2fpackage.json')).status);
      const geolocation = (await navigator.permissions.query({ name: 'geolocation' })).state;
      location.href = 'https://example.org/';
      await new Promise(resolve => setTimeout(resolve, 500));
      return { opened, evaluated, inline, fetched, local, outside, geolocation, href: location.href, violations: [...new Set(violations)].sort() };
    })()`);
    expect(refused).toMatchObject({
      opened: 'null',
      evaluated: 'refused',
      fetched: 'refused',
      local: 'refused',
      outside: 404,
      geolocation: 'denied',
      href: 'pinscope://app/index.html',
    });
    expect(['undefined', 'refused']).toContain((refused as { inline: string }).inline);
    expect(app.windows()).toHaveLength(1);
  });

  test('a message from another window or frame, or of another shape, is refused', async () => {
    const { app, page, stderr } = await launch();
    await withRecording(page);
    // A window that the program did not make, with the program's own preload and page.
    const appearing = app.waitForEvent('window');
    await app.evaluate(({ app, BrowserWindow }) => {
      const preload = `${app.getAppPath()}/dist/electron/preload.cjs`;
      const window = new BrowserWindow({
        webPreferences: { preload, sandbox: true, contextIsolation: true },
      });
      void window.loadURL('pinscope://app/index.html');
    });
    const other = await appearing;
    await other.waitForURL('pinscope://app/index.html');
    await other.waitForLoadState();
    const foreign = await other.evaluate(
      `window.pinscope.startup().then(() => 'answered', error => error.message)`,
    );
    await other.close();
    expect(foreign).toContain('refused: it comes from no window of ours');
    // The gate itself, met with what a frame inside the page, and a page of another shape, would bring.
    const gate = await app.evaluate(async ({ BrowserWindow, ipcMain }) => {
      const handlers = (
        ipcMain as unknown as { _invokeHandlers: Map<string, (event: object, ...args: unknown[]) => unknown> }
      )._invokeHandlers;
      const handler = handlers.get('pinscope:startup');
      // The other window may not be gone yet.
      const sender = BrowserWindow.getAllWindows().sort((a, b) => a.id - b.id)[0]?.webContents;
      if (!handler || !sender) throw new Error('no gate');
      const ask = async (event: object, ...args: unknown[]) => {
        let answer: unknown;
        const wrapped = {
          sender,
          senderFrame: sender.mainFrame,
          ...event,
          _reply: (value: unknown) => (answer = value),
          _throw: (error: unknown) => (answer = String(error)),
        };
        const result = await Promise.resolve(handler(wrapped, ...args)).catch(error => String(error));
        return JSON.stringify(answer ?? result);
      };
      return {
        channels: [...handlers.keys()],
        frame: await ask({ senderFrame: { url: 'pinscope://app/index.html' } }),
        gone: await ask({ senderFrame: null }),
        shape: await ask({}, { pid: 1 }),
      };
    });
    expect(gate.channels.sort()).toEqual(['pinscope:save-picture', 'pinscope:startup']);
    expect(gate.frame).toContain('refused: it comes from a frame inside the page');
    expect(gate.gone).toContain('refused');
    expect(gate.shape).toContain('refused: its shape is not that of the contract');
    expect(stderr()).toContain('refused a message on pinscope:startup');

    // And the sampler's port: the page gets a second one, which it uses too, and sends what is no call.
    const answers = await page.evaluate(
      `(async message => {
        const port = await new Promise(resolve => {
          addEventListener('message', event => { if (event.data === message) resolve(event.ports[0]); });
          void window.pinscope.startup();
        });
        const answers = [];
        // The JSON of a message (model/wire.ts): behind 16 bytes, of which the second word is its length.
        const read = buffer => JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 16, new Uint32Array(buffer, 4, 1)[0])));
        port.addEventListener('message', event => { const data = read(event.data); if (data.kind !== 'event' && (data.id < 0 || data.id > 900)) answers.push(data); });
        port.start();
        for (const odd of [7, null, { kind: 'call', id: 901, method: 'constructor', args: [] }, { kind: 'call', id: 902, method: 'watch', args: [{ pid: '../1', startTime: '0' }] }, { kind: 'call', id: 903, method: 'listProcesses', args: [] }]) port.postMessage(odd);
        await new Promise(resolve => setTimeout(resolve, 2000));
        return answers.map(({ kind, id, message }) => [kind, id, message]);
      })('${SAMPLER_PORT_MESSAGE}')`,
    );
    const refusal = 'refused: this is no call of the contract';
    expect(answers).toEqual([
      ['error', -1, refusal],
      ['error', -1, refusal],
      ['error', 901, refusal],
      ['error', 902, refusal],
      ['answer', 903, undefined],
    ]);
  });
});

describe('the window', () => {
  test('starts with the recording, labelled, and is used by keyboard alone', async () => {
    const { page } = await launch();
    await withRecording(page);
    await page.keyboard.press('Alt+2');
    await page.keyboard.press('Home');
    await page.getByRole('region', { name: /^Detail of dma-buf/ }).waitFor();
    await page.keyboard.press('Alt+3');
    await page.keyboard.press('End');
    const runs = page.getByRole('grid', { name: 'Page runs' });
    await eventually(async () => expect(await runs.getByRole('row', { selected: true }).count()).toBe(1));
    await page.keyboard.press('Alt+4');
    await page.getByRole('region', { name: 'Findings' }).waitFor();
    await page.keyboard.press('Alt+5');
    await page.getByRole('region', { name: 'Host memory' }).waitFor();
    await page.keyboard.press('Alt+6');
    await page.getByRole('region', { name: 'Sources and rights' }).waitFor();
    await page.keyboard.press('F1');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const theme = () => page.locator(':root').getAttribute('data-theme');
    const before = await theme();
    await page.keyboard.press('Control+Shift+L');
    await eventually(async () => expect(await theme()).not.toBe(before));
  });

  test('a picture of the window goes where the user says, and the window says where', async () => {
    const { app, page } = await launch();
    await withRecording(page);
    const folder = mkdtempSync(join(tmpdir(), 'pinscope-picture-'));
    /** The answer of the desktop's dialog, which no test could press. */
    const answer = (filePath: string | undefined) =>
      app.evaluate(({ dialog }, path) => {
        const asked = async () => ({ canceled: path === '', filePath: path });
        Object.assign(dialog, { showSaveDialog: asked });
      }, filePath ?? '');
    const said = page.getByRole('status', { name: 'What was done' });
    const save = async (filePath: string | undefined, words: RegExp) => {
      await answer(filePath);
      await page.keyboard.press('Control+Shift+S');
      await said.getByText(words).waitFor();
    };
    const path = join(folder, 'x.png');
    await save(path, /^Saved .*x\.png$/);
    const png = readFileSync(path);
    expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
    const size = await page.evaluate(
      `[Math.round(innerWidth * devicePixelRatio), Math.round(innerHeight * devicePixelRatio)]`,
    );
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual(size);
    await save(undefined, /^No picture was saved\.$/);
    await save('/proc/x.png', /^No picture was saved\. .*\/proc\/x\.png/);
    rmSync(folder, { recursive: true });
  });

  test('a sampler that is killed comes back, and the window says so', async () => {
    const { app, page } = await launch();
    await withRecording(page);
    const samplers = await samplersOf(app);
    const [first] = samplers();
    if (first === undefined) throw new Error('no sampler runs');
    kill(first, 'SIGKILL');
    await eventually(() => {
      const now = samplers();
      expect(now.length === 1 && now[0] !== first).toBe(true);
    });
    await page
      .getByText(/restarted/)
      .first()
      .waitFor();
  });

  test('a second start brings the first to the front; with --pid it opens a window of its own', async () => {
    const first = await launch();
    await withRecording(first.page);
    const data = await first.app.evaluate(({ app }) => app.getPath('userData'));
    const again = (...args: string[]) =>
      spawnSync(DRIVABLE, [...QUIET, ...args], {
        env: { ...environment(), XDG_CONFIG_HOME: data.replace(/\/[^/]+$/, '') },
        timeout: 30_000,
      });
    expect(again().status).toBe(0);
    expect(first.app.windows()).toHaveLength(1);
    const other = first.app.waitForEvent('window');
    expect(again('--pid', String(process.pid)).status).toBe(0);
    await (await other).waitForLoadState('domcontentloaded');
    expect(first.app.windows()).toHaveLength(2);
  });
});

describe('npm start', () => {
  test('opens the window from a checkout, and says in one line that it runs on the stand-in', async () => {
    // A process group of its own: npm, node and the window end together.
    const env = environment();
    const child = spawn('npm', ['start', '--', '--remote-debugging-port=0', ...QUIET], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    try {
      let text = '';
      child.stderr.on('data', data => {
        text += data;
      });
      await vi.waitFor(() => expect(text).toMatch(/DevTools listening/), 150_000);
      const port = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)\//.exec(text)?.[1];
      await vi.waitFor(async () => {
        const pages = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
          url: string;
          title: string;
        }[];
        expect(pages.map(({ url, title }) => [url, title])).toEqual([
          ['pinscope://app/index.html', expect.stringContaining('Pinscope')],
        ]);
      }, 30_000);
      expect(text.split('\n').filter(line => /^pinscope: .*stand-in/i.test(line))).toHaveLength(1);
    } finally {
      const ended = once(child, 'exit');
      kill(-(child.pid ?? 0), 'SIGTERM');
      await ended;
      await eventually(() => expect(processesOf(env.XDG_CONFIG_HOME ?? '')).toEqual([]));
    }
  });
});
