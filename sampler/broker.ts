import { closeSync, readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { parseStat } from '../model/proc/stat.ts';
import type { FdTable, Native, NativeError } from '../native/index.ts';
import {
  BROKER_PROTOCOL,
  type BrokerHello,
  type BrokerReply,
  type BrokerRequest,
  brokerFileOf,
  decodeHello,
  decodeReply,
  decodeRows,
  encodeRequest,
  LISTED_LINKS,
  MAX_PACKET_BYTES,
  OP,
} from './broker-protocol.ts';
import type { PrivilegedFiles } from './files.ts';

/** A request is one or two system calls; longer than this it takes only when something is wrong. */
const TIMEOUT_MS = 5000;

/**
 * The other end of a broker that runs: native/broker.c, docs/BROKER.md. Synchronous, as opening a file is. Descriptors that it
 * handed over are the caller's, and stay open when the broker ends.
 */
export class Broker implements PrivilegedFiles {
  private constructor(
    private readonly native: Native,
    private fd: number | null,
    readonly hello: BrokerHello,
    private readonly onLost: (detail: string) => void,
  ) {}

  /**
   * @param fd our end of the socket; belongs to this object from here on, also when it throws
   * @param onLost called once, when a request finds that the broker is gone; not after {@link close}
   * @throws Error when nobody answers there, or not in our protocol
   */
  static connect(native: Native, fd: number, onLost: (detail: string) => void): Broker {
    try {
      const { replies, fds } = exchange(native, fd, { op: OP.hello });
      for (const each of fds) closeSync(each);
      const hello = replies[0]?.errno === 0 && decodeHello(replies[0].body);
      if (!hello || hello.protocol !== BROKER_PROTOCOL) {
        throw new Error('the broker that is installed is of another version of Pinscope');
      }
      return new Broker(native, fd, hello, onLost);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Whether the last request found it there. */
  get alive(): boolean {
    return this.fd !== null;
  }

  open(path: string): number | undefined {
    const file = brokerFileOf(path.replace(/^\/proc\/self\//, `/proc/${process.pid}/`));
    if (file === undefined || !this.alive) return undefined;
    const { pid, ...what } = file;
    return this.askFd('open', path, { op: OP.open, ...what, ...(pid === null ? {} : processOf(pid)) });
  }

  getFd(pid: number, fd: number): number | undefined {
    if (!this.alive) return undefined;
    const request = { op: OP.getFd, arg: fd, ...processOf(pid) };
    return this.askFd('pidfd_getfd', `/proc/${pid}/fd/${fd}`, request);
  }

  listFds(pid: number, prefixes: readonly string[]): FdTable | undefined {
    const listed = (prefix: string) => LISTED_LINKS.some(known => prefix.startsWith(known));
    if (!this.alive || prefixes.length === 0 || !prefixes.every(listed)) return undefined;
    const answer = this.ask({ op: OP.listFds, ...processOf(pid) });
    if (answer === undefined) return undefined;
    for (const fd of answer.fds) closeSync(fd);
    const failed = answer.replies.find(({ errno }) => errno !== 0);
    if (failed) throw refused(failed.errno, 'open', `/proc/${pid}/fd`);
    const table = decodeRows(answer.replies, prefixes);
    if (table === undefined) this.lose('it answered what is no list');
    return table;
  }

  /** It ends when this end of its socket is closed. */
  close(): void {
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }

  private askFd(syscall: string, path: string, request: BrokerRequest): number | undefined {
    const answer = this.ask(request);
    if (answer === undefined) return undefined;
    const [fd, ...others] = answer.fds;
    const errno = answer.replies[0]?.errno ?? 0;
    if (errno === 0 && fd !== undefined && others.length === 0) return fd;
    for (const each of answer.fds) closeSync(each);
    if (errno !== 0) throw refused(errno, syscall, path);
    this.lose('it answered without the file');
    return undefined;
  }

  /** `undefined`: the broker is gone. */
  private ask(request: BrokerRequest): Exchange | undefined {
    if (this.fd === null) return undefined;
    try {
      return exchange(this.native, this.fd, request);
    } catch (error) {
      // Also a late one: its answer would be taken for that of the next request.
      this.lose(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  private lose(detail: string): void {
    this.close();
    this.onLost(detail);
  }
}

interface Exchange {
  readonly replies: readonly BrokerReply[];
  readonly fds: readonly number[];
}

function exchange(native: Native, fd: number, request: BrokerRequest): Exchange {
  const deadline = performance.now() + TIMEOUT_MS;
  const left = () => Math.max(0, Math.ceil(deadline - performance.now()));
  const replies: BrokerReply[] = [];
  const fds: number[] = [];
  try {
    native.sendPacket(fd, encodeRequest(request), left());
    for (;;) {
      const packet = native.receivePacket(fd, MAX_PACKET_BYTES, left());
      fds.push(...packet.fds);
      const reply = decodeReply(packet.data, request.op);
      if (reply === undefined) throw new Error('the broker’s answer is of another form than expected');
      replies.push(reply);
      if (reply.last) return { replies, fds };
    }
  } catch (error) {
    for (const each of fds) closeSync(each);
    throw error;
  }
}

/**
 * The process that has this pid now; the broker checks that it still is that one. Whether it is the one that a sample is about,
 * the sample checks at its end. Throws like readFileSync.
 */
function processOf(pid: number): { pid: number; startTime: bigint } {
  return { pid, startTime: parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8')).startTime };
}

/** In the form of a failed system call of Node or of the addon. */
function refused(errno: number, syscall: string, path: string): NativeError {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: the broker could not ${syscall} '${path}'`), {
    code,
    errno,
    syscall,
    path,
  });
}
