import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fixture, fixtureFiles, hosts } from '../../test/fixtures.ts';
import { damaged, dishonestNumber } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseMemoryBlocks } from './memory-blocks.ts';
import { parseZoneinfo } from './zoneinfo.ts';

const files = (host: string) => fixtureFiles(host, '/sys/devices/system/memory');
const vm = files('linux-6.18-vm');
const MEMORY = '/sys/devices/system/memory';

test('blocks of 128 MiB around a hole', () => {
  const { blockBytes, blocks } = parseMemoryBlocks(vm);
  expect(blockBytes).toBe(128 << 20);
  const online = { node: 0, state: 'online' };
  expect(blocks).toEqual([
    // It begins in zone DMA and ends in DMA32.
    { ...online, block: 0, startPfn: 0, validZones: [] },
    { ...online, block: 1, startPfn: 32768, validZones: ['DMA32'] },
    { ...online, block: 23, startPfn: 753664, validZones: ['DMA32'] },
    { ...online, block: 32, startPfn: 1048576, validZones: ['Normal'] },
    { ...online, block: 33, startPfn: 1081344, validZones: ['Normal'] },
  ]);
});

test.each(hosts)(
  '%s: blocks lie in the zone that they name and have the number that phys_index has',
  host => {
    const { blockBytes, blocks } = parseMemoryBlocks(files(host));
    const zones = parseZoneinfo(fixture(host, '/proc/zoneinfo'));
    const blockPages = blockBytes / 4096;
    expect(blocks.length).toBeGreaterThan(0);
    for (const { block, startPfn, node, validZones, state } of blocks) {
      const index = files(host).get(`${MEMORY}/memory${block}/phys_index`);
      if (index !== undefined) expect(Number(`0x${index.trim()}`)).toBe(block);
      if (state !== 'online' || validZones.length !== 1) continue;
      const zone = zones.find(z => z.zone === validZones[0] && (node === null || z.node === node));
      // A block may begin in a hole before its zone, as page 0 does.
      expect(startPfn + blockPages, `memory${block}`).toBeGreaterThan(zone?.startPfn ?? Number.NaN);
      expect(startPfn + blockPages).toBeLessThanOrEqual((zone?.startPfn ?? 0) + (zone?.spannedPages ?? 0));
      const before = zones.filter(
        z => z.startPfn !== null && z.startPfn <= startPfn && startPfn < z.startPfn + z.spannedPages,
      );
      if (before.length > 0) expect(before).toContain(zone);
    }
  },
);

test.each([
  ['no block size', `${MEMORY}/block_size_bytes`, null],
  ['an empty block size', `${MEMORY}/block_size_bytes`, '\n'],
  ['a block size of 0', `${MEMORY}/block_size_bytes`, '0\n'],
  ['a block smaller than a page', `${MEMORY}/block_size_bytes`, '800\n'],
  ['a block without zones', `${MEMORY}/memory1/valid_zones`, null],
  ['empty zones', `${MEMORY}/memory1/valid_zones`, '\n'],
  ['no state', `${MEMORY}/memory1/state`, ''],
  ['a block beyond all memory', `${MEMORY}/memory9007199254740991/state`, 'online\n'],
])('refused: %s', (_, path, text) => {
  const changed = new Map(vm);
  if (text === null) changed.delete(path);
  else changed.set(path, text);
  expect(() => parseMemoryBlocks(changed)).toThrow(ParseError);
});

test('damaged paths and texts', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...vm),
      damaged('8000000\n', 'online\n', 'Normal Movable\n'),
      ([path], text) => {
        for (const changed of [
          [path, text],
          [path.replace('memory1', `memory${text}`), 'online\n'],
        ] as const) {
          try {
            const { blocks, ...sizes } = parseMemoryBlocks(new Map([...vm, changed]));
            expect(dishonestNumber([blocks, sizes])).toBeUndefined();
            expect(blocks.map(b => b.block)).toEqual([...blocks.map(b => b.block)].sort((a, b) => a - b));
          } catch (error) {
            expect(error).toBeInstanceOf(ParseError);
          }
        }
      },
    ),
  );
});
