import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { type FlatView, parseMtreeFlat, ramRanges, systemMemory } from './mtree.ts';

const fixture = (name: string): string =>
  readFileSync(new URL(`../../test/fixtures/qemu-7.2/${name}/info-mtree-f.txt`, import.meta.url), 'utf8');
const ram = (name: string) =>
  ramRanges(systemMemory(parseMtreeFlat(fixture(name)))).map(
    range =>
      `${range.gpa.toString(16)}+${range.bytes.toString(16)} ${range.region}@${range.offset.toString(16)}`,
  );

describe('info mtree -f', () => {
  it('splits the RAM of a 5 GiB pc around the hole below 4 GiB', () => {
    expect(ram('pc-5g')).toEqual([
      '0+c0000 mem1@0',
      'c0000+20000 pc.rom@0',
      'e0000+20000 pc.bios@20000',
      '100000+bff00000 mem1@100000',
      'fffc0000+40000 pc.bios@0',
      '100000000+80000000 mem1@c0000000',
    ]);
  });
  it('places a DIMM and a virtio-mem device above 4 GiB on q35', () => {
    expect(ram('q35-hotplug').slice(-2)).toEqual(['100000000+8000000 mem2@0', '108000000+10000000 vm0@0']);
  });
  it('keeps the shadowed BIOS areas of a booted pc, which say rom and are RAM', () => {
    const view = systemMemory(parseMtreeFlat(fixture('pc-booted')));
    const mem1 = ramRanges(view).filter(range => range.region === 'mem1');
    expect(mem1.map(range => [range.gpa, range.bytes, range.offset, range.writable])).toEqual([
      [0, 0xa0000, 0, true],
      [0xc0000, 0xa000, 0xc0000, false],
      [0xca000, 0x3000, 0xca000, true],
      [0xcd000, 0x1b000, 0xcd000, false],
      [0xe8000, 0x8000, 0xe8000, true],
      [0xf0000, 0x10000, 0xf0000, false],
      [0x100000, 0xff00000, 0x100000, true],
    ]);
    expect(view.ranges.map(range => range.region)).toContain('vga ioports remapped');
    expect(view.ranges.find(range => range.region === 'vga-lowmem')).toMatchObject({
      start: 0xa0000n,
      end: 0xbffffn,
      priority: 1,
      kind: 'i/o',
      offset: 0n,
    });
  });
  it('reads two NUMA nodes, canonical names and the default RAM', () => {
    expect(ram('q35-numa-private').filter(range => range.includes('node'))).toEqual([
      '0+c0000 node0@0',
      '100000+ff00000 node0@100000',
      '10000000+8000000 node1@0',
    ]);
    expect(ram('pc-canonical-names')[0]).toBe('0+c0000 /objects/mem1@0');
    expect(ram('pc-default-ram')[0]).toBe('0+c0000 pc.ram@0');
  });
  it('lists the address spaces of every view and the empty one', () => {
    const views = parseMtreeFlat(fixture('q35-hotplug'));
    expect(systemMemory(views).addressSpaces[0]).toEqual({ name: 'memory', root: 'system' });
    const empty = views.find(view => view.ranges.length === 0);
    expect(empty?.addressSpaces.map(space => space.name)).toContain('virtio-mem-pci');
  });

  const view = (...lines: string[]): string =>
    `FlatView #0\n AS "memory", root: system\n Root memory region: system\n${lines.map(line => `  ${line}\n`).join('')}\n`;
  it('cuts off the accelerator and the owner, and reads the ends of the address space', () => {
    const text = view(
      '0000000000000000-0000000000000fff (prio 0, nv-ram): nv dimm @0000000000001000 KVM KVM',
      '0000000000001000-0000000000001fff (prio -1, ramd): 0000:01:00.0 BAR 1 mmaps[0] owner:{dev id=hostdev0} KVM',
      '0000000000002000-0000000000002fff (prio 0, ram): ram @0000000000003000 owner:{obj path=/objects/m} parent:{dev path=/machine}',
      '0000000000003000-ffffffffffffffff (prio 2147483647, i/o): io orphan',
    );
    const { ranges } = systemMemory(parseMtreeFlat(text));
    expect(
      ranges.map(range => [range.region, range.offset, range.kind, range.nonvolatile, range.priority]),
    ).toEqual([
      ['nv dimm', 0x1000n, 'ram', true, 0],
      ['0000:01:00.0 BAR 1 mmaps[0]', 0n, 'ramd', false, -1],
      ['ram', 0x3000n, 'ram', false, 0],
      ['io', 0n, 'i/o', false, 2147483647],
    ]);
    expect(ranges[3]?.end).toBe(2n ** 64n - 1n);
  });
  it('skips the dispatch tree of -d', () => {
    const line = '0000000000000000-0000000000000fff (prio 0, ram): m';
    const text = view(
      line,
      'Dispatch',
      '  Physical sections',
      '    #0 @0000000000000000..ffffffffffffffff (noname)',
    );
    expect(systemMemory(parseMtreeFlat(text)).ranges).toHaveLength(1);
  });
  it('refuses what would become a wrong map', () => {
    const a = '0000000000000000-0000000000000fff (prio 0, ram): m';
    const bad: readonly string[] = [
      view(a, a),
      view('0000000000001000-0000000000000fff (prio 0, ram): m'),
      view('000000000000-0000000000000fff (prio 0, ram): m'),
      view(a, 'something else'),
      view(a).trimEnd(),
      'unknown command\n',
    ];
    for (const text of bad) expect(() => parseMtreeFlat(text), text).toThrow(ParseError);
    expect(() => systemMemory(parseMtreeFlat(''))).toThrow(ParseError);
    expect(() => systemMemory(parseMtreeFlat(view(a).replace('"memory"', '"other"')))).toThrow(ParseError);
    const far = view('0020000000000000-0020000000000fff (prio 0, ram): m');
    expect(() => ramRanges(systemMemory(parseMtreeFlat(far)))).toThrow(ParseError);
  });
  it('survives damage', () => {
    const texts = ['pc-booted', 'q35-hotplug'].map(fixture);
    parsesOrRefuses(
      text => {
        const found = systemMemory(parseMtreeFlat(text));
        return { found, ram: ramRanges(found) };
      },
      texts,
      ({ found }: { found: FlatView }) => {
        let last = -1n;
        for (const range of found.ranges) {
          expect(range.start > last && range.end >= range.start).toBe(true);
          last = range.end;
        }
      },
    );
  });
});
