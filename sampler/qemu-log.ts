import { closeSync, fstatSync, readSync, statSync } from 'node:fs';
import { parseRefusals } from '../model/qemu/refusals.ts';
import { absent, mapReading, ok, type Reading } from '../model/reading.ts';
import type { Refusal } from '../model/snapshot.ts';
import { failure, type HostFiles } from './files.ts';

/** The end of a log is read: QEMU says little, and the newest matters. */
const MOST_BYTES = 256 * 1024;

/** A log of QEMU: where it is opened, and what it is called. */
export interface LogFile {
  readonly path: string;
  readonly name: string;
}

/**
 * Where what QEMU prints to its standard error can be read back: a regular file behind fd 2 (`2>FILE`, or `-D FILE` with
 * `-daemonize`), else libvirt's log of the guest, which its virtlogd writes from a pipe. A terminal, a journal and a plain pipe cannot
 * be read after the fact: `absent`, with where it goes.
 * @param name of the guest (`-name`)
 */
export function messagesOf(files: HostFiles, pid: number, name: string | null): Reading<LogFile> {
  const fd = `/proc/${pid}/fd/2`;
  const link = files.link(fd);
  if (link.state !== 'ok') return link as Reading<never>;
  const target = link.value;
  // A device may do something when it is opened.
  if (/^\/(?!dev\/)/.test(target) && isFile(files, fd)) return ok(target, { path: fd, name: target });
  if (name !== null && target.startsWith('pipe:') && !name.includes('/')) {
    const path = `/var/log/libvirt/qemu/${name}.log`;
    const log = readEnd(files, { path, name: path }, 0);
    if (log.state !== 'absent') return mapReading(log, () => ({ path, name: path }));
  }
  return absent(fd, whereTo(target, pid));
}

/**
 * Refused creations of buffers in what QEMU printed to its standard error. -D alone has no warnings: they go to standard error
 * (warn_report() of util/error-report.c, tried on 7.2).
 * @param name of the guest (`-name`)
 */
export function readRefusals(files: HostFiles, pid: number, name: string | null): Reading<Refusal[]> {
  const log = messagesOf(files, pid, name);
  if (log.state === 'absent')
    return absent(log.source, `${log.detail}, so refusals that QEMU has told of cannot be read back`);
  if (log.state !== 'ok') return log as Reading<never>;
  return mapReading(readEnd(files, log.value, MOST_BYTES), text => parseRefusals(text, log.value.name));
}

function whereTo(target: string, pid: number): string {
  const file = 'start QEMU with 2>FILE, or with -daemonize -D FILE';
  if (target === '/dev/null') return `QEMU’s messages are thrown away (/dev/null; ${file})`;
  if (target.startsWith('/dev/')) return `QEMU’s messages go to a terminal (look there, or ${file})`;
  if (target.startsWith('socket:'))
    return `QEMU’s messages go to a socket (a journal: journalctl _PID=${pid} | grep udmabuf; or ${file})`;
  return `QEMU’s messages go to a pipe that somebody else reads (${file})`;
}

function isFile(files: HostFiles, path: string): boolean {
  try {
    return statSync(files.at(path)).isFile();
  } catch {
    return false;
  }
}

/** The last `most` bytes of a regular file, from a whole line on. */
function readEnd(files: HostFiles, { path, name }: LogFile, most: number): Reading<string> {
  const opened = files.open(path);
  if (opened.state !== 'ok') return opened as Reading<never>;
  try {
    const stat = fstatSync(opened.value);
    if (!stat.isFile()) return absent(path, 'is no regular file');
    const data = Buffer.alloc(Math.min(stat.size, most));
    const read = readSync(opened.value, data, 0, data.length, stat.size - data.length);
    const text = data.toString('utf8', 0, read);
    // What is before the first newline began outside.
    return ok(name, stat.size > data.length ? text.slice(text.indexOf('\n') + 1) : text);
  } catch (error) {
    return failure(path, error);
  } finally {
    closeSync(opened.value);
  }
}
