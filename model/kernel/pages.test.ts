import { describe, expect, test } from 'vitest';
import { expandRuns } from '../../test/kernel-expected.ts';
import type { KernelImage } from '../../test/kernel-image.ts';
import { type RecordedKernel, recordedKernels } from '../../test/kernel-recording.ts';
import { parsePageTypeInfo } from '../host/pagetypeinfo.ts';
import { parseZoneinfo } from '../host/zoneinfo.ts';
import { readUdmabufs, walkDmaBufs } from './dma-bufs.ts';
import type { KernelMemory } from './memory.ts';
import { type PageFacts, readPageFacts } from './pages.ts';

/** PFNs of a buffer that the test program made, and facts of them. */
async function factsOf(
  kernel: RecordedKernel,
  pfns: readonly number[],
  memory: KernelMemory = kernel.memory(),
) {
  return readPageFacts(memory, kernel.layout, [Float64Array.from(pfns)], kernel.expected.pageblockOrder);
}
const at = (facts: PageFacts, pfn: number) => {
  const row = facts.slot(pfn);
  return {
    head: facts.head[row],
    folioPages: facts.folioPages[row],
    owner: (facts.owner[row] ?? -2) >= 0 ? facts.owners[facts.owner[row] ?? -2] : (facts.owner[row] ?? -2),
    fileIndex: facts.fileIndex[row],
  };
};

