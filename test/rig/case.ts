/**
 * What a case of the rig is: a function that runs inside a booted kernel, makes real buffers, reads them with Pinscope and
 * compares with a second source.
 */
import { execFile } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';
import type { Snapshot } from '../../model/snapshot.ts';
import { openHost } from '../../sampler/access.ts';
import { Sampler } from '../../sampler/sampler.ts';
import type { BootId } from './boots.ts';
import { Buffers } from './guest/buffers.ts';
import { type QemuOptions, type RealQemu, startQemu } from './guest/qemu.ts';
import type { KernelId } from './kernels.ts';
import { cellsOf, type Judged } from './precision.ts';

export interface RigCase {
  readonly name: string;
  /** Where it runs. */
  readonly boot: BootId;
  /** Kernels where the state that it looks at exists; all when left out. */
  readonly kernels?: readonly KernelId[];
  readonly run: (t: CaseContext) => Promise<void>;
}

/** Whether a case runs in a boot of a kernel, when only names with `text` in them are wanted (`one|other`: with either). */
export const runsIn = (rigCase: RigCase, boot: BootId, kernel: KernelId, text: string): boolean =>
  rigCase.boot === boot &&
  (rigCase.kernels?.includes(kernel) ?? true) &&
  text.split('|').some(part => rigCase.name.includes(part));

export interface Check {
  readonly what: string;
  /** Why it failed; null when it holds. */
  readonly failure: string | null;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a case works with. Everything that it starts is ended after it. */
export class CaseContext {
  readonly checks: Check[] = [];
  readonly judgements: Judged[] = [];
  readonly sampler = new Sampler(openHost());
  private readonly endings: (() => Promise<void>)[] = [];

  constructor(
    readonly kernel: KernelId,
    /** Directory of the source tree, with what it built below `dist`. */
    readonly root: string,
    /** A directory of this case alone. */
    readonly dir: string,
  ) {}

  /** The program that makes buffers. */
  get helper(): string {
    return `${this.root}/dist/rig/buffers`;
  }

  /** The driver takes plain page references here, no pins. */
  get pageRefs(): boolean {
    return this.kernel === '6.1';
  }

  equal(what: string, actual: unknown, expected: unknown): void {
    const same = isDeepStrictEqual(actual, expected);
    const shown = (value: unknown) => (JSON.stringify(value) ?? String(value)).slice(0, 300);
    this.checks.push({ what, failure: same ? null : `is ${shown(actual)}, should be ${shown(expected)}` });
  }

  /** `detail` says what was found when the condition does not hold. */
  ok(what: string, condition: boolean, detail: unknown = ''): void {
    const shown = typeof detail === 'string' ? detail : JSON.stringify(detail);
    this.checks.push({ what, failure: condition ? null : `does not hold. ${shown.slice(0, 600)}` });
  }

  /**
   * Records what every rule says of a situation; the run compares it with precision.json. `situation` is a row of the table in
   * docs/HAZARDS.md: short words, of its own among all cases.
   */
  judged(situation: string, snapshot: Pick<Snapshot, 'findings' | 'notChecked' | 'resources'>): void {
    this.judgements.push({ situation, cells: cellsOf(snapshot) });
  }

  /** Starts the helper that makes buffers; ends it with the case. */
  async buffers(...args: string[]): Promise<Buffers> {
    return this.buffersAs([], ...args);
  }

  /** The same with words before the helper, for example `setpriv …`. */
  buffersAs(before: readonly string[], ...args: string[]): Promise<Buffers> {
    const [program = '', ...rest] = [...before, this.helper];
    return this.buffersBy([program, ...rest], ...args);
  }

  /** The same by a copy of the helper under another name. */
  async buffersBy(command: readonly [string, ...string[]], ...args: string[]): Promise<Buffers> {
    const helper = await Buffers.start(command, args);
    this.atEnd(() => helper.quit());
    return helper;
  }

  async qemu(options: Partial<QemuOptions> = {}): Promise<RealQemu> {
    const vm = await startQemu({ dir: this.dir, testMonitor: true, ...options });
    this.atEnd(() => vm.kill());
    return vm;
  }

  atEnd(ending: () => Promise<void>): void {
    this.endings.push(ending);
  }

  /** A snapshot in this process; throws unless it is `ok`. */
  async snapshot(pid: number): Promise<Snapshot> {
    const reading = await this.sampler.snapshot(pid);
    if (reading.state !== 'ok') throw new Error(`snapshot of ${pid}: ${JSON.stringify(reading)}`);
    return reading.value;
  }

  /** Runs the terminal program as a user would, with words before it (`setpriv …`). */
  pinscope(args: readonly string[], before: readonly string[] = []): Promise<CommandResult> {
    const [program = '', ...rest] = [
      ...before,
      process.execPath,
      `${this.root}/dist/cli/pinscope.js`,
      ...args,
    ];
    return new Promise(resolve => {
      const child = execFile(
        program,
        rest,
        { maxBuffer: 256 << 20, encoding: 'utf8' },
        (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
      );
    });
  }

  /** Standard output of a shell line; throws when it fails. */
  sh(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile('/bin/bash', ['-c', line], { encoding: 'utf8' }, (error, stdout, stderr) =>
        error ? reject(new Error(`${line}: ${stderr}`)) : resolve(stdout),
      );
    });
  }

  async end(): Promise<void> {
    this.sampler.close();
    for (const ending of this.endings.reverse()) await ending();
  }
}
