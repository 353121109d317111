import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMaps } from '../proc/maps.ts';
import { asGpa, asHva } from '../units.ts';
import { parseGpa2hva } from './addresses.ts';
import { parseQemuCommandLine, splitCmdline } from './cmdline.ts';
import { type FileMapping, type GuestLayout, joinLayout, matchBackends, type PlacedRange } from './layout.ts';
import { parseMtreeFlat, ramRanges, systemMemory } from './mtree.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../test/fixtures/qemu-7.2/${path}`, import.meta.url), 'utf8');

/** What the sampler does, on recordings of one process. */
function layoutOf(name: string): GuestLayout {
  const replies: Record<string, string> = JSON.parse(read(`${name}/gpa2hva.json`));
  const placed = ramRanges(systemMemory(parseMtreeFlat(read(`${name}/info-mtree-f.txt`)))).map(
    (range): PlacedRange => {
      const reply = parseGpa2hva(replies[`0x${range.gpa.toString(16)}`] ?? '');
      if (reply.state !== 'ok' || reply.region !== range.region) throw new Error(`no place for ${range.gpa}`);
      return { ...range, hva: reply.address };
    },
  );
  return joinLayout(placed, parseMaps(read(`${name}/maps.txt`)));
}
const ranges = (layout: GuestLayout) =>
  layout.files.map(file => [
    file.backendId,
    file.ranges.map(range => [range.gpa, range.bytes, range.offset]),
  ]);

describe('guest layout', () => {
  it('finds both halves of 5 GiB in one memfd', () => {
    const layout = layoutOf('pc-5g');
    expect(ranges(layout)).toEqual([
      [
        'mem1',
        [
          [0, 0xc0000, 0],
          [0x100000, 0xbff00000, 0x100000],
          [2 ** 32, 2 ** 31, 0xc0000000],
        ],
      ],
    ]);
    expect(layout.files[0]?.path).toBe('/memfd:memory-backend-memfd');
    // pc.rom, and pc.bios twice
    expect(layout.anonymous).toEqual({ ranges: 3, bytes: 0x20000 + 0x20000 + 0x40000 });
    expect(layout.unknown).toEqual({ ranges: 0, bytes: 0 });
  });
  it('joins RAM and shadowed areas of a booted guest to the hole of the video memory', () => {
    expect(ranges(layoutOf('pc-booted'))).toEqual([
      [
        'mem1',
        [
          [0, 0xa0000, 0],
          [0xc0000, 0xff40000, 0xc0000],
        ],
      ],
    ]);
  });
  it('tells three memfds of one name apart', () => {
    const layout = layoutOf('q35-hotplug');
    expect(ranges(layout)).toEqual([
      [
        'mem1',
        [
          [0, 0xc0000, 0],
          [0x100000, 0xff00000, 0x100000],
        ],
      ],
      ['mem2', [[2 ** 32, 2 ** 27, 0]]],
      ['vm0', [[0x108000000, 2 ** 28, 0]]],
    ]);
    expect(new Set(layout.files.map(file => file.inode)).size).toBe(3);
  });
  it('strips the path of canonical names', () => {
    expect(layoutOf('pc-canonical-names').files.map(file => file.backendId)).toEqual(['mem1']);
  });
  it('finds no file behind default RAM', () => {
    expect(layoutOf('pc-default-ram').files).toEqual([]);
  });

  const mapping = (start: number, end: number, offset: number, inode: number, minor = 1): FileMapping => ({
    start: asHva(BigInt(start)),
    end: asHva(BigInt(end)),
    offset: BigInt(offset),
    major: 0,
    minor,
    inode: BigInt(inode),
    path: '/memfd:x',
  });
  const range = (gpa: number, bytes: number, hva: number, region = 'm'): PlacedRange => ({
    gpa: asGpa(gpa),
    bytes,
    region,
    offset: 0,
    writable: true,
    hva: asHva(BigInt(hva)),
  });
  it('splits a range over mappings and counts what is in none', () => {
    const layout = joinLayout(
      [range(0, 0x9000, 0x10000)],
      [
        mapping(0x14000, 0x16000, 0, 8),
        mapping(0x10000, 0x12000, 0x5000, 7),
        mapping(0x16000, 0x17000, 0, 0),
      ],
    );
    expect(ranges(layout)).toEqual([
      ['m', [[0, 0x2000, 0x5000]]],
      ['m', [[0x4000, 0x2000, 0]]],
    ]);
    expect(layout.anonymous).toEqual({ ranges: 1, bytes: 0x1000 });
    expect(layout.unknown).toEqual({ ranges: 2, bytes: 0x4000 });
  });
  it('keeps equal inodes of two file systems apart, and gives no id when pieces disagree', () => {
    const layout = joinLayout(
      [
        range(0, 0x1000, 0x10000, 'a'),
        range(0x1000, 0x1000, 0x20000, 'b'),
        range(0x2000, 0x1000, 0x10000, 'c'),
      ],
      [mapping(0x10000, 0x11000, 0, 7), mapping(0x20000, 0x21000, 0, 7, 2)],
    );
    expect(layout.files.map(file => [file.minor, file.backendId])).toEqual([
      [1, null],
      [2, 'b'],
    ]);
  });
  it('accounts for every byte', () => {
    const page = fc.integer({ min: 0, max: 40 });
    fc.assert(
      fc.property(fc.array(fc.tuple(page, page)), fc.uniqueArray(page), (pairs, borders) => {
        const wanted = pairs.map(([gpa, hva], i) => range(gpa * 4096 * 64, (1 + (i % 7)) * 4096, hva * 4096));
        const sorted = [...borders].sort((a, b) => a - b);
        const maps = sorted
          .slice(1)
          .map((end, i) => mapping((sorted[i] ?? 0) * 4096, end * 4096, i * 4096, i % 3));
        const layout = joinLayout(wanted, maps);
        const found = layout.files.flatMap(file => file.ranges).reduce((sum, piece) => sum + piece.bytes, 0);
        const total = wanted.reduce((sum, piece) => sum + piece.bytes, 0);
        expect(found + layout.anonymous.bytes + layout.unknown.bytes).toBe(total);
      }),
    );
  });
});

describe('backends without a monitor', () => {
  const backends = parseQemuCommandLine(splitCmdline(read('q35-hotplug/cmdline'))).memoryBackends;
  const memfd = (inode: number, mib: number, share = true, pageSizeBytes = 4096) => ({
    inode,
    sizeBytes: mib * 2 ** 20,
    share,
    pageSizeBytes,
  });
  it('names only those that nothing else could be', () => {
    // mem1 and vm0 are both 256 MiB
    expect(matchBackends(backends, [memfd(26, 256), memfd(27, 128), memfd(28, 256)])).toEqual(
      new Map([[27, 'mem2']]),
    );
    expect(matchBackends(backends, [memfd(27, 128), memfd(30, 128)])).toEqual(new Map());
    expect(matchBackends(backends, [memfd(27, 128, false)])).toEqual(new Map());
    expect(matchBackends(backends, [memfd(27, 128, true, 2 ** 21)])).toEqual(new Map());
  });
});
