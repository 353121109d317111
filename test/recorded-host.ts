import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { parseStat } from '../model/proc/stat.ts';
import { type FdTable, loadNative, type Native } from '../native/index.ts';
import { HostFiles } from '../sampler/files.ts';
import { fixture, processes } from './fixtures.ts';

const fixtures = fileURLToPath(new URL('./fixtures', import.meta.url));

/**
 * A recorded host as a directory that {@link HostFiles} takes for `/`: the recorded processes are below the pids that they
 * had, and everything in it may be changed. `close()` removes it.
 */
export class RecordedHost {
  readonly root = mkdtempSync(join(tmpdir(), 'pinscope-host-'));
  readonly files = new HostFiles(this.root);
  readonly native: Native = { ...loadNative(), listFds: async (path, prefixes) => listFds(path, prefixes) };

  /** @param host a directory of test/fixtures; none: a host without any file */
  constructor(readonly host?: string) {
    if (host === undefined) return;
    for (const top of ['proc', 'sys']) {
      cpSync(join(fixtures, host, top), join(this.root, top), { recursive: true, verbatimSymlinks: true });
    }
    for (const name of processes(host)) {
      cpSync(join(fixtures, host, 'proc', name), join(this.root, 'proc', String(this.pidOf(name))), {
        recursive: true,
        verbatimSymlinks: true,
      });
      rmSync(join(this.root, 'proc', name), { recursive: true });
    }
  }

  /** Of a recorded process, by its name in the recording. */
  pidOf(name: string): number {
    return parseStat(fixture(this.host ?? '', `/proc/${name}/stat`)).pid;
  }

  /** Names of the recorded processes. */
  get names(): string[] {
    return this.host === undefined ? [] : processes(this.host);
  }

  write(path: string, text: string | Uint8Array): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  link(path: string, target: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    rmSync(join(this.root, path), { force: true });
    symlinkSync(target, join(this.root, path));
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true });
  }

  /** A process with only what is needed to be one. */
  addProcess(pid: number, comm: string, cmdline: readonly string[] = [comm], uid = 1000): void {
    this.write(`/proc/${pid}/stat`, statText(pid, comm));
    this.write(
      `/proc/${pid}/status`,
      `Name:\t${comm}\nState:\tS (sleeping)\nTgid:\t${pid}\nPid:\t${pid}\nPPid:\t1\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nGid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n`,
    );
    this.write(`/proc/${pid}/cmdline`, cmdline.map(word => `${word}\0`).join(''));
    // Without any mapping it would be a kernel thread.
    this.write(`/proc/${pid}/maps`, '7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n');
    this.write(`/proc/${pid}/fd-stat`, '');
    mkdirSync(join(this.root, `proc/${pid}/fd`), { recursive: true });
  }

  /** An open file of a process: a row of fd-stat, the link, and fdinfo if it has one. */
  addFd(pid: number, fd: number, { link, dev = '0:11', inode, size = 4096, fdinfo }: NewFd): void {
    this.link(`/proc/${pid}/fd/${fd}`, link);
    const path = join(this.root, `proc/${pid}/fd-stat`);
    const rows = existsSync(path) ? readFileSync(path, 'utf8') : '';
    writeFileSync(path, `${rows}${fd} ${dev} ${inode} ${size} 2026-01-02 03:04:05.678000000 +0000\n`);
    if (fdinfo !== undefined) {
      this.write(
        `/proc/${pid}/fdinfo/${fd}`,
        `pos:\t0\nflags:\t02000002\nmnt_id:\t12\nino:\t${inode}\n${fdinfo}`,
      );
    }
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

interface NewFd {
  readonly link: string;
  /** MAJOR:MINOR, decimal as stat(1) prints it. */
  readonly dev?: string;
  readonly inode: number;
  readonly size?: number;
  /** The driver's lines of fdinfo; none: no such file. */
  readonly fdinfo?: string;
}

/** Lines of fdinfo that make a file a dma-buf. */
export const dmabufInfo = (size: number, count: number, exporter = 'udmabuf', name?: string): string =>
  `size:\t${size}\ncount:\t${count}\nexp_name:\t${exporter}\n${name === undefined ? '' : `name:\t${name}\n`}`;

/** /proc/PID/stat. */
export function statText(pid: number, comm: string, startTime = 1000, state = 'S', flags = 0): string {
  return `${pid} (${comm}) ${state} 1 ${pid} ${pid} 0 -1 ${flags}${' 0'.repeat(12)} ${startTime}${' 0'.repeat(30)}\n`;
}

/** As the addon, from the links and the `fd-stat` of a recorded process: what a link leads to is not recorded. */
function listFds(directory: string, prefixes: readonly string[]): FdTable {
  const stats = new Map(
    readFileSync(join(dirname(directory), 'fd-stat'), 'utf8')
      .split('\n')
      .map(line => [line.split(' ')[0] ?? '', line.split(' ')]),
  );
  const rows = readdirSync(directory)
    .map(name => ({ name, link: readlinkSync(join(directory, name)), stat: stats.get(basename(name)) }))
    .filter(({ link }) => prefixes.length === 0 || prefixes.some(prefix => link.startsWith(prefix)));
  return {
    fd: Int32Array.from(rows, ({ name }) => Number(name)),
    link: rows.map(({ link }) => link),
    dev: BigUint64Array.from(rows, ({ stat }) => encodedDev(stat?.[1] ?? '0:0')),
    ino: BigUint64Array.from(rows, ({ stat }) => BigInt(stat?.[2] ?? 0)),
    size: BigUint64Array.from(rows, ({ stat }) => BigInt(stat?.[3] ?? 0)),
    ctimeNs: BigInt64Array.from(rows, ({ stat }) => (stat ? ctimeNs(stat) : 0n)),
    // Not recorded either.
    mode: Uint32Array.from(rows, () => 0),
    blockBytes: Uint32Array.from(rows, () => 0),
    // ENOENT where nothing was recorded.
    errno: Int32Array.from(rows, ({ stat }) => (stat ? 0 : 2)),
  };
}

/** `MAJOR:MINOR` as st_dev has it (glibc's makedev(3)). */
function encodedDev(text: string): bigint {
  const [major = 0, minor = 0] = text.split(':').map(Number);
  return BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor >>> 8) << 20n);
}

/** `%z` of stat(1): `2026-11-23 08:42:03.597437985 +0000`. */
function ctimeNs(fields: readonly string[]): bigint {
  const [, , , , date = '', time = '', zone = ''] = fields;
  const [whole = '', fraction = ''] = time.split('.');
  return BigInt(Date.parse(`${date}T${whole}${zone}`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

/** Makes hosts for the tests of one file, and closes them after its last. */
export function recordedHosts(): (name?: string) => RecordedHost {
  const open: RecordedHost[] = [];
  afterAll(() => {
    for (const host of open) host.close();
  });
  return name => {
    const host = new RecordedHost(name);
    open.push(host);
    return host;
  };
}
