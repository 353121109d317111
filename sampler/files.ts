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
import { grantFor } from './grants.ts';

/**
 * The host's files below a root: `/` for this machine, a recorded tree for tests. All reads of procfs and sysfs go through
 * here, so that a refusal, a missing file and a process that ended are told apart in one place.
 */
export class HostFiles {
  constructor(private readonly root = '/') {}

  /** The whole text of a file, as UTF-8 with replacement characters. */
  text(path: string): Reading<string> {
    return this.read(path, () => readFileSync(this.at(path), 'utf8'));
  }

  /** The whole file. */
  bytes(path: string): Reading<Uint8Array> {
    return this.read(path, () => readFileSync(this.at(path)));
  }

  /** At most `limit` bytes from the start of a file. */
  head(path: string, limit: number): Reading<Uint8Array> {
    return this.read(path, () => {
      const fd = openSync(this.at(path), 'r');
      try {
        const data = new Uint8Array(limit);
        let filled = 0;
        for (;;) {
          const read = readSync(fd, data, filled, limit - filled, filled);
          if (read === 0 || filled + read === limit) return data.subarray(0, filled + read);
          filled += read;
        }
      } finally {
        closeSync(fd);
      }
    });
  }

  /** Text, parsed. A text that does not have its format is `absent`: we do not understand it, and do not guess. */
  parsed<T>(path: string, parse: (text: string) => T): Reading<T> {
    return understood(this.text(path), parse);
  }

  /** Opens for reading, and never waits for a writer as a FIFO would make us; the caller closes. */
  open(path: string): Reading<number> {
    return this.read(path, () => openSync(this.at(path), constants.O_RDONLY | constants.O_NONBLOCK));
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

  private read<T>(path: string, get: () => T): Reading<T> {
    try {
      return ok(path, get());
    } catch (error) {
      return failure(path, error);
    }
  }
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
