import { type FileHandle, open, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { ParseError } from '../model/parse-error.ts';
import type { MonitorAddress } from '../model/qemu/cmdline.ts';
import { MAX_QMP_BYTES, QmpDecoder, type QmpMessage, type QmpVersion } from '../model/qemu/qmp.ts';
import { isListenerTaken } from '../model/qemu/unix-sockets.ts';

export type QmpErrorCode =
  /** No reply in time; the connection is closed, because a late reply would answer the wrong question. */
  | 'timeout'
  /** The connection ended, by us or by QEMU. */
  | 'closed'
  /** What came is no QMP, or no reply to what was asked. */
  | 'protocol'
  /** More bytes than any QEMU sends. */
  | 'too-long'
  /** QEMU refused the command; `qmpClass` has its error class. The connection is fine. */
  | 'refused'
  /** We refused it: it may change the guest. */
  | 'not-read-only';

export class QmpError extends Error {
  override readonly name = 'QmpError';
  constructor(
    readonly code: QmpErrorCode,
    message: string,
    /** QEMU's error class, e.g. `CommandNotFound`. */
    readonly qmpClass: string | null = null,
  ) {
    super(message);
  }
}

export type QmpConnection =
  | { readonly state: 'ok'; readonly client: QmpClient }
  /** Somebody listens, but does not talk to us: a monitor serves one client. */
  | { readonly state: 'busy'; readonly detail: string }
  /** Nobody listens there, or somebody who is no QMP server. */
  | { readonly state: 'none'; readonly detail: string }
  | { readonly state: 'denied'; readonly detail: string };

export interface ConnectOptions {
  /** For all of connecting, greeting and negotiation; milliseconds, default 1000. */
  readonly timeoutMs?: number;
  /**
   * Look here first whether the monitor is taken: connecting to a taken one leaves a dead connection in its queue until
   * its client leaves. `netUnix` is /proc/PID/net/unix of the QEMU, `path` is the path that it bound.
   */
  readonly listener?: { readonly netUnix: string; readonly path: string };
  /** Longest message, for tests. */
  readonly maxMessageBytes?: number;
  /** Allow commands that change the guest. For the rig; the console never does. */
  readonly unrestricted?: boolean;
}

/**
 * Connects to a QMP monitor and negotiates. Ends in time whatever the other side does, never throws, and leaves no
 * socket behind unless the state is `ok`.
 * @param address as the command line has it, except that a unix `path` is one that we can open: the caller puts QEMU's
 * working directory or root before it (`/proc/PID/cwd/…`, `/proc/PID/root/…`). It may be longer than a sun_path.
 * TCP only to this machine. Abstract unix sockets cannot be reached.
 */
export async function connectQmp(
  address: MonitorAddress,
  options: ConnectOptions = {},
): Promise<QmpConnection> {
  const timeoutMs = timeoutOf(options);
  const deadline = Date.now() + timeoutMs;
  if (options.listener) {
    const { netUnix, path } = options.listener;
    const text = await readFile(netUnix, 'latin1').catch(() => '');
    if (isListenerTaken(text, Buffer.from(path).toString('latin1'))) {
      return { state: 'busy', detail: 'another client is connected to the monitor' };
    }
  }
  for (;;) {
    const found = await attempt(address, options, deadline);
    if (found !== 'queue-full') return found;
    // A blocking connect would wait for a place too. QEMU empties the queue when its client leaves.
    if (Date.now() + RETRY_MS >= deadline) {
      return { state: 'busy', detail: `other clients waited for the monitor for ${timeoutMs} ms` };
    }
    await new Promise(resolve => setTimeout(resolve, RETRY_MS));
  }
}

const RETRY_MS = 20;

async function attempt(
  address: MonitorAddress,
  options: ConnectOptions,
  deadline: number,
): Promise<QmpConnection | 'queue-full'> {
  const timeoutMs = timeoutOf(options);
  let handle: FileHandle | undefined;
  let client: QmpClient | undefined;
  try {
    if (address.kind === 'unix') {
      let path = address.path;
      // sockaddr_un holds 108 bytes with the NUL. A descriptor of the socket's file is a short name for it.
      if (Buffer.byteLength(path) > 107) {
        handle = await open(path, O_PATH);
        path = `/proc/self/fd/${handle.fd}`;
      }
      client = new QmpClient(connect({ path }), options);
    } else if (address.kind === 'tcp') {
      const host = loopback(address.host);
      const port = /^\d{1,5}$/.test(address.port) ? Number(address.port) : 0;
      if (host === null) return { state: 'none', detail: `${address.host} is not this machine` };
      if (port < 1 || port > 65535)
        return { state: 'none', detail: `${address.port} is no fixed port number` };
      client = new QmpClient(connect({ host, port }), options);
    } else if (address.kind === 'abstract') {
      // Node 20 hands libuv a C string, which ends at the first NUL of an abstract name.
      return { state: 'none', detail: `the abstract socket ${address.name} cannot be reached from Node` };
    } else if (address.kind === 'fd') {
      return { state: 'none', detail: 'the socket was handed over as a descriptor; its path is not known' };
    } else return { state: 'none', detail: `${address.backend} is no socket` };
    await client.handshake(deadline);
    return { state: 'ok', client };
  } catch (error) {
    await client?.close();
    if (error instanceof QmpError && error.code === 'timeout') {
      return {
        state: 'busy',
        detail: client?.greeted
          ? `the monitor greeted, and then did not answer within ${timeoutMs} ms`
          : `no greeting within ${timeoutMs} ms: another client has the monitor, or QEMU hangs`,
      };
    }
    return errnoOf(error) === 'EAGAIN' ? 'queue-full' : failure(error);
  } finally {
    await handle?.close();
  }
}

const timeoutOf = (options: ConnectOptions): number => options.timeoutMs ?? 1000;

/** O_PATH of Linux, all architectures that Node runs on but alpha, parisc and sparc; node:fs does not name it. */
const O_PATH = 0o10000000;

function loopback(host: string): string | null {
  if (host === '' || host === '0.0.0.0' || host === 'localhost' || host === '*') return '127.0.0.1';
  if (host === '::' || host === '::1') return '::1';
  return /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) ? host : null;
}

