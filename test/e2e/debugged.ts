import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { QUIET } from '../window-switches.ts';
import { environment } from './programs.ts';

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A program under Chromium's own debugging protocol, through a pipe (--remote-debugging-pipe: JSON with a NUL behind it, in on fd 3,
 * out on fd 4). It needs no inspector of Node, so it reaches the window that users get, where Playwright cannot.
 */
export class Debugged {
  readonly pid: number;
  /** When it is over. */
  readonly ended: Promise<Ended>;
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private lastId = 0;
  private session: string | undefined;
  private errors = '';
  private over = false;

  constructor(program: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(program, ['--remote-debugging-pipe', ...QUIET, ...args], {
      env: environment(env),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.pid = this.child.pid ?? -1;
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('exit', (code, signal) => {
        this.over = true;
        for (const answer of this.waiting.values()) answer({ error: { message: 'the program ended' } });
        this.waiting.clear();
        resolve({ code, signal });
      });
    });
    this.child.stderr?.on('data', data => {
      this.errors += data;
    });
    const [, , , input, output] = this.child.stdio;
    // The program may end while we write.
    (input as Writable).on('error', () => {});
    this.listen(output as Readable);
    onTestFinished(async () => {
      if (!this.over) this.child.kill('SIGKILL');
      await this.ended;
    });
  }

  /** What it wrote to standard error so far. */
  get stderr(): string {
    return this.errors;
  }

  private listen(output: Readable): void {
    let text = '';
    output.setEncoding('utf8').on('data', (data: string) => {
      const parts = (text + data).split('\0');
      text = parts.pop() ?? '';
      for (const part of parts) {
        const answer = JSON.parse(part) as Answer;
        if (answer.id !== undefined) this.waiting.get(answer.id)?.(answer);
      }
    });
  }

  /** Calls a method of the protocol; rejects with its message, or when the program ends. */
  private call<T>(method: string, params: object = {}): Promise<T> {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      if (this.over) return reject(new Error(`${method}: the program ended`));
      this.waiting.set(id, ({ error, result }) => {
        this.waiting.delete(id);
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result as T);
      });
      const target = this.session === undefined ? {} : { sessionId: this.session };
      (this.child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...target })}\0`);
    });
  }

  /** Attaches to the first window's page when it is there and loaded. */
  async page(): Promise<void> {
    for (;;) {
      const { targetInfos } = await this.call<{ targetInfos: { targetId: string; type: string }[] }>(
        'Target.getTargets',
      );
      const page = targetInfos.find(({ type }) => type === 'page');
      if (page) {
        const { targetId } = page;
        const attached = await this.call<{ sessionId: string }>('Target.attachToTarget', {
          targetId,
          flatten: true,
        });
        this.session = attached.sessionId;
        break;
      }
      await sleep(100);
    }
    // Its first document is an empty one, which goes, perhaps while it is asked.
    const loaded = "location.href !== 'about:blank' && document.readyState === 'complete'";
    while (!(await this.evaluate<boolean>(loaded).catch(() => this.over))) await sleep(50);
  }

  /** The value of an expression in the page, awaited; it must be JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call<{
      result: { value: T };
      exceptionDetails?: { text: string };
    }>('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.text}`);
    return result.value;
  }

  /** A picture of the page, PNG. */
  async picture(): Promise<Buffer> {
    const { data } = await this.call<{ data: string }>('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  /** Closes the page, and with it its window. */
  async closePage(): Promise<void> {
    // It may be gone before it answers.
    await this.call('Page.close').catch(() => {});
  }
}