describe.each(recordedKernels)('pages of Linux $id, as recorded', kernel => {
  const { expected, layout } = kernel;

  test('folio, file and place of every page of the test program', async () => {
    for (const { inode, items, pages, folioPages, lost } of expected.udmabufs) {
      const pfns = expandRuns(pages);
      const facts = await factsOf(kernel, pfns);
      const sizes = new Map(folioPages);
      let entry = 0;
      for (const { dev, inode: file, hugetlb, offset, bytes } of items) {
        for (let done = 0; done < bytes; done += 4096, entry++) {
          const pfn = pfns[entry] ?? -1;
          const size = sizes.get(pfn) ?? 0;
          expect(at(facts, pfn), `buffer ${inode}, entry ${entry}`).toEqual({
            head: pfn - (pfn % size),
            folioPages: size,
            // A page that left its file keeps its place: it says where it came from.
            owner: lost.includes(entry) ? -1 : { dev, inode: file, hugetlb },
            fileIndex: (offset + done) / 4096,
          });
        }
      }
      expect(entry).toBe(pfns.length);
    }
  });
  test('the machine has folios of every size', () => {
    const sizes = new Set(
      expected.udmabufs.flatMap(({ folioPages }) => folioPages.map(([, pages]) => pages)),
    );
    expect([...sizes].sort((a, b) => a - b)).toEqual([1, 512, 262144]);
  });
  test('every page of QEMU’s blobs lies in its RAM at the guest address asked for', async () => {
    const memory = kernel.memory();
    const { buffers } = await walkDmaBufs(memory, layout);
    const read = await readUdmabufs(memory, layout, buffers);
    for (const { ram, blobs } of expected.qemu) {
      for (const { inode, entries } of blobs) {
        const pfns = read[buffers.findIndex(buffer => buffer.inode === inode)]?.pfn ?? new Float64Array(0);
        const facts = await factsOf(kernel, Array.from(pfns));
        const places = entries.flatMap(([address, bytes]) =>
          Array.from({ length: bytes / 4096 }, (_, i) => address / 4096 + i),
        );
        expect(Array.from(pfns, pfn => at(facts, pfn).fileIndex)).toEqual(places);
        for (const pfn of pfns) expect(at(facts, pfn).owner).toMatchObject(ram);
      }
    }
  });
  test('types of all pageblocks add up to /proc/pagetypeinfo', async () => {
    const facts = await factsOf(kernel, expected.blockStarts);
    const zones = parseZoneinfo(kernel.text('zoneinfo'));
    const zoneOf = (pfn: number) =>
      zones.find(
        zone => zone.startPfn !== null && pfn >= zone.startPfn && pfn < zone.startPfn + zone.spannedPages,
      );
    const counts = new Map<string, number>();
    for (const pfn of expected.blockStarts) {
      if (!expected.memoryBlocks.includes(Math.floor(pfn / 32768))) continue;
      const zone = zoneOf(pfn);
      const type = layout.pageblocks?.types.get(facts.migratetype[facts.slot(pfn)] ?? -1);
      const key = `${zone?.node} ${zone?.zone} ${type}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const theirs = parsePageTypeInfo(kernel.text('pagetypeinfo')).types.filter(({ blocks }) => blocks > 0);
    expect(counts).toEqual(new Map(theirs.map(row => [`${row.node} ${row.zone} ${row.type}`, row.blocks])));
    // Debian’s 6.12 has no CMA.
    expect([...counts.keys()].some(key => key.endsWith(' CMA'))).toBe(kernel.id !== '6.12');
  });
  test('a page has the type of its pageblock', async () => {
    const order = 2 ** expected.pageblockOrder;
    const pfns = expandRuns(expected.udmabufs[0]?.pages ?? []);
    const [pages, blocks] = [await factsOf(kernel, pfns), await factsOf(kernel, expected.blockStarts)];
    for (const pfn of pfns) {
      const block = pfn - (pfn % order);
      expect(pages.migratetype[pages.slot(pfn)]).toBe(blocks.migratetype[blocks.slot(block)]);
    }
  });
  test('an isolated pageblock is said to be isolated', async () => {
    const { pageblocks } = layout;
    const [pfn = 0] = expandRuns(expected.udmabufs[0]?.pages ?? []);
    const isolate = [...(pageblocks?.types ?? [])].find(([, name]) => name === 'Isolate')?.[0];
    if (!pageblocks || isolate === undefined) throw new Error('no pageblocks');
    const image = kernel.memory();
    // get_pfnblock_flags_mask, by hand.
    const section = Math.floor(pfn / 32768);
    const perRoot = 4096 / pageblocks.sectionBytes;
    const root = image.readU64(
      image.readU64(pageblocks.memSection) + BigInt(Math.floor(section / perRoot) * 8),
    );
    const usage = image.readU64(
      root + BigInt((section % perRoot) * pageblocks.sectionBytes + pageblocks.usage),
    );
    const bit = Math.floor((pfn % 32768) / 512) * pageblocks.bitsPerBlock;
    const byte = usage + BigInt(pageblocks.flags + (bit >>> 3));
    const [old = 0] = image.bytes(byte, 1) ?? [];
    const value =
      pageblocks.isolateBit === undefined
        ? (old & ~(7 << (bit & 7))) | (isolate << (bit & 7))
        : old | (1 << pageblocks.isolateBit);
    image.write(byte, Uint8Array.of(value));
    const facts = await factsOf(kernel, [pfn], image);
    expect(facts.migratetype[0]).toBe(isolate);
  });
  test('rows: any order, repeats, and the PFN of each', async () => {
    const pfns = expandRuns(expected.udmabufs[0]?.pages ?? []).slice(0, 40);
    const facts = await readPageFacts(
      kernel.memory(),
      layout,
      [Float64Array.from([...pfns].reverse()), Float64Array.from(pfns)],
      undefined,
    );
    const distinct = [...new Set(pfns)].sort((a, b) => a - b);
    expect(facts.head.length).toBe(distinct.length);
    expect(distinct.map(pfn => facts.slot(pfn))).toEqual(distinct.map((_, i) => i));
    expect(distinct.map((_, i) => facts.pfnOf(i))).toEqual(distinct);
    const seen: [number, number][] = [];
    facts.forEachRow((row, pfn) => seen.push([row, pfn]));
    expect(seen).toEqual(distinct.map((pfn, i) => [i, pfn]));
    expect([...new Set(facts.migratetype)]).toEqual([-1]);
  });
  test('no pages at all', async () => {
    expect((await factsOf(kernel, [])).head.length).toBe(0);
  });
});

describe.each(recordedKernels)('pages of Linux $id that contradict themselves', kernel => {
  const { expected, layout } = kernel;
  const { page, folio } = layout;
  const struct = (pfn: number): bigint => page.vmemmap + BigInt(pfn) * BigInt(page.bytes);
  const small = expandRuns(expected.udmabufs[0]?.pages ?? []).slice(10, 20);
  const huge = expandRuns(expected.udmabufs[1]?.pages ?? []).slice(0, 8);
  const head = (pfn: number) => pfn - (pfn % 512);

  /** Changes one thing, then asks which of the pages are unreadable; the others must be as before. */
  const unreadable = async (
    pfns: readonly number[],
    change: (image: KernelImage) => void,
  ): Promise<number[]> => {
    const before = await factsOf(kernel, pfns);
    const image = kernel.memory();
    change(image);
    const after = await factsOf(kernel, pfns, image);
    const raced = pfns.filter(pfn => at(after, pfn).folioPages === 0);
    for (const pfn of pfns) if (!raced.includes(pfn)) expect(at(after, pfn)).toEqual(at(before, pfn));
    return raced;
  };

  test('a single page that became a tail of nothing', async () => {
    const [victim = 0] = small;
    for (const value of [
      1n,
      struct(victim) + 1n,
      struct(victim - 1) + 1n,
      struct(victim + 1) + 1n,
      2n ** 64n - 1n,
    ]) {
      const raced = await unreadable(small, image =>
        image.writeU64(struct(victim) + BigInt(page.head), value),
      );
      // What it points to may be taken for a head that has lost its size.
      expect(
        raced.every(pfn => Math.abs(pfn - victim) <= 1),
        String(value),
      ).toBe(true);
      expect(raced).toContain(victim);
    }
  });
  test('a head bit on a page that is no head', async () => {
    const [victim = 0] = small;
    const flags = struct(victim) + BigInt(page.flags);
    const raced = await unreadable(small, image =>
      image.writeU64(flags, image.readU64(flags) | (1n << BigInt(page.headBit))),
    );
    expect(raced).toEqual([victim]);
  });
  test('a folio whose head lost its bit, or its size', async () => {
    const [first = 0] = huge;
    const flags = struct(head(first)) + BigInt(page.flags);
    expect(
      await unreadable(huge, image =>
        image.writeU64(flags, image.readU64(flags) & ~(1n << BigInt(page.headBit))),
      ),
    ).toEqual(huge);
    const size = struct(head(first)) + BigInt(folio.nrPages.at);
    for (const pages of [0, 1, 2, 3, 511, 513, 2 ** 23, 2 ** 32 - 1]) {
      const data = Buffer.alloc(4);
      data.writeUInt32LE(pages);
      expect(await unreadable(huge, image => image.write(size, data)), String(pages)).toEqual(huge);
    }
  });
  test('struct pages that cannot be read', async () => {
    const [first = 0] = small;
    const facts = await factsOf(kernel, [...small, 2 ** 33], kernel.memory());
    expect(at(facts, 2 ** 33)).toEqual({ head: -1, folioPages: 0, owner: -2, fileIndex: Number.NaN });
    expect(at(facts, first).folioPages).toBe(1);
    const image = kernel.memory();
    image.pages.clear();
    const none = await factsOf(kernel, small, image);
    expect(none.folioPages.every(pages => pages === 0)).toBe(true);
    expect(none.migratetype.every(type => type === -1)).toBe(true);
  });
  test('anonymous and movable mappings have no file, NULL is no page cache', async () => {
    const [victim = 0] = small;
    const mapping = struct(victim) + BigInt(folio.mapping);
    for (const [bits, owner] of [
      [1n, -2],
      [2n, -2],
      [3n, -2],
    ] as const) {
      const image = kernel.memory();
      image.writeU64(mapping, image.readU64(mapping) | bits);
      expect(at(await factsOf(kernel, small, image), victim).owner).toBe(owner);
    }
    const image = kernel.memory();
    image.writeU64(mapping, 0n);
    expect(at(await factsOf(kernel, small, image), victim).owner).toBe(-1);
  });
  test('a file that went away, or whose memory serves another: not known', async () => {
    const [victim = 0] = small;
    const clean = kernel.memory();
    const mapping = clean.readU64(struct(victim) + BigInt(folio.mapping));
    const host = mapping + BigInt(layout.addressSpace.host);
    const inode = clean.readU64(host);
    const changes: [string, bigint, bigint][] = [
      ['host NULL', host, 0n],
      ['host unmapped', host, 0xffff_f000_0000_0000n],
      ['another host', host, inode + 64n],
      ['an inode that does not point back', inode + BigInt(layout.inode.mapping), mapping + 8n],
      ['an inode number past 2^53', inode + BigInt(layout.inode.ino), 2n ** 60n],
      ['a superblock that is none', inode + BigInt(layout.inode.superBlock), 0n],
    ];
    for (const [what, address, value] of changes) {
      const image = kernel.memory();
      image.writeU64(address, value);
      const facts = await factsOf(kernel, small, image);
      const row = facts.slot(victim);
      expect(facts.owner[row], what).toBeGreaterThanOrEqual(0);
      expect(facts.owners[facts.owner[row] ?? -2], what).toBeUndefined();
      expect(facts.folioPages[row], what).toBe(1);
    }
  });
  test('a place in the file past what a number holds is not known', async () => {
    const [victim = 0] = small;
    const index = struct(victim) + BigInt(folio.index);
    for (const value of [2n ** 41n, 2n ** 53n, 2n ** 64n - 1n]) {
      const image = kernel.memory();
      image.writeU64(index, value);
      expect(at(await factsOf(kernel, small, image), victim).fileIndex).toBeNaN();
    }
    const [first = 0] = huge;
    const image = kernel.memory();
    image.writeU64(struct(head(first)) + BigInt(folio.index), 2n ** 40n);
    const { fileIndex } = at(await factsOf(kernel, huge, image), first);
    // Before 6.7 it counts huge pages.
    if (folio.hugeIndex) expect(fileIndex).toBeNaN();
    else expect(fileIndex).toBe(2 ** 40 + (first % 512));
  });
  test('no pageblock map, or one that cannot be read', async () => {
    const { pageblocks } = layout;
    if (!pageblocks) throw new Error('no pageblocks');
    const image = kernel.memory();
    for (const value of [0n, 0xffff_f000_0000_0000n, 2n ** 64n - 8n]) {
      image.writeU64(pageblocks.memSection, value);
      const facts = await factsOf(kernel, small, image);
      expect(facts.migratetype.every(type => type === -1)).toBe(true);
      expect(facts.folioPages.every(pages => pages === 1)).toBe(true);
    }
    const without = await readPageFacts(
      kernel.memory(),
      { ...layout, pageblocks: undefined },
      [Float64Array.from(small)],
      9,
    );
    expect(without.migratetype.every(type => type === -1)).toBe(true);
  });
});
