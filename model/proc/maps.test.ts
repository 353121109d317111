import { expect, test } from 'vitest';
import { fixture, hosts, madeBuffers, processes, processFiles } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { dmabufName, isDmabuf, isMemfd, parseMaps, type Vma } from './maps.ts';

const odd = () => parseMaps(fixture('linux-6.18-vm', '/proc/odd/maps'));
const find = (vmas: readonly Vma[], path: string) => vmas.find(vma => vma.path === path);

test('a hugetlb memfd, a memfd with a newline, a deleted file with a hostile name', () => {
  expect(find(odd(), '/memfd:huge ram')).toEqual({
    start: 0x7f4c03a00000n,
    end: 0x7f4c04000000n,
    perms: 'rw-s',
    offset: 0n,
    major: 0,
    minor: 0x11,
    inode: 198017n,
    path: '/memfd:huge ram',
    deleted: true,
  } satisfies Record<keyof Vma, unknown>);
  expect(find(odd(), '/memfd:two\nlines')).toMatchObject({ inode: 185n, deleted: true });
  // The file was called `a b\n\012\tx ESC (deleted)`: its own `\012` comes out as a newline, as documented.
  expect(find(odd(), '/tmp/pin scope/a b\n\n\tx\x1b (deleted)')).toMatchObject({
    major: 0xfe,
    offset: 0x1000n,
    inode: 10002532n,
    deleted: true,
  });
});

test('special and anonymous mappings', () => {
  expect(find(odd(), '[vsyscall]')).toMatchObject({ start: 0xffffffffff600000n, perms: '--xp', inode: 0n });
  expect(find(odd(), '[heap]')).toMatchObject({ major: 0, minor: 0, deleted: false });
  expect(odd().filter(vma => vma.path === null).length).toBeGreaterThan(3);
  expect(parseMaps(fixture('linux-6.18-vm', '/proc/zombie/maps'))).toEqual([]);
});

test('the file it maps is the one that fdinfo names', () => {
  const ino = (name: string) =>
    fixture('linux-6.18-vm', `/proc/odd/fdinfo/${name}`).match(/ino:\t(\d+)/)?.[1];
  expect(String(find(odd(), '/memfd:huge ram')?.inode)).toBe(ino('huge'));
  expect(String(find(odd(), '/memfd:two\nlines')?.inode)).toBe(ino('small'));
});

test('a scan for dma-bufs leaves out the rest', () => {
  const text = fixture('linux-6.18-vm', '/proc/odd/maps');
  expect(parseMaps(text, '/memfd:').map(vma => vma.path)).toEqual(['/memfd:huge ram', '/memfd:two\nlines']);
  expect(parseMaps(text, '/dmabuf:')).toEqual([]);
});

test('mapped buffers of real kernels have the inode, size and name that their maker says', () => {
  for (const { host, process, inode, size, name, mapped } of madeBuffers) {
    const vmas = parseMaps(fixture(host, `/proc/${process}/maps`), '/dmabuf:').filter(
      vma => vma.inode === BigInt(inode),
    );
    expect(vmas.length, `${host} ${inode}`).toBe((mapped ?? vmas.length > 0) ? 1 : 0);
    for (const vma of vmas) {
      expect(Number(vma.end - vma.start)).toBe(size);
      expect([vma.offset, vma.deleted, vma.perms.at(-1)]).toEqual([0n, false, 's']);
      expect(dmabufName(vma.path)).toBe(name || null);
    }
  }
});

test('names of dma-bufs keep what looks like a mark of deletion', () => {
  const line =
    '7f0000000000-7f0000100000 r--s 00001000 00:0c 5                    /dmabuf:my buf\\012x (deleted)\n';
  const [vma] = parseMaps(line);
  expect(vma).toMatchObject({ path: '/dmabuf:my buf\nx (deleted)', deleted: false, offset: 4096n });
  expect(dmabufName(vma?.path ?? null)).toBe('my buf\nx (deleted)');
  expect(dmabufName('/dmabuf:')).toBeNull();
  expect([isDmabuf('/dmabuf:'), isDmabuf('/dev/dmabuf:'), isDmabuf(null)]).toEqual([true, false, false]);
  expect([isMemfd('/memfd:x'), isMemfd('/dmabuf:x')]).toEqual([true, false]);
});

test.each([
  ['cut inside the last line', '7f0000000000-7f0000001000 rw-s 00000000 00:01 11'],
  ['an end before the start', '7f0000001000-7f0000000000 rw-s 00000000 00:01 11 \n'],
  ['no permissions', '7f0000000000-7f0000001000 00000000 00:01 11 \n'],
  ['an inode past 2^64', '7f0000000000-7f0000001000 rw-s 00000000 00:01 18446744073709551616 \n'],
])('refused: %s', (_, text) => {
  expect(() => parseMaps(text)).toThrow(ParseError);
});

test('on every host mappings ascend and do not overlap', () => {
  for (const host of hosts) {
    for (const process of processes(host)) {
      const vmas = parseMaps(fixture(host, `/proc/${process}/maps`));
      for (const [i, vma] of vmas.entries()) {
        expect(vma.start % 4096n, `${host} ${process}`).toBe(0n);
        if (i > 0) expect(vma.start).toBeGreaterThanOrEqual(vmas[i - 1]?.end ?? 0n);
      }
    }
  }
});

test('damaged texts', () => {
  parsesOrRefuses(
    parseMaps,
    processFiles('maps').map(file => file.text.split('\n').slice(-40).join('\n')),
    vmas => {
      for (const vma of vmas) {
        expect(vma.end).toBeGreaterThan(vma.start);
        expect(vma.path).not.toBe('');
        expect(vma.perms).toMatch(/^[r-][w-][x-][sp]$/);
      }
    },
  );
});
