/**
 * A started window for Playwright, without the inspector of Node that users' builds lack. The program speaks Chromium's protocol over
 * a pipe (--remote-debugging-pipe: JSON with a NUL behind it, in on fd 3, out on fd 4); Playwright connects to a WebSocket on the
 * loopback address, and this stands between the two.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type WebSocket, WebSocketServer } from 'ws';
import { QUIET } from './window-switches.ts';

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly targetInfo?: { readonly type: string; readonly url: string } };
}

/**
 * What Playwright asks of every browser at first and Electron refuses ("Browser context management is not supported"): where
 * downloads go. There are none.
 */
const UNSUPPORTED = 'Browser.setDownloadBehavior';

export interface AttachOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** For the window's page to be there. */
  readonly patienceMs: number;
}

/** A running program with its window under Playwright. */
export class AttachedWindow {
  private constructor(
    readonly process: ChildProcess,
    readonly page: Page,
    private readonly server: WebSocketServer,
    private readonly browser: Browser,
    private readonly errors: () => string,
  ) {}

  /** Starts the program, waits until its page is loaded, and attaches. Rejects with what it said when it ends before. */
  static async open({ program, args, env, patienceMs }: AttachOptions): Promise<AttachedWindow> {
    // Behind the words of a program that starts it, for example setpriv.
    const child = spawn(program, [...args, '--remote-debugging-pipe', ...QUIET], {
      env,
      stdio: ['ignore', 'inherit', 'pipe', 'pipe', 'pipe'],
    });
    let errors = '';
    child.stderr?.on('data', data => {
      errors += data;
    });
    const pipe = new Pipe(child.stdio[3] as Writable, child.stdio[4] as Readable);
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    try {
      await Promise.race([
        pipe.pageLoaded(),
        ended(child).then(() => Promise.reject(new Error(`${program} ended:\n${errors}`))),
        after(patienceMs, () => `${program} has shown no page in ${patienceMs / 1000} s:\n${errors}`),
      ]);
      server.on('connection', socket => pipe.join(socket));
      const { port } = server.address() as AddressInfo;
      const browser = await chromium.connectOverCDP(`ws://127.0.0.1:${port}/`, { timeout: patienceMs });
      const page = browser.contexts()[0]?.pages()[0];
      if (!page) throw new Error(`${program} has a page that Playwright does not see`);
      return new AttachedWindow(child, page, server, browser, () => errors);
    } catch (error) {
      server.close();
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** What the program wrote to standard error so far. */
  stderr(): string {
    return this.errors();
  }

  /** Ends the program as a session does, and waits for its end. */
  async close(): Promise<void> {
    await this.browser.close().catch(() => {});
    for (const client of this.server.clients) client.terminate();
    this.server.close();
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGTERM');
    const killer = setTimeout(() => this.process.kill('SIGKILL'), 10_000);
    await ended(this.process);
    clearTimeout(killer);
  }
}

/** The program's end of the protocol. Ids of our own are negative: Playwright counts from 1. */
class Pipe {
  private socket: WebSocket | undefined;
  private rest = Buffer.alloc(0);
  private loaded: (() => void) | undefined;

  constructor(
    private readonly input: Writable,
    output: Readable,
  ) {
    // The program may end while we write.
    input.on('error', () => {});
    output.on('data', (data: Buffer) => {
      const all = Buffer.concat([this.rest, data]);
      let start = 0;
      for (let end = all.indexOf(0); end >= 0; end = all.indexOf(0, start)) {
        this.received(all.toString('utf8', start, end));
        start = end + 1;
      }
      this.rest = all.subarray(start);
    });
  }

  /** Resolves when the program shows its page. Attaching earlier would meet it between two processes. */
  pageLoaded(): Promise<void> {
    this.send(JSON.stringify({ id: -1, method: 'Target.setDiscoverTargets', params: { discover: true } }));
    return new Promise(resolve => {
      this.loaded = resolve;
    });
  }

  join(socket: WebSocket): void {
    this.socket = socket;
    socket.on('message', data => {
      const text = data.toString();
      const { id, method } = JSON.parse(text) as Message;
      if (method === UNSUPPORTED) socket.send(JSON.stringify({ id, result: {} }));
      else this.send(text);
    });
  }

  private send(text: string): void {
    this.input.write(`${text}\0`);
  }

  private received(text: string): void {
    if (this.loaded) {
      const target = (JSON.parse(text) as Message).params?.targetInfo;
      if (target?.type === 'page' && target.url.startsWith('pinscope://app/')) {
        // Its title comes with the document.
        setTimeout(this.loaded, 1000);
        this.loaded = undefined;
      }
    }
    this.socket?.send(text);
  }
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

const after = (ms: number, sentence: () => string): Promise<never> =>
  new Promise((_, reject) => {
    setTimeout(() => reject(new Error(sentence())), ms).unref();
  });
