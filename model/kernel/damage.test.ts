/**
 * Random damage to recorded kernel memory. The kernel keeps some facts in one place only: which array a buffer's pages are
 * in, and what is in it; damage there cannot be told from another truth. So the promise is, for every buffer and every page:
 * - nothing throws, and nothing is read for ever;
 * - what is said is well-formed: whole PFNs of 52 bits of memory, as many as the size says, no more pins than entries,
 *   folios of a power of two that hold their page, places in files that a number holds;
 * - where the damage is in none of the places that alone hold a fact, the fact is the true one, or it is not said at all.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cpuMs } from '../../test/cpu-time.ts';
import { readEverything } from '../../test/kernel-expected.ts';
import type { KernelImage } from '../../test/kernel-image.ts';
import { type RecordedKernel, recordedKernels } from '../../test/kernel-recording.ts';
import type { KernelLayout } from './layout.ts';
import type { MemoryRange } from './memory.ts';

type Everything = Awaited<ReturnType<typeof readEverything>>;
interface Write {
  readonly address: bigint;
  readonly bytes: readonly number[];
}

const RUNS = 250;
const places = { pageblockOrder: 9, blockStarts: [] };
const overlaps = ({ address, bytes }: MemoryRange, write: Write): boolean =>
  write.address < address + BigInt(bytes) && address < write.address + BigInt(write.bytes.length);

/** The places that alone say which pages a buffer has, and how often it pins them. */
function entryPlaces(
  image: KernelImage,
  layout: KernelLayout,
  everything: Everything,
): Map<bigint, MemoryRange[]> {
  const { dmaBuf, udmabuf, list } = layout;
  return new Map(
    everything.udmabufs.map(({ address, priv, sizeBytes }) => {
      const ranges: MemoryRange[] = [
        { address: address + BigInt(dmaBuf.priv), bytes: 8 },
        { address: priv, bytes: udmabuf.bytes },
      ];
      const { entries, pins } = udmabuf;
      const arrays = entries.kind === 'pages' ? [entries.pages] : [entries.folios, entries.offsets];
      for (const member of arrays) {
        ranges.push({ address: image.readU64(priv + BigInt(member)), bytes: (sizeBytes / 4096) * 8 });
      }
      if (pins.kind === 'list') {
        const head = priv + BigInt(pins.head);
        for (let node = image.readU64(head + BigInt(list.next)); node !== head; ) {
          ranges.push({ address: node, bytes: 16 });
          node = image.readU64(node + BigInt(list.next));
        }
      }
      return [address, ranges];
    }),
  );
}

/** The places that alone say who a buffer is: its operations and size, and the number of its inode. */
function identityPlaces(
  image: KernelImage,
  layout: KernelLayout,
  everything: Everything,
): Map<bigint, MemoryRange[]> {
  return new Map(
    everything.udmabufs.map(({ address, file }) => [
      address,
      [
        { address, bytes: layout.dmaBuf.bytes },
        { address: file, bytes: Math.max(layout.file.inode, layout.file.privateData) + 8 },
        { address: image.readU64(file + BigInt(layout.file.inode)), bytes: 1024 },
      ],
    ]),
  );
}

/** Damage: single bytes and bits, and pointers that become other pointers, poison or nonsense. */
function writes(kernel: RecordedKernel): fc.Arbitrary<Write[]> {
  const image = kernel.memory();
  const { vmemmap } = kernel.layout.page;
  // Structures, and struct pages: the second are many more, so each kind is half.
  const used = [...image.pages].flatMap(([page, data]) =>
    Array.from({ length: 512 }, (_, i) => i * 8)
      .filter(at => data.subarray(at, at + 8).some(byte => byte !== 0))
      .map(at => (page << 12n) + BigInt(at)),
  );
  const isPage = (at: bigint) => at >= vmemmap && at < vmemmap + 2n ** 40n;
  const structures = used.filter(at => !isPage(at));
  const address = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...structures) },
    { weight: 1, arbitrary: fc.constantFrom(...used.filter(isPage)) },
  );
  const value = fc.oneof(
    fc.constantFrom(0n, 1n, 0xdead_0000_0000_0100n, 0xdead_0000_0000_0122n, 2n ** 63n, 2n ** 64n - 1n, 4096n),
    fc.constantFrom(...structures),
    address.map(at => image.readU64(at)),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  );
  const word = fc.tuple(address, value).map(([at, bits]) => {
    const data = Buffer.alloc(8);
    data.writeBigUInt64LE(bits);
    return { address: at, bytes: [...data] };
  });
  const byte = fc.tuple(address, fc.nat({ max: 7 }), fc.nat({ max: 255 })).map(([at, i, bits]) => ({
    address: at + BigInt(i),
    bytes: [bits],
  }));
  return fc.array(fc.oneof(word, byte), { minLength: 1, maxLength: 4 });
}

