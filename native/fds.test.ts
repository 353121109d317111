import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withHolder } from '../test/holder.ts';
import { loadNative } from './index.ts';

const native = loadNative();
const { ENOENT, ELOOP } = constants.errno;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pinscope-fds-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the table of descriptors', () => {
  test('of another process, as Node reads it', async () => {
    await withHolder('shmem', 12288, async ({ pid, fd, inode }) => {
      const directory = `/proc/${pid}/fd`;
      const table = await native.listFds(directory, []);
      const names = readdirSync(directory).sort((a, b) => Number(a) - Number(b));
      expect(Array.from(table.fd)).toEqual(names.map(Number));
      expect(table.link).toEqual(names.map(name => readlinkSync(join(directory, name))));
      const stats = names.map(name => statSync(join(directory, name), { bigint: true }));
      expect(Array.from(table.dev)).toEqual(stats.map(stat => stat.dev));
      expect(Array.from(table.ino)).toEqual(stats.map(stat => stat.ino));
      expect(Array.from(table.size)).toEqual(stats.map(stat => stat.size));
      expect(Array.from(table.ctimeNs)).toEqual(stats.map(stat => stat.ctimeNs));
      expect(Array.from(table.mode)).toEqual(stats.map(stat => Number(stat.mode)));
      expect(Array.from(table.blockBytes)).toEqual(stats.map(stat => Number(stat.blksize)));
      expect(table.errno.every(errno => errno === 0)).toBe(true);

      const memfds = await native.listFds(directory, ['/dmabuf:', '/memfd:held']);
      // Python's mmap keeps a duplicate.
      expect(Array.from(memfds.fd)).toContain(fd);
      expect(new Set(memfds.link)).toEqual(new Set(['/memfd:held (deleted)']));
      expect(new Set(memfds.ino)).toEqual(new Set([inode]));
      expect(new Set(memfds.size)).toEqual(new Set([12288n]));

      const none = await native.listFds(directory, ['/dmabuf:']);
      expect(none.fd.length + none.link.length + none.ino.length).toBe(0);
    });
  });

  test('of this process while its own change', async () => {
    const file = join(folder, 'opened');
    writeFileSync(file, 'x');
    const fds = Array.from({ length: 300 }, () => openSync(file, 'r'));
    const table = await native.listFds('/proc/self/fd', [folder]);
    for (const fd of fds) closeSync(fd);
    expect(Array.from(table.fd)).toEqual(fds.sort((a, b) => a - b));
  });

  test('rows that fail are rows with an errno, and names that are no numbers are left out', async () => {
    const directory = join(folder, 'table');
    mkdirSync(directory);
    symlinkSync(`${folder}/gone`, join(directory, '3'));
    symlinkSync('5', join(directory, '4'));
    symlinkSync('4', join(directory, '5'));
    writeFileSync(join(directory, '6'), 'no link');
    for (const name of ['x', '-1', '7x', '99999999999', ' 8']) symlinkSync('/', join(directory, name));
    const table = await native.listFds(directory, []);
    const rows = Array.from(table.fd, (fd, i) => [fd, table.errno[i], table.link[i], table.ino[i]]);
    expect(rows.sort((a, b) => Number(a[0]) - Number(b[0]))).toEqual([
      [3, ENOENT, `${folder}/gone`, 0n],
      [4, ELOOP, '5', 0n],
      [5, ELOOP, '4', 0n],
      [6, constants.errno.EINVAL, '', 0n],
    ]);
  });

  test('a link that is no UTF-8, or has a newline', async () => {
    const directory = join(folder, 'names');
    mkdirSync(directory);
    symlinkSync(Buffer.from('/memfd:\xff\n(deleted)', 'latin1'), join(directory, '1'));
    const table = await native.listFds(directory, ['/memfd:']);
    expect(table.link).toEqual(['/memfd:\ufffd\n(deleted)']);
  });

  test('a directory that is not there, and one that is none', async () => {
    await expect(native.listFds('/proc/0/fd', [])).rejects.toMatchObject({
      code: 'ENOENT',
      errno: ENOENT,
      syscall: 'open',
      path: '/proc/0/fd',
      message: "ENOENT: No such file or directory, open '/proc/0/fd'",
    });
    await expect(native.listFds('/proc/self/status', [])).rejects.toMatchObject({ code: 'ENOTDIR' });
  });
});

describe('duplicates', () => {
  test('a descriptor of another process is the same file here, close-on-exec', async () => {
    await withHolder('shmem', 4096, async ({ pid, fd, inode }) => {
      const pidfd = await native.pidfdOpen(pid);
      const own = await native.pidfdGetfd(pidfd, fd);
      try {
        expect(fstatSync(own, { bigint: true }).ino).toBe(inode);
        for (const each of [pidfd, own]) {
          const flags = /^flags:\s*0(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${each}`, 'utf8'))?.[1];
          expect(Number.parseInt(flags ?? '', 8) & 0o2000000).toBe(0o2000000);
        }
        await expect(native.pidfdGetfd(pidfd, 1000)).rejects.toMatchObject({
          code: 'EBADF',
          syscall: 'pidfd_getfd',
          path: 'fd 1000',
        });
      } finally {
        closeSync(own);
        closeSync(pidfd);
      }
    });
  });

  test('the seals of a memfd, and of a file that has none', async () => {
    await withHolder('shmem', 4096, async ({ pid, fd }) => {
      const pidfd = await native.pidfdOpen(pid);
      const own = await native.pidfdGetfd(pidfd, fd);
      const device = openSync('/dev/null', 'r');
      try {
        // Made without MFD_ALLOW_SEALING: sealed against seals, F_SEAL_SEAL.
        expect(await native.getSeals(own)).toBe(1);
        const refused = native.getSeals(device);
        await expect(refused).rejects.toMatchObject({
          code: 'EINVAL',
          syscall: 'fcntl',
          path: `fd ${device}`,
        });
      } finally {
        for (const each of [device, own, pidfd]) closeSync(each);
      }
    });
  });

  test('a process that is gone', async () => {
    const child: ChildProcess = spawn('true');
    await once(child, 'exit');
    await expect(native.pidfdOpen(child.pid ?? -1)).rejects.toMatchObject({
      code: 'ESRCH',
      errno: constants.errno.ESRCH,
      syscall: 'pidfd_open',
      path: `pid ${child.pid}`,
    });
    let pidfd = -1;
    await withHolder('shmem', 4096, async ({ pid }) => {
      pidfd = await native.pidfdOpen(pid);
    });
    await expect(native.pidfdGetfd(pidfd, 0)).rejects.toMatchObject({ code: 'ESRCH' });
    closeSync(pidfd);
  });

  test('a descriptor that is no pidfd', async () => {
    const fd = openSync('/dev/null', 'r');
    await expect(native.pidfdGetfd(fd, 0)).rejects.toMatchObject({ code: 'EBADF' });
    closeSync(fd);
  });
});
