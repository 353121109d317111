import { afterAll, describe, expect, test } from 'vitest';
import { loadNative } from '../native/index.ts';
import { hosts } from '../test/fixtures.ts';
import { withHolder } from '../test/holder.ts';
import { RecordedHost, statText } from '../test/recorded-host.ts';
import { HostFiles } from './files.ts';
import { kernelDev, listPids, readDmabufMaps, readFds, readMaps, readStat, stillRuns } from './process.ts';

const host = new RecordedHost();
const { files } = host;
afterAll(() => host.close());

test('pids are the numeric directories', () => {
  for (const name of ['1', '4242', 'self', '12x', 'sys', '-1']) host.write(`/proc/${name}/x`, '');
  expect(listPids(files)).toMatchObject({ state: 'ok', value: [1, 4242] });
  expect(listPids(new HostFiles('/none')).state).toBe('absent');
});

describe('a process is the same', () => {
  test('while its start time is', () => {
    host.write('/proc/4242/stat', statText(4242, 'a', 77));
    expect(stillRuns(files, { pid: 4242, startTime: 77n })).toMatchObject({ state: 'ok' });
  });
  test('not when its pid went to another', () => {
    host.write('/proc/4242/stat', statText(4242, 'a', 78));
    expect(stillRuns(files, { pid: 4242, startTime: 77n })).toMatchObject({
      state: 'raced',
      source: '/proc/4242/stat',
      detail: 'process 4242 ended, and its pid now belongs to another process',
    });
  });
  test('not when it is gone', () => {
    expect(stillRuns(files, { pid: 4243, startTime: 1n })).toMatchObject({
      state: 'raced',
      detail: 'process 4243 is gone',
    });
  });
  test('nor when its stat makes no sense', () => {
    host.write('/proc/4244/stat', '4244 (a) S 1\n');
    expect(stillRuns(files, { pid: 4244, startTime: 1n })).toMatchObject({ state: 'absent' });
  });
});

test.each(hosts)('every process recorded on %s has its stat and maps', name => {
  const recorded = new RecordedHost(name);
  try {
    expect(recorded.names.length).toBeGreaterThan(0);
    for (const pid of recorded.names.map(process => recorded.pidOf(process))) {
      expect(readStat(recorded.files, pid)).toMatchObject({ state: 'ok', value: { pid } });
      expect(readMaps(recorded.files, pid).state).toBe('ok');
      const all = readMaps(recorded.files, pid);
      const dmabufs = readDmabufMaps(recorded.files, pid);
      if (all.state !== 'ok' || dmabufs.state !== 'ok') throw new Error('not read');
      expect(dmabufs.value).toEqual(
        all.value.length === 0 ? null : all.value.filter(({ path }) => path?.startsWith('/dmabuf:')),
      );
    }
  } finally {
    recorded.close();
  }
});

test('a line of maps that only mentions a dma-buf is none', () => {
  host.write(
    '/proc/9/maps',
    '7f00-7f10 r--s 00000000 00:0b 3 /tmp/dmabuf:x\n7f20-7f30 r--s 00000000 00:0b 3 /a/dmabuf:\n',
  );
  expect(readDmabufMaps(files, 9)).toMatchObject({ state: 'ok', value: [] });
});

test('fds of a process that is gone', async () => {
  expect(await readFds(new HostFiles(), loadNative(), 2 ** 22 + 1, [])).toMatchObject({ state: 'raced' });
});

test('maps and stat agree on the device of a file', async () => {
  await withHolder('shmem', 8192, async ({ pid, fd, inode }) => {
    const machine = new HostFiles();
    const maps = readMaps(machine, pid, '/memfd:held');
    const fds = await readFds(machine, loadNative(), pid, ['/memfd:held']);
    if (maps.state !== 'ok' || fds.state !== 'ok') throw new Error('not read');
    const [vma] = maps.value;
    expect([...fds.value.fd]).toContain(fd);
    expect([...fds.value.ino].every(ino => ino === inode)).toBe(true);
    expect(kernelDev(fds.value.dev[0] ?? 0n)).toBe((vma?.major ?? -1) * 2 ** 20 + (vma?.minor ?? -1));
  });
});

test.each([
  [0x0bn, 11],
  [0x801n, 8 * 2 ** 20 + 1],
  // makedev(259, 70000) as stat(2) encodes it: the minor's high bits go above the major.
  [0x1111_0370n, 259 * 2 ** 20 + 70000],
])('device %i', (encoded, dev) => {
  expect(kernelDev(encoded)).toBe(dev);
});