describe.each(recordedKernels)('damaged memory of Linux $id', kernel => {
  const { layout } = kernel;
  const arbitrary = writes(kernel);

  test(`${RUNS} damages: true, or not said, or well-formed where nothing could tell`, async () => {
    const clean = kernel.memory();
    const truth = await readEverything(clean, layout, places);
    const trueBuffers = new Map(
      truth.udmabufs.map((buffer, i) => [buffer.address, { buffer, pages: truth.pages[i] }]),
    );
    const entries = entryPlaces(clean, layout, truth);
    const identities = identityPlaces(clean, layout, truth);
    let said = 0;
    let silent = 0;
    await fc.assert(
      fc.asyncProperty(arbitrary, async damage => {
        const image = kernel.memory();
        for (const { address, bytes } of damage) image.write(address, Uint8Array.from(bytes));
        const started = cpuMs();
        const found = await readEverything(image, layout, places);
        expect(cpuMs() - started).toBeLessThan(10_000);
        const hit = (ranges: readonly MemoryRange[] | undefined) =>
          (ranges ?? []).some(range => damage.some(write => overlaps(range, write)));

        for (const [i, buffer] of found.udmabufs.entries()) {
          expect(Number.isSafeInteger(buffer.inode) && Number.isSafeInteger(buffer.sizeBytes)).toBe(true);
          const genuine = trueBuffers.get(buffer.address);
          if (genuine && !hit(identities.get(buffer.address))) {
            expect([buffer.inode, buffer.sizeBytes, buffer.createdNs]).toEqual([
              genuine.buffer.inode,
              genuine.buffer.sizeBytes,
              genuine.buffer.createdNs,
            ]);
          }
          const pages = found.pages[i];
          if (!pages || !found.alive[i]) {
            silent++;
            continue;
          }
          said++;
          expect(pages.pfn.length * 4096).toBe(buffer.sizeBytes);
          expect(pages.pfn.every(pfn => Number.isInteger(pfn) && pfn >= 0 && pfn < 2 ** 40)).toBe(true);
          expect(Number.isInteger(pages.pins) && pages.pins >= 0 && pages.pins <= pages.pfn.length).toBe(
            true,
          );
          if (genuine && !hit(entries.get(buffer.address)) && !hit(identities.get(buffer.address))) {
            expect(pages.pfn).toEqual(genuine.pages?.pfn);
            expect(pages.pins).toBe(genuine.pages?.pins);
          }
        }
        checkFacts(found, truth, damage, layout);
      }),
      { numRuns: RUNS },
    );
    // The damage is to meet something, and not to silence everything.
    expect(silent).toBeGreaterThan(0);
    expect(said).toBeGreaterThan(silent);
  });
});

/** Facts of pages: well-formed, and true where neither the page's own struct nor its folio's head was damaged. */
function checkFacts(
  found: Everything,
  truth: Everything,
  damage: readonly Write[],
  layout: KernelLayout,
): void {
  const { page, folio } = layout;
  const struct = (pfn: number) => page.vmemmap + BigInt(pfn) * BigInt(page.bytes);
  const rows = new Map<number, number>();
  truth.facts.forEachRow((row, pfn) => rows.set(pfn, row));
  const inMap = damage.filter(
    ({ address }) => address >= page.vmemmap - 64n && address < page.vmemmap + 2n ** 46n,
  );
  const elsewhere = damage.length > inMap.length;
  found.facts.forEachRow((row, pfn) => {
    const pages = found.facts.folioPages[row] ?? 0;
    if (pages === 0) return;
    const head = found.facts.head[row] ?? -1;
    const index = found.facts.fileIndex[row] ?? Number.NaN;
    const wellFormed =
      Number.isInteger(Math.log2(pages)) &&
      head % pages === 0 &&
      head <= pfn &&
      pfn < head + pages &&
      (Number.isNaN(index) || (Number.isInteger(index) && Number.isSafeInteger(index * 4096)));
    if (!wellFormed) expect({ pfn, pages, head, index }).toBe('well-formed');
    const trueRow = rows.get(pfn);
    if (trueRow === undefined) return;
    const trueHead = truth.facts.head[trueRow] ?? -1;
    const own = [
      { address: struct(pfn), bytes: page.bytes },
      { address: struct(trueHead), bytes: folio.bytes },
    ];
    if (inMap.some(write => own.some(range => overlaps(range, write)))) return;
    if (
      pages !== truth.facts.folioPages[trueRow] ||
      head !== trueHead ||
      !Object.is(index, truth.facts.fileIndex[trueRow])
    ) {
      // A file whose superblock or inode was damaged may change what an index counts before 6.7.
      if (!(elsewhere && folio.hugeIndex)) expect({ pfn, pages, head, index }).toBe('the true facts');
    }
  });
}
