import { expect, test } from 'vitest';
import { fixture, madeBuffers, processFiles } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseFdInfo } from './fdinfo.ts';

const dmabuf = (rest: string) => `pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t5\n${rest}`;
const named = (name: string) =>
  parseFdInfo(dmabuf(`size:\t1048576\ncount:\t2\nexp_name:\tudmabuf\nname:\t${name}\n`)).dmabuf;

test('a file that is no dma-buf', () => {
  expect(parseFdInfo(fixture('linux-6.18-vm', '/proc/odd/fdinfo/file'))).toEqual({
    position: 8192n,
    flags: 0o2100002,
    mountId: 27,
    inode: 10002532n,
    dmabuf: null,
  });
});

test('a dma-buf without a name', () => {
  expect(parseFdInfo(dmabuf('size:\t1048576\ncount:\t2\nexp_name:\tudmabuf\n'))).toEqual({
    position: 0n,
    flags: 0o2000002,
    mountId: 16,
    inode: 5n,
    dmabuf: { size: 1048576, count: 2, exporter: 'udmabuf', name: null },
  });
});

test('buffers of real kernels are what their maker says, whatever their name', () => {
  expect(new Set(madeBuffers.map(buffer => buffer.host)).size).toBeGreaterThanOrEqual(3);
  for (const { host, process, fd, inode, size, name } of madeBuffers) {
    const info = parseFdInfo(fixture(host, `/proc/${process}/fdinfo/${fd}`));
    expect(info.inode, `${host} ${process} ${fd}`).toBe(BigInt(inode));
    expect(info.dmabuf).toEqual({ size, count: expect.any(Number), exporter: 'udmabuf', name });
  }
});

test('a name cannot forge fields', () => {
  expect(named('x\nsize:\t1\ncount:\t9\nname:\ty')).toEqual({
    size: 1048576,
    count: 2,
    exporter: 'udmabuf',
    name: 'x\nsize:\t1\ncount:\t9\nname:\ty',
  });
  expect(named('')?.name).toBe('');
  expect(named('\n\n')?.name).toBe('\n\n');
  expect(named('\x1b[2J\u202e')?.name).toBe('\x1b[2J\u202e');
});

test('lines after the longest possible name are those of a newer kernel', () => {
  expect(named('n'.repeat(31))?.name).toBe('n'.repeat(31));
  expect(named('hello\nsome_new_counter:\t12345678901')?.name).toBe('hello');
  expect(() => named('n'.repeat(32))).toThrow(ParseError);
});

test('locks are printed in between, and other drivers print what they like', () => {
  const lock = 'lock:\t1: FLOCK  ADVISORY  WRITE 1234 00:0c:5 0 EOF\n';
  expect(parseFdInfo(dmabuf(`${lock}${lock}size:\t4096\ncount:\t1\nexp_name:\tudmabuf\n`)).dmabuf?.size).toBe(
    4096,
  );
  expect(parseFdInfo(dmabuf('SqMask:\t0x7\nPollList:\n  op=1\nsize:\tmany\n')).dmabuf).toBeNull();
});

test.each([
  ['no size', dmabuf('count:\t1\nexp_name:\tudmabuf\n')],
  ['a size past 2^53', dmabuf('size:\t9007199254740992\ncount:\t1\nexp_name:\tudmabuf\n')],
  ['a negative count', dmabuf('size:\t4096\ncount:\t-1\nexp_name:\tudmabuf\n')],
  ['cut inside the name', dmabuf('size:\t4096\ncount:\t1\nexp_name:\tudmabuf\nname:\thel')],
  ['cut inside a number', 'pos:\t0\nflags:\t0200'],
  ['empty', ''],
])('refused: %s', (_, text) => {
  expect(() => parseFdInfo(text)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(
    parseFdInfo,
    [
      ...processFiles('fdinfo').map(file => file.text),
      dmabuf('size:\t8294400\ncount:\t2\nexp_name:\tudmabuf\nname:\thello world\n'),
    ],
    info => {
      expect(info.dmabuf?.size ?? 0).toBeGreaterThanOrEqual(0);
      expect(info.dmabuf?.name?.length ?? 0).toBeLessThanOrEqual(31);
    },
  );
});
