import { join } from 'node:path';
import { BrowserWindow, nativeTheme, type WebContents } from 'electron';
import type { CommandId } from '../model/commands.ts';
import { type OpenRequest, SHELL_CHANNELS } from '../model/contract.ts';
import { asOpenRequest } from './arguments.ts';
import { PAGE_URL } from './page.ts';
import type { SamplerHost } from './sampler-host.ts';
import { loadWindowState, saveWindowState } from './window-state.ts';

/** The windows there are, each with what it was opened for and its line to the sampler. */
export class Windows {
  private readonly open = new Map<BrowserWindow, OpenRequest>();
  /** Pages that have listened: only they get ports. */
  private readonly connected = new Set<WebContents>();

  constructor(private readonly sampler: SamplerHost) {
    sampler.onState(state => {
      for (const contents of this.connected) {
        contents.send(SHELL_CHANNELS.sampler, state);
        if (state.state === 'running') this.sendPort(contents);
      }
    });
  }

  /** For a start of the program, the first or another: a window for its process, else the newest window to the front. */
  openOrFocus(data: unknown): void {
    const request = asOpenRequest(data);
    const all = [...this.open];
    const fitting = request.pid === null ? all.at(-1) : all.find(([, { pid }]) => pid === request.pid);
    if (!fitting) {
      this.make(request);
      return;
    }
    const [window] = fitting;
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
    if (request.pid !== null) window.webContents.send(SHELL_CHANNELS.open, request);
  }

  has(contents: WebContents): boolean {
    return this.of(contents) !== undefined;
  }

  requestOf(contents: WebContents): OpenRequest {
    const window = this.of(contents);
    return (window && this.open.get(window)) ?? { pid: null };
  }

  /** The page asked for its start: it gets the sampler's state and a port, now and after every restart. */
  connect(contents: WebContents): void {
    this.connected.add(contents);
    contents.send(SHELL_CHANNELS.sampler, this.sampler.state);
    this.sendPort(contents);
  }

  sendCommand(id: CommandId): void {
    BrowserWindow.getFocusedWindow()?.webContents.send(SHELL_CHANNELS.command, id);
  }

  private of(contents: WebContents): BrowserWindow | undefined {
    return [...this.open.keys()].find(window => window.webContents === contents);
  }

  private sendPort(contents: WebContents): void {
    const port = this.sampler.connect();
    if (port) contents.postMessage(SHELL_CHANNELS.port, null, [port]);
  }

  private make(request: OpenRequest): void {
    const state = loadWindowState();
    const window = new BrowserWindow({
      ...state.bounds,
      minWidth: 720,
      minHeight: 480,
      show: false,
      title: 'Pinscope',
      icon: join(__dirname, '..', '..', 'build', 'resources', 'icons', '256x256.png'),
      // Until the page paints; the page's own tokens say the same.
      backgroundColor: nativeTheme.shouldUseDarkColors ? '#14171a' : '#ffffff',
      webPreferences: {
        preload: join(__dirname, 'preload.cjs'),
        contextIsolation: true,
        sandbox: true,
        nodeIntegration: false,
        webviewTag: false,
        spellcheck: false,
        enableWebSQL: false,
      },
    });
    this.open.set(window, request);
    const { webContents } = window;
    window.once('ready-to-show', () => {
      if (state.maximised) window.maximize();
      window.show();
    });
    window.on('close', () => saveWindowState(window));
    window.on('closed', () => {
      this.open.delete(window);
      this.connected.delete(webContents);
    });
    webContents.on('render-process-gone', (_event, { reason }) => {
      process.stderr.write(`pinscope: the page ended: ${reason}\n`);
      this.connected.delete(webContents);
      if (reason !== 'clean-exit' && !window.isDestroyed()) window.reload();
    });
    void window.loadURL(PAGE_URL);
  }
}
