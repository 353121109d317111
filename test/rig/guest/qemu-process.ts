/**
 * A QEMU that a test has started: its process, its monitors and what it prints.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { qmpCommand } from './qmp.ts';

export interface QemuProcessOptions {
  /** Directory for sockets and the log; created. Keep it short: a socket's path has at most 107 bytes. */
  readonly dir: string;
  /** Value of `-name`. */
  readonly name?: string;
  /** Opens a second monitor and uses it, so that nothing but the tested program uses the first. */
  readonly testMonitor?: boolean;
  /** More arguments. */
  readonly args?: readonly string[];
  /** `qemu-system-x86_64` when left out. */
  readonly program?: string;
  /** Words before the program that end in running it, for example `setpriv …`. */
  readonly before?: readonly string[];
}

export class QemuProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  /** The monitor meant for the program under test; nobody is connected. */
  readonly qmpSocket: string;
  /** The monitor that {@link qmp} uses; the same one unless a test monitor was asked for. */
  readonly testQmpSocket: string;
  readonly stderrFile: string;
  readonly #child: ChildProcess;
  #failure: Error | null = null;

  /** Starts QEMU with monitors after `args`; does not wait for anything. */
  constructor(options: QemuProcessOptions, args: readonly string[]) {
    mkdirSync(options.dir, { recursive: true });
    this.qmpSocket = join(options.dir, 'qmp');
    this.testQmpSocket = options.testMonitor ? join(options.dir, 'qmp-test') : this.qmpSocket;
    this.stderrFile = join(options.dir, 'stderr');
    const monitors = [...new Set([this.qmpSocket, this.testQmpSocket])];
    for (const socket of monitors) rmSync(socket, { force: true });
    this.argv = [
      options.program ?? 'qemu-system-x86_64',
      ...(options.name === undefined ? [] : ['-name', options.name]),
      ...args,
      ...monitors.flatMap(socket => ['-qmp', `unix:${socket},server=on,wait=off`]),
      ...(options.args ?? []),
    ];
    const [program = '', ...rest] = [...(options.before ?? []), ...this.argv];
    const stderr = openSync(this.stderrFile, 'w');
    this.#child = spawn(program, rest, { stdio: ['ignore', 'ignore', stderr] });
    closeSync(stderr);
    this.#child.once('error', error => {
      this.#failure = error;
    });
    this.pid = this.#child.pid ?? 0;
  }

  /** @throws Error with QEMU's stderr when it has ended */
  assertAlive(): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#ended()) throw new Error(`${this.argv[0]} ended: ${this.stderr().trim()}`);
  }

  /** One QMP command over the test's monitor, connected only that long. */
  qmp(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return qmpCommand(this.testQmpSocket, execute, args);
  }

  /** One line of the human monitor. */
  async hmp(line: string): Promise<string> {
    return String(await this.qmp('human-monitor-command', { 'command-line': line }));
  }

  /** What QEMU has printed on stderr so far. */
  stderr(): string {
    return readFileSync(this.stderrFile, 'utf8');
  }

  /** Ends this QEMU, by its own process, and waits for its end. */
  async kill(): Promise<void> {
    if (this.#ended()) return;
    const ended = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }

  #ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}
