import { expect, test } from 'vitest';
import { fixture, fixtureTexts, hasFixture, hostsWith, madeBuffers } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseFdInfo } from '../proc/fdinfo.ts';
import { parseBufinfo } from './bufinfo.ts';

const PATH = '/sys/kernel/debug/dma_buf/bufinfo';
const HEADING = '\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n';
const record = (size: number, inode: number, name: string, fences: string, devices: readonly string[]) =>
  `${String(size).padStart(8, '0')}\t00000002\t00080007\t00000002\tudmabuf\t${String(inode).padStart(8, '0')}\t${name}\n` +
  `${fences}\tAttached Devices:\n${devices.map(device => `\t${device}\n`).join('')}` +
  `Total ${devices.length} devices attached\n\n`;
const text = (...records: readonly string[]) => {
  const bytes = records.reduce((sum, r) => sum + Number(r.slice(0, r.indexOf('\t'))), 0);
  return `${HEADING}${records.join('')}\nTotal ${records.length} objects, ${bytes} bytes\n`;
};

test('no dma-bufs', () => {
  expect(parseBufinfo(fixture('linux-6.18-vm', PATH))).toEqual([]);
  expect(parseBufinfo(text())).toEqual([]);
});

test('a buffer with and one without device, name and fences', () => {
  const fences =
    '\tkernel fence:drm_sched gfx_0.0.0 seq 12 signalled\n\twrite fence:virtio_gpu controlq seq 7 unsignalled\n';
  expect(
    parseBufinfo(
      text(record(1048576, 5, '<none>', '', ['vgem']), record(8294400, 12, 'frame buffer', fences, [])),
    ),
  ).toEqual([
    {
      size: 1048576,
      flags: 2,
      mode: 0x80007,
      count: 2,
      exporter: 'udmabuf',
      inode: 5n,
      name: null,
      devices: ['vgem'],
    },
    {
      size: 8294400,
      flags: 2,
      mode: 0x80007,
      count: 2,
      exporter: 'udmabuf',
      inode: 12n,
      name: 'frame buffer',
      devices: [],
    },
  ]);
});

test('names cannot forge devices, totals or buffers', () => {
  for (const name of [
    'x\n\tAttached Devices:\n\tvfio',
    '\nTotal 0 devices attached\n',
    '\nTotal 0 objects, 0 bytes\n',
    '\tAttached Devices:',
    '\n\n\n',
    '',
    '\x1b[2J\x07\tx',
  ]) {
    const [first, second, ...more] = parseBufinfo(
      text(record(4096, 5, name, '', ['0000:00:02.0']), record(8192, 6, '<none>', '', [])),
    );
    expect(first).toMatchObject({ name, devices: ['0000:00:02.0'], size: 4096 });
    expect(second).toMatchObject({ name: null, devices: [], inode: 6n });
    expect(more).toEqual([]);
  }
});

const two = text(record(1048576, 5, 'a', '', ['vgem']), record(4096, 6, '<none>', '', []));
test.each([
  ['empty', ''],
  ['no heading', two.replace('exp_name', 'exporter')],
  ['cut after a buffer', two.slice(0, two.indexOf('00004096'))],
  ['cut inside the total', two.trimEnd().slice(0, -3)],
  ['a missing buffer', two.replace(/00004096[\s\S]*attached\n\n/, '')],
  ['a missing device', two.replace('\tvgem\n', '')],
  ['a total that disagrees', two.replace('1052672', '1052673')],
  ['a damaged buffer', two.replace('00004096\t', '00004O96\t')],
])('refused: %s', (_, damaged) => {
  expect(() => parseBufinfo(damaged)).toThrow(ParseError);
});

test('buffers of real kernels are what their maker says, whatever their name', () => {
  for (const host of hostsWith(PATH)) {
    const listed = new Map(parseBufinfo(fixture(host, PATH)).map(buffer => [buffer.inode, buffer]));
    for (const { process, fd, inode, size, name, attached } of madeBuffers.filter(
      made => made.host === host,
    )) {
      const buffer = listed.get(BigInt(inode));
      expect(buffer, `${host} ${inode}`).toMatchObject({ size, exporter: 'udmabuf' });
      expect(buffer?.name).toBe(name === '<none>' ? null : name);
      if (attached !== null) expect(buffer?.devices).toEqual(attached ? ['vgem'] : []);
      if (process !== 'odd' || !hasFixture(host, `/proc/odd/fdinfo/${fd}`)) continue;
      expect(buffer?.count).toBe(parseFdInfo(fixture(host, `/proc/odd/fdinfo/${fd}`)).dmabuf?.count);
    }
  }
});

test.each(hostsWith(PATH))('%s: inodes are unique', host => {
  const inodes = parseBufinfo(fixture(host, PATH)).map(buffer => buffer.inode);
  expect(new Set(inodes).size).toBe(inodes.length);
});

test('damaged texts', () => {
  parsesOrRefuses(parseBufinfo, [...fixtureTexts(PATH), two], (buffers, damaged) => {
    const total = /Total (\d+) objects, (\d+) bytes\s*$/.exec(damaged);
    expect(buffers.length).toBe(Number(total?.[1]));
    expect(buffers.reduce((sum, buffer) => sum + buffer.size, 0)).toBe(Number(total?.[2]));
    for (const buffer of buffers) expect(buffer.name?.length ?? 0).toBeLessThanOrEqual(31);
  });
});
