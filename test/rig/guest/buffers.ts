/**
 * Drives the helper of `buffers.c`: starts it, reads what it made, sends it commands.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export interface MemfdEvent {
  readonly event: 'memfd';
  readonly index: number;
  readonly kind: 'shmem' | 'thp' | 'huge2m' | 'huge1g';
  readonly fd: number;
  readonly inode: number;
  readonly sizeBytes: number;
  readonly address: string;
  /** Pieces of 2 MiB that are physically contiguous and aligned. */
  readonly hugePages: number;
}

export interface BufferEvent {
  readonly event: 'buffer';
  readonly index: number;
  readonly fd: number;
  /** Inode of the dma-buf. */
  readonly inode: number;
  readonly sizeBytes: number;
  readonly name: string | null;
  readonly items: readonly (readonly [memfd: number, offset: number, size: number])[];
  /** What the memfd holds at the buffer's ranges: runs in buffer order, pfn null for a hole; null when hidden. */
  readonly pages: readonly (readonly [pfn: number | null, count: number])[] | null;
}

export interface RefusedEvent {
  readonly event: 'refused';
  readonly call: string;
  readonly errno: number;
  readonly error: string;
}

interface OtherEvent {
  readonly event: 'holder' | 'ready' | 'done' | 'failed';
  readonly pid?: number;
  readonly command?: string;
  readonly error?: string;
}

type HelperEvent = MemfdEvent | BufferEvent | RefusedEvent | OtherEvent;

export class Buffers {
  readonly pid: number;
  readonly memfds: MemfdEvent[] = [];
  /** As first reported; {@link pfns} reads again. */
  readonly buffers: BufferEvent[] = [];
  readonly refused: RefusedEvent[] = [];
  /** Pids of the children that hold every descriptor. */
  readonly holders: number[] = [];
  /** Every line that the helper printed, as printed. */
  readonly lines: string[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #events: AsyncIterator<string>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.pid = child.pid ?? 0;
    this.#child = child;
    // A helper that was killed by its case cannot take a command; that shows in its missing answer.
    child.stdin.on('error', () => {});
    this.#events = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /**
   * Starts the helper and waits until it has made everything.
   * @param command program and arguments that come before the helper's own, for example `setpriv … buffers`
   * @throws Error when the helper ends first; its reason is on this process' stderr
   */
  static async start(command: readonly [string, ...string[]], args: readonly string[]): Promise<Buffers> {
    const [program, ...before] = command;
    const child = spawn(program, [...before, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    const helper = new Buffers(child);
    await helper.#until('ready', event => {
      if (event.event === 'memfd') helper.memfds.push(event);
      else if (event.event === 'buffer') helper.buffers.push(event);
      else if (event.event === 'refused') helper.refused.push(event);
    });
    return helper;
  }

  /**
   * Sends one command line of `buffers.c` and returns the buffers it printed, if any.
   * @throws Error with the helper's reason when the command failed
   */
  async command(line: string): Promise<BufferEvent[]> {
    const printed: BufferEvent[] = [];
    this.#child.stdin.write(`${line}\n`);
    await this.#until('done', event => {
      if (event.event === 'buffer') printed.push(event);
      if (event.event === 'failed') throw new Error(`buffers: ${line}: ${event.error}`);
    });
    return printed;
  }

  /** The buffers with the pages that their memfds hold now. */
  pfns(): Promise<BufferEvent[]> {
    return this.command('pfns');
  }

  /** Ends the helper and its holders. */
  async quit(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise(resolve => this.#child.once('close', resolve));
    this.#child.stdin.end('quit\n');
    await ended;
  }

  async #until(last: HelperEvent['event'], take: (event: HelperEvent) => void): Promise<void> {
    for (;;) {
      const { value, done } = await this.#events.next();
      if (done) throw new Error(`buffers: ended before it was ${last}`);
      this.lines.push(value);
      const event = JSON.parse(value) as HelperEvent;
      if (event.event === 'holder') this.holders.push(event.pid ?? 0);
      take(event);
      if (event.event === last) return;
    }
  }
}

/** Runs as the list of single PFNs, null for holes. */
export function expandPages(pages: NonNullable<BufferEvent['pages']>): (number | null)[] {
  return pages.flatMap(([pfn, count]) =>
    Array.from({ length: count }, (_, i) => (pfn === null ? null : pfn + i)),
  );
}