function failure(error: unknown): Exclude<QmpConnection, { state: 'ok' }> {
  const detail = error instanceof Error ? error.message : String(error);
  const code = errnoOf(error);
  if (code === 'EACCES' || code === 'EPERM') return { state: 'denied', detail };
  return { state: 'none', detail };
}

function errnoOf(error: unknown): string | null {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' ? code : null;
}

/**
 * Commands that only look, and not at the guest's memory either: reading a hole through a mapping fills it. So no `x`,
 * `info mem`, `info tlb`; and no `gpa2hpa`, which even writes ("force copy-on-write", vtop() of monitor/misc.c, 7.2).
 */
const READ_ONLY =
  /^((x-)?query-[a-z0-9-]+|qmp_capabilities|qom-(get|list|list-types|list-properties)|device-list-properties|trace-event-get-state)$/;
const READ_ONLY_HMP =
  /^(info (mtree|ramblock|memdev|memory-devices|memory_size_summary|version|status|name|uuid|kvm|balloon|numa|pci|qtree|qom-tree|migrate|trace-events)( -[a-z])*|gpa2hva 0x[0-9a-f]{1,16})$/;

function isReadOnly(command: string, args: Readonly<Record<string, unknown>>): boolean {
  if (command !== 'human-monitor-command') return READ_ONLY.test(command);
  const line = args['command-line'];
  return typeof line === 'string' && READ_ONLY_HMP.test(line);
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** A negotiated connection to a monitor; connectQmp() makes one. It holds the monitor until it is closed. */
export class QmpClient {
  readonly #socket: Socket;
  readonly #decoder: QmpDecoder;
  /** Bytes that may arrive while one command waits: the reply, and events. */
  readonly #maxBytes: number;
  readonly #unrestricted: boolean;
  readonly #waiting = new Map<number, Waiting>();
  readonly #closed: Promise<void>;
  #greeting: { readonly resolve: () => void; readonly reject: (error: Error) => void } | null = null;
  #version: QmpVersion | null = null;
  #failure: Error | null = null;
  #nextId = 1;
  #bytes = 0;
  #events = 0;

  /** For connectQmp(). */
  constructor(socket: Socket, options: ConnectOptions) {
    this.#socket = socket;
    const maxMessageBytes = options.maxMessageBytes ?? MAX_QMP_BYTES;
    this.#decoder = new QmpDecoder(maxMessageBytes);
    this.#maxBytes = 2 * maxMessageBytes;
    this.#unrestricted = options.unrestricted ?? false;
    this.#closed = new Promise(resolve => socket.once('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', error => this.#fail(error));
    socket.on('close', () => this.#fail(new QmpError('closed', 'the monitor closed the connection')));
  }

  /** QEMU's version. */
  get version(): QmpVersion {
    return this.#version ?? { major: 0, minor: 0, micro: 0, package: '' };
  }
  get greeted(): boolean {
    return this.#version !== null;
  }
  /** Events that came; they are counted and dropped. */
  get events(): number {
    return this.#events;
  }

  /** For connectQmp(): greeting and negotiation. @param deadline in the time of Date.now(). */
  async handshake(deadline: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      const timer = setTimeout(
        () => this.#fail(new QmpError('timeout', 'no greeting')),
        Math.max(0, deadline - Date.now()),
      );
      const done = (settle: () => void): void => {
        clearTimeout(timer);
        this.#greeting = null;
        settle();
      };
      this.#greeting = {
        resolve: () => done(resolve),
        reject: error => done(() => reject(error)),
      };
    });
    await this.execute('qmp_capabilities', {}, Math.max(1, deadline - Date.now()));
  }

  /**
   * Sends a command that reads state and waits for its result.
   * @param timeoutMs default 2000; when it passes, the connection is closed.
   * @returns the value of `return`; whole numbers past 2^53 are decimal strings.
   * @throws QmpError
   */
  async execute(
    command: string,
    args: Readonly<Record<string, unknown>> = {},
    timeoutMs = 2000,
  ): Promise<unknown> {
    if (!this.#unrestricted && !isReadOnly(command, args)) {
      throw new QmpError('not-read-only', `${command} may change the guest, so it is not sent`);
    }
    const id = this.#nextId++;
    const line = `${JSON.stringify({ execute: command, arguments: args, id })}\n`;
    if (this.#failure) throw new QmpError('closed', `the connection has ended: ${this.#failure.message}`);
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#fail(new QmpError('timeout', `${command}: no reply within ${timeoutMs} ms`)),
        timeoutMs,
      );
      if (this.#waiting.size === 0) this.#bytes = 0;
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.write(line);
    });
  }

  /**
   * Sends a line of the human monitor (`info …`, `gpa2hva …`) and returns what it prints, refusals included; lines
   * end in CR LF.
   * @throws QmpError
   */
  async hmp(line: string, timeoutMs = 2000): Promise<string> {
    const text = await this.execute('human-monitor-command', { 'command-line': line }, timeoutMs);
    if (typeof text !== 'string') {
      const error = new QmpError('protocol', `${line}: the reply is no text`);
      this.#fail(error);
      throw error;
    }
    return text;
  }

  /** Gives the monitor back. Commands that wait fail with `closed`. Resolves when the socket is gone. */
  async close(): Promise<void> {
    this.#fail(new QmpError('closed', 'we closed the connection'));
    await this.#closed;
  }

  #receive(chunk: Uint8Array): void {
    if (this.#failure) return;
    this.#bytes += chunk.length;
    try {
      this.#decoder.push(chunk, message => this.#dispatch(message));
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#fail(
        new QmpError(/^a message of at most/.test(error.expected) ? 'too-long' : 'protocol', error.message),
      );
    }
    if (this.#bytes > this.#maxBytes && (this.#waiting.size > 0 || this.#greeting)) {
      this.#fail(new QmpError('too-long', `more than ${this.#maxBytes} bytes without a reply`));
    }
  }

  #dispatch(message: QmpMessage): void {
    if (this.#failure) return;
    if (message.type === 'event') {
      this.#events++;
    } else if (message.type === 'greeting') {
      if (!this.#greeting) {
        this.#fail(new QmpError('protocol', 'a second greeting'));
        return;
      }
      this.#version = message.version;
      this.#greeting.resolve();
    } else {
      const waiting = typeof message.id === 'number' ? this.#waiting.get(message.id) : undefined;
      if (!waiting) {
        const detail = message.type === 'error' ? `: ${message.description}` : '';
        this.#fail(new QmpError('protocol', `a reply to nothing that was asked${detail}`));
        return;
      }
      clearTimeout(waiting.timer);
      this.#waiting.delete(Number(message.id));
      this.#bytes = 0;
      if (message.type === 'return') waiting.resolve(message.value);
      else waiting.reject(new QmpError('refused', message.description, message.class));
    }
  }

  /** Ends the connection and everything that waits for it. Only the first reason counts. */
  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#socket.destroy();
    this.#greeting?.reject(error);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error instanceof QmpError ? error : new QmpError('closed', error.message));
    }
    this.#waiting.clear();
  }
}
