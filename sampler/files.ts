import {
  accessSync,
  closeSync,
  constants,
  type Dirent,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Files } from '../model/lines.ts';
import { ParseError } from '../model/parse-error.ts';
import { absent, denied, known, ok, type Reading, raced } from '../model/reading.ts';
import type { FdTable } from '../native/index.ts';
import { hidesValues } from './broker-protocol.ts';
import { grantFor } from './grants.ts';

/**
 * Somebody who may open what this process may not: the broker. All throw like the system call that was refused, with `code`;
 * `undefined`: this is nothing that they do, or they are gone. The caller closes what is returned.
 */
export interface PrivilegedFiles {
  open(path: string): number | undefined;
  /** Fds of a process whose links begin with one of these. */
  listFds(pid: number, prefixes: readonly string[]): FdTable | undefined;
  /** A duplicate of a process's dma-buf or memfd. */
  getFd(pid: number, fd: number): number | undefined;
}

/**
 * The host's files below a root: `/` for this machine, a recorded tree for tests. All reads of procfs and sysfs go through
 * here, so that a refusal, a missing file and a process that ended are told apart in one place. What this process is refused is
 * asked of the broker, where there is one; where that refuses too, it is `denied`.
 */
export class HostFiles {
  private privileged: PrivilegedFiles | null = null;

  constructor(private readonly root = '/') {}

  /** From now on, or `null`: no longer. */
  usePrivileged(files: PrivilegedFiles | null): void {
    this.privileged = files;
  }

  /** The whole text of a file, as UTF-8 with replacement characters. */
  text(path: string): Reading<string> {
    return this.read(path, () => this.whole(path, from => readFileSync(from, 'utf8')));
  }

  /** The whole file. */
  bytes(path: string): Reading<Uint8Array> {
    return this.read(path, () => this.whole(path, from => readFileSync(from)));
  }

  /** At most `limit` bytes from the start of a file. */
  head(path: string, limit: number): Reading<Uint8Array> {
    return this.read(path, () =>
      this.opened(path, fd => {
        const data = new Uint8Array(limit);
        let filled = 0;
        for (;;) {
          const read = readSync(fd, data, filled, limit - filled, filled);
          if (read === 0 || filled + read === limit) return data.subarray(0, filled + read);
          filled += read;
        }
      }),
    );
  }

  /** Text, parsed. A text that does not have its format is `absent`: we do not understand it, and do not guess. */
  parsed<T>(path: string, parse: (text: string) => T): Reading<T> {
    return understood(this.text(path), parse);
  }

  /** Opens for reading, and never waits for a writer as a FIFO would make us; the caller closes. */
  open(path: string): Reading<number> {
    return this.read(path, () => this.openFd(path));
  }

  /** A duplicate of another process's dma-buf or memfd, by the broker; `denied` without one. The caller closes it. */
  duplicate(pid: number, fd: number): Reading<number> {
    const path = `/proc/${pid}/fd/${fd}`;
    return this.read(path, () => this.privileged?.getFd(pid, fd) ?? notPermitted(path));
  }

  /** Fds of a process whose links begin with one of these, by the broker; `denied` without one. */
  listFds(pid: number, prefixes: readonly string[]): Reading<FdTable> {
    const path = `/proc/${pid}/fd/`;
    return this.read(path, () => this.privileged?.listFds(pid, prefixes) ?? notPermitted(path));
  }

  names(directory: string): Reading<string[]> {
    return this.read(directory, () => readdirSync(this.at(directory)));
  }

  link(path: string): Reading<string> {
    return this.read(path, () => readlinkSync(this.at(path)));
  }

  /**
   * The small files below a directory, by path: those that `wanted` names, down to `depth` levels, through directories that
   * `through` names. What is wanted and is no readable file (a symlink to a directory) is there with an empty text.
   */
  tree(directory: string, wanted: RegExp, depth: number, through = /./): Reading<Files> {
    const entries = (path: string) =>
      this.read(path, () => readdirSync(this.at(path), { withFileTypes: true }));
    const top = entries(directory);
    if (top.state !== 'ok') return top as Reading<never>;
    const found = new Map<string, string>();
    const walk = (path: string, inside: readonly Dirent[], left: number) => {
      for (const entry of inside) {
        const inner = `${path}/${entry.name}`;
        if (wanted.test(inner)) {
          // Reading what is no file costs an exception each, and a machine has thousands of links.
          found.set(inner, entry.isFile() ? (known(this.text(inner)) ?? '') : '');
        } else if (left > 0 && entry.isDirectory() && through.test(inner)) {
          walk(inner, known(entries(inner)) ?? [], left - 1);
        }
      }
    };
    walk(directory, top.value, depth);
    return ok(directory, found);
  }

  /** Whether this user may open it for reading and writing; nothing is opened. */
  usable(path: string): Reading<true> {
    return this.read(path, () => {
      accessSync(this.at(path), constants.R_OK | constants.W_OK);
      return true as const;
    });
  }

  /** The path as the operating system sees it. */
  at(path: string): string {
    return this.root === '/' ? path : join(this.root, path);
  }

  /** By its path where that goes: a sample reads thousands of small files. */
  private whole<T>(path: string, get: (from: string | number) => T): T {
    if (this.privileged === null) return get(this.at(path));
    if (hidesValues(path)) return this.opened(path, get);
    try {
      return get(this.at(path));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return this.opened(path, get);
    }
  }

  private opened<T>(path: string, use: (fd: number) => T): T {
    const fd = this.openFd(path);
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }

  private openFd(path: string): number {
    if (this.privileged !== null && hidesValues(path)) {
      try {
        const fd = this.privileged.open(path);
        if (fd !== undefined) return fd;
      } catch {
        // Hidden values are better than none.
      }
    }
    try {
      return openSync(this.at(path), constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const fd = isRefusal(error) ? this.privileged?.open(path) : undefined;
      if (fd === undefined) throw error;
      return fd;
    }
  }

  private read<T>(path: string, get: () => T): Reading<T> {
    try {
      return ok(path, get());
    } catch (error) {
      return failure(path, error);
    }
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM');
}

function notPermitted(path: string): never {
  throw Object.assign(new Error(`EACCES: permission denied '${path}'`), { code: 'EACCES' });
}

/** A failed system call as a reading. */
export function failure(path: string, error: unknown): Reading<never> {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  if (code === undefined) throw error;
  const [, pid, file = ''] = /^\/proc\/(\d+)\/(.*)$/s.exec(path) ?? [];
  if (pid !== undefined && (code === 'ESRCH' || code === 'ENOENT')) {
    // Every process has a stat as long as it is there.
    return raced(
      path,
      `process ${pid} ${file === 'stat' ? 'is gone' : 'is gone, or has no such file (now)'}`,
    );
  }
  if (code === 'ESRCH') return raced(path, 'what it tells of is gone');
  if (code === 'EACCES' || code === 'EPERM') return denied(path, `${code}: not permitted`, grantFor(path));
  if (code === 'ENOENT' || code === 'ENOTDIR') return absent(path, 'this host has no such file');
  return absent(path, `cannot be read: ${code}`);
}

/** Applies a parser; where it refuses, the reading is `absent` with its words. */
export function understood<T, U>(reading: Reading<T>, parse: (value: T) => U): Reading<U> {
  if (reading.state !== 'ok') return reading as Reading<never>;
  try {
    return ok(reading.source, parse(reading.value));
  } catch (error) {
    if (error instanceof ParseError) return absent(reading.source, `not understood: ${error.message}`);
    throw error;
  }
}
