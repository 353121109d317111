import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type PoolRecording, recordedPools } from '../../test/recorded-pools.ts';
import { Btf } from './btf.ts';
import { readFreeHugePages, resolvePools } from './huge-pools.ts';
import type { KernelMemory } from './memory.ts';

const MIB2 = 2 ** 21;
const ascending = (pfns: Iterable<number>) => [...pfns].sort((a, b) => a - b);
const read = ({ page, layout }: PoolRecording, memory: KernelMemory, bytes = MIB2) =>
  readFreeHugePages(memory, page, layout, bytes, [0]);

test('three kernels are recorded', () => {
  expect(recordedPools.map(({ id }) => id)).toEqual(['6.1', '6.12', '7.2']);
});

describe.each(recordedPools.map(recording => [recording.id, recording] as const))('%s', (_, recording) => {
  const { layout, page, free } = recording;
  const pfns = free.find(({ bytes }) => bytes === MIB2)?.pfns ?? [];
  const linkOf = (pfn: number) => page.vmemmap + BigInt(pfn * page.bytes + layout.lru);
  /** The head of node 0's list of 2 MiB pages: the first link's `prev`. */
  const headOf = (image: ReturnType<typeof recording.memory>) => {
    for (const pfn of pfns) {
      const before = image.readU64(linkOf(pfn) + BigInt(layout.list.prev));
      if (!pfns.some(each => linkOf(each) === before)) return before;
    }
    throw new Error('no head');
  };

  test('free pages of both sizes, as kpageflags has them', async () => {
    expect(free.map(({ bytes }) => bytes)).toEqual([MIB2, 2 ** 30]);
    for (const { bytes, pfns } of free) {
      const found = await read(recording, recording.memory(), bytes);
      expect(found.state === 'whole' && ascending(found.pfns)).toEqual(ascending(pfns));
    }
    expect(pfns.length).toBeGreaterThan(100);
  });

  test('a size that the kernel has no pool of', async () => {
    expect(await read(recording, recording.memory(), 2 ** 16)).toEqual({ state: 'none' });
  });

  test.each([
    ['a link that leads to itself', (at: bigint) => at],
    ['a link that leads nowhere', () => 0n],
    ['a link of list poison', () => 0xdead_0000_0000_0100n],
    ['a link into the middle of a huge page', (at: bigint) => at + BigInt(page.bytes)],
  ])('%s is no list', async (_name, next) => {
    const image = recording.memory();
    const at = linkOf(pfns[50] ?? 0);
    image.writeU64(at + BigInt(layout.list.next), next(at));
    expect(await read(recording, image)).toEqual({ state: 'raced' });
  });

  test('a list of another length than the kernel counts', async () => {
    for (const by of [-1, 1]) {
      const image = recording.memory();
      const count = headOf(image) - BigInt(layout.freeLists) + BigInt(layout.freeCounts);
      image.write(count, new Uint8Array(new Uint32Array([pfns.length + by]).buffer));
      expect(await read(recording, image)).toEqual({ state: 'raced' });
    }
  });

  test('a count that moves while the list is followed', async () => {
    const image = recording.memory();
    const count = headOf(image) - BigInt(layout.freeLists) + BigInt(layout.freeCounts);
    let asked = 0;
    const moving: KernelMemory = {
      async read(ranges) {
        // Every second time it is asked for: after the walk.
        if (ranges.some(({ address }) => address === count))
          image.write(count, new Uint8Array(new Uint32Array([pfns.length - (asked++ % 2)]).buffer));
        return image.read(ranges);
      },
    };
    expect(await read(recording, moving)).toEqual({ state: 'raced' });
    expect(asked).toBe(8);
  });

  test('damage anywhere: the truth, or nothing', async () => {
    const truth = ascending(pfns);
    const places = [...recording.memory().pages.keys()];
    const array = { from: layout.pools, to: layout.pools + BigInt(16 * layout.bytes) };
    await fc.assert(
      fc.asyncProperty(
        fc.nat(places.length - 1),
        fc.nat(511),
        fc.oneof(
          fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          fc.nat(pfns.length - 1).map(i => linkOf(pfns[i] ?? 0)),
        ),
        async (place, word, value) => {
          const image = recording.memory();
          const address = ((places[place] ?? 0n) << 12n) + BigInt(word * 8);
          image.writeU64(address, value);
          const found = await read(recording, image);
          // Which pool is which its order alone says.
          if (found.state !== 'whole' || (address >= array.from && address < array.to)) return;
          expect(ascending(found.pfns)).toEqual(truth);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('without its types or symbols it is said what is missing', () => {
    const none = Btf.parse(recording.btfBytes, ['list_head']);
    expect(resolvePools(none, recording.symbols)).toEqual({ missing: expect.stringContaining('hstate') });
    expect(resolvePools(recording.btf, new Map())).toEqual({ missing: expect.stringContaining('hstates') });
  });
});

/** A pool of so many free pages, whose list goes through them in this order. */
function pool(order: readonly number[]): { memory: KernelMemory; reads: () => number } {
  const [recording] = recordedPools;
  if (!recording) throw new Error('no recording');
  const { layout, page } = recording;
  const head = layout.pools + BigInt(layout.freeLists);
  const link = (pfn: number) => page.vmemmap + BigInt(pfn * page.bytes + layout.lru);
  const ring = [head, ...order.map(index => link(index * 512))];
  const words = new Map<bigint, bigint>();
  ring.forEach((at, i) => {
    words.set(at + BigInt(layout.list.next), ring[(i + 1) % ring.length] ?? 0n);
    words.set(at + BigInt(layout.list.prev), ring.at(i - 1) ?? 0n);
  });
  const u32s = new Map([
    [layout.count, 1],
    [layout.pools + BigInt(layout.order), 9],
    [layout.pools + BigInt(layout.freeCounts), order.length],
  ]);
  let reads = 0;
  return {
    reads: () => reads,
    memory: {
      async read(ranges) {
        reads++;
        return ranges.map(({ address, bytes }) => {
          const small = u32s.get(address);
          if (bytes === 4 && small !== undefined) return new Uint8Array(new Uint32Array([small]).buffer);
          const [low, high] = [words.get(address), words.get(address + 8n)];
          return low === undefined || high === undefined
            ? undefined
            : new Uint8Array(new BigUint64Array([low, high]).buffer);
        });
      },
    },
  };
}

describe('how much is read', () => {
  const [recording] = recordedPools;
  if (!recording) throw new Error('no recording');
  const count = 20_000;
  const inOrder = Array.from({ length: count }, (_, i) => i + 1);

  test('a list along memory takes a read for many pages', async () => {
    for (const order of [inOrder, [...inOrder].reverse()]) {
      const { memory, reads } = pool(order);
      expect(await read(recording, memory)).toMatchObject({ state: 'whole' });
      expect(reads()).toBeLessThan(count / 10);
    }
  });

  test('one that jumps about is given up', async () => {
    // Neighbours in the list are 101 pages apart or more.
    const { memory, reads } = pool(inOrder.map(i => ((i * 7919) % count) + 1).map(i => i * 100));
    expect(await read(recording, memory)).toEqual({ state: 'scattered' });
    expect(reads()).toBeLessThan(5000);
  });

  test('an empty list', async () => {
    expect(await read(recording, pool([]).memory)).toEqual({ state: 'whole', pfns: new Float64Array(0) });
  });
});
