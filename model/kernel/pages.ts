import { distinctRuns, lastAtOrBelow } from '../ascending.ts';
import { safeU64, u32, u64, wordsOf } from './bytes.ts';
import type { KernelLayout, PageblockLayout } from './layout.ts';
import type { KernelMemory, MemoryRange } from './memory.ts';

/* What the kernel's page map says of pages: folio, owner in the page cache, pageblock type (include/linux/mm_types.h). */

/** Magic of hugetlbfs (include/uapi/linux/magic.h): its superblock marks hugetlb memfds too. */
const HUGETLBFS_MAGIC = 0x958458f6;
/** struct pages are read in pieces of at most this size. */
const PIECE_BYTES = 1 << 20;
const TWO_32 = 0x1_0000_0000;
/** Bounds folio sizes that we believe: 16 GiB, the largest that any architecture has. */
const MAX_FOLIO_PAGES = 1 << 22;
/** Bounds places in a file: behind it their byte offset is no exact number. */
const MAX_FILE_INDEX = 2 ** 41;

/** The file whose page cache holds a page. */
export interface PageOwner {
  /** `s_dev` as the kernel keeps it: major << 20 | minor. */
  readonly dev: number;
  readonly inode: number;
  readonly hugetlb: boolean;
}

/** Facts of distinct pages, as columns; {@link slot} gives the row of a PFN. */
export class PageFacts {
  constructor(
    private readonly starts: Float64Array,
    private readonly rows: Float64Array,
    /** Head PFN of the page's folio; the page itself for a single page. */
    readonly head: Float64Array,
    /** Pages of the folio; 0: it could not be read (raced). */
    readonly folioPages: Uint32Array,
    /** Index in {@link owners}; -1: in no page cache (truncated, punched out); -2: anonymous, or unreadable. */
    readonly owner: Int32Array,
    /** Page cache index, in base pages. Survives the page's removal from the cache. NaN: unreadable. */
    readonly fileIndex: Float64Array,
    /** Pageblock migratetype value, -1 unknown. */
    readonly migratetype: Int8Array,
    /** `undefined`: the file could not be read. */
    readonly owners: readonly (PageOwner | undefined)[],
  ) {}

  /** Row of a PFN that was asked for. */
  slot(pfn: number): number {
    const low = lastAtOrBelow(this.starts, pfn);
    return (this.rows[low] ?? 0) + pfn - (this.starts[low] ?? 0);
  }

  /** Calls `visit` for every row, ascending by PFN. */
  forEachRow(visit: (row: number, pfn: number) => void): void {
    let row = 0;
    for (let run = 0; run < this.starts.length; run++) {
      const end = this.rows[run + 1] ?? this.head.length;
      for (let pfn = this.starts[run] ?? 0; row < end; pfn++, row++) visit(row, pfn);
    }
  }

  /** PFN of a row. */
  pfnOf(row: number): number {
    const run = lastAtOrBelow(this.rows, row);
    return (this.starts[run] ?? 0) + row - (this.rows[run] ?? 0);
  }
}

/**
 * Reads the page map for pages that are held (so that folios stay as they are meanwhile).
 * @param pfns in any order, repeats allowed
 * @param blockOrder log2 of pages a pageblock (/proc/pagetypeinfo), `undefined` if unknown: no migratetypes then
 * @param scratch for the next sample: 64 bytes a page are looked at, and new memory for them would cost as much as reading them
 */
export async function readPageFacts(
  memory: KernelMemory,
  layout: KernelLayout,
  pfns: readonly Float64Array[],
  blockOrder: number | undefined,
  scratch = new Scratch(),
): Promise<PageFacts> {
  const { first: starts, count: counts } = distinctRuns(pfns);
  const rows = new Float64Array(starts.length);
  let total = 0;
  for (const [run, count] of counts.entries()) {
    rows[run] = total;
    total += count;
  }
  const head = new Float64Array(total);
  const folioPages = new Uint32Array(total);
  const owner = new Int32Array(total).fill(-2);
  const fileIndex = new Float64Array(total).fill(Number.NaN);
  const migratetype = new Int8Array(total).fill(-1);

  const pieces = await readPages(memory, layout, starts, counts, scratch);
  const headPages = decodeHeads(layout, pieces, head);
  const heads = await readHeads(memory, layout, headPages);

  const mappings = new Map<bigint, number>();
  // Neighbours mostly share their mapping, so the last one is compared as two words and the table asked seldom.
  let [lastLow, lastHigh, lastOwner] = [-1, -1, -2];
  // The same for the folio.
  let [lastFirst, lastLarge]: [number, LargeFolio | undefined] = [-1, undefined];
  const step = layout.page.bytes >>> 2;
  const mappingWord = layout.folio.mapping >>> 2;
  const indexWord = layout.folio.index >>> 2;
  for (const { start, count, row: firstRow, words } of pieces) {
    for (let i = 0, row = firstRow; i < count; i++, row++) {
      const first = head[row] as number;
      if (first !== lastFirst) {
        lastFirst = first;
        lastLarge = heads.size > 0 ? heads.get(first) : undefined;
      }
      const large = lastLarge;
      // A single page carries mapping and index itself; a tail's lie in its head.
      const source = large ? large.words : words;
      const at = large ? 0 : i * step;
      // A head that is none, or whose folio ends before this page: it changed while it was read.
      if (!source || first < 0 || (large && start + i - first >= large.pages)) continue;
      folioPages[row] = large ? large.pages : 1;
      const low = source[at + mappingWord] as number;
      const high = source[at + mappingWord + 1] as number;
      if (low !== lastLow || high !== lastHigh) {
        lastLow = low;
        lastHigh = high;
        lastOwner =
          low === 0 && high === 0
            ? -1
            : (low & 3) !== 0
              ? -2
              : indexOf(mappings, (BigInt(high) << 32n) | BigInt(low));
      }
      owner[row] = lastOwner;
      const index = (source[at + indexWord + 1] as number) * TWO_32 + (source[at + indexWord] as number);
      if (index < MAX_FILE_INDEX) fileIndex[row] = index + (start + i - first);
    }
  }
  const owners = await readOwners(memory, layout, [...mappings.keys()]);
  if (layout.folio.hugeIndex) {
    let at = 0;
    for (const [run, start] of starts.entries()) {
      for (let i = 0; i < (counts[run] ?? 0); i++, at++) {
        const first = head[at] ?? -1;
        const file = owners[owner[at] ?? -1];
        const folio = heads.get(first);
        if (!folio || folioPages[at] === 0 || !(file ? file.hugetlb : folio.hugetlb)) continue;
        const inFolio = start + i - first;
        const index = ((fileIndex[at] ?? Number.NaN) - inFolio) * folio.pages + inFolio;
        fileIndex[at] = index < MAX_FILE_INDEX ? index : Number.NaN;
      }
    }
  }
  if (layout.pageblocks && blockOrder !== undefined) {
    await readMigratetypes(memory, layout.pageblocks, starts, counts, blockOrder, migratetype);
  }
  return new PageFacts(starts, rows, head, folioPages, owner, fileIndex, migratetype, owners);
}

function indexOf(table: Map<bigint, number>, key: bigint): number {
  let index = table.get(key);
  if (index === undefined) {
    index = table.size;
    table.set(key, index);
  }
  return index;
}

/** Memory that is used again and again for what a sample reads and forgets. */
export class Scratch {
  private buffer = new Uint8Array(0);

  /** At least so many bytes, with whatever an earlier use left in them. */
  take(bytes: number): Uint8Array {
    if (this.buffer.length < bytes) this.buffer = new Uint8Array(bytes);
    return this.buffer;
  }
}

/** Neighbouring pages with their struct pages. */
interface PagePiece {
  readonly start: number;
  readonly count: number;
  /** Row of the first. */
  readonly row: number;
  /** `undefined`: could not be read. */
  readonly words: Uint32Array | undefined;
}

async function readPages(
  memory: KernelMemory,
  layout: KernelLayout,
  starts: Float64Array,
  counts: Float64Array,
  scratch: Scratch,
): Promise<PagePiece[]> {
  const { bytes, vmemmap } = layout.page;
  const most = Math.floor(PIECE_BYTES / bytes);
  const pieces: { start: number; count: number; row: number }[] = [];
  const ranges: MemoryRange[] = [];
  let row = 0;
  for (let run = 0; run < starts.length; run++) {
    const end = (starts[run] as number) + (counts[run] as number);
    for (let start = starts[run] as number; start < end; ) {
      const count = Math.min(most, end - start);
      pieces.push({ start, count, row });
      // Below 2^53: one multiplication of BigInts instead of two.
      ranges.push({ address: vmemmap + BigInt(start * bytes), bytes: count * bytes });
      row += count;
      start += count;
    }
  }
  const read = await memory.read(ranges, scratch.take(row * bytes));
  return pieces.map((piece, i) => {
    const data = read[i];
    return { ...piece, words: data && wordsOf(data) };
  });
}

/** Fills `head` (-1: unreadable) and returns the heads of large folios. */
function decodeHeads(layout: KernelLayout, pieces: readonly PagePiece[], head: Float64Array): Set<number> {
  const { bytes, flags, head: headAt, headBit, vmemmap } = layout.page;
  const map = { bytes, baseLow: Number(vmemmap & 0xffff_ffffn), baseHigh: Number(vmemmap >> 32n) };
  const step = bytes >>> 2;
  const headWord = headAt >>> 2;
  const flagWord = (flags >>> 2) + (headBit < 32 ? 0 : 1);
  const flagBit = 1 << (headBit & 31);
  const large = new Set<number>();
  let last = -1;
  // All tails of a folio carry the same word.
  let [lastLow, lastHigh] = [-1, -1];
  let tail: TailWord = { pointed: Number.NaN, span: 0 };
  for (const { start, count, row: firstRow, words } of pieces) {
    if (!words) {
      head.fill(-1, firstRow, firstRow + count);
      continue;
    }
    for (let i = 0, row = firstRow, at = 0; i < count; i++, row++, at += step) {
      const low = words[at + headWord] as number;
      let first = start + i;
      if ((low & 1) === 1) {
        const high = words[at + headWord + 1] as number;
        if (low !== lastLow || high !== lastHigh) {
          tail = tailWord(map, low, high);
          lastLow = low;
          lastHigh = high;
        }
        first = headOf(map, tail, first);
      } else if (((words[at + flagWord] as number) & flagBit) === 0) {
        head[row] = first;
        continue;
      }
      head[row] = first;
      if (first >= 0 && first !== last) {
        last = first;
        large.add(first);
      }
    }
  }
  return large;
}

/** Size of a struct page and address of the first, in two words. */
interface MapBase {
  readonly bytes: number;
  readonly baseLow: number;
  readonly baseHigh: number;
}

/** What a tail's word says, for every page that carries the same word. */
interface TailWord {
  /** The head that it points to; NaN: it points to none. */
  readonly pointed: number;
  /** Bytes of struct pages that the folio spans, where the word is a mask; 0: it is none. */
  readonly span: number;
}

/**
 * `compound_head` is the head's address plus 1; `compound_info` of 7.x with a struct page of a power of two is a mask plus 1,
 * applied to the tail's own address (include/linux/page-flags.h _compound_head). A mask has all upper bits set, so as an address
 * it lies above every page of the map, where no head can be.
 */
function tailWord({ bytes, baseLow, baseHigh }: MapBase, low: number, high: number): TailWord {
  const pointed = ((high - baseHigh) * TWO_32 + (low - 1 - baseLow)) / bytes;
  const span = TWO_32 - (low - 1);
  const isMask = high === 0xffff_ffff && Number.isInteger(Math.log2(span));
  return {
    pointed: pointed >= 0 && Number.isInteger(pointed) ? pointed : Number.NaN,
    span: isMask ? span : 0,
  };
}

/** PFN of the head of tail page `pfn`, -1 if the word makes no sense. */
function headOf({ bytes, baseLow }: MapBase, { pointed, span }: TailWord, pfn: number): number {
  if (pointed <= pfn) return pointed;
  if (span === 0) return -1;
  const inFolio = ((baseLow + pfn * bytes) % span) / bytes;
  return inFolio <= pfn && Number.isInteger(inFolio) ? pfn - inFolio : -1;
}

interface LargeFolio {
  readonly words: Uint32Array;
  /** 0: unreadable, or no folio. */
  readonly pages: number;
  readonly hugetlb: boolean;
}

async function readHeads(
  memory: KernelMemory,
  layout: KernelLayout,
  heads: ReadonlySet<number>,
): Promise<Map<number, LargeFolio>> {
  const { nrPages, bytes, hugeIndex } = layout.folio;
  const { headBit, flags } = layout.page;
  const list = [...heads];
  const read = await memory.read(
    list.map(pfn => ({ address: layout.page.vmemmap + BigInt(pfn) * BigInt(layout.page.bytes), bytes })),
  );
  const folios = new Map<number, LargeFolio>();
  for (const [i, pfn] of list.entries()) {
    const data = read[i] ?? new Uint8Array(0);
    const pages =
      nrPages.kind === 'order'
        ? 2 ** ((data[nrPages.at] ?? 0) & 0xff)
        : nrPages.size === 8
          ? (safeU64(data, nrPages.at) ?? 0)
          : u32(data, nrPages.at);
    const isHead = (u32(data, headBit < 32 ? flags : flags + 4) >>> (headBit & 31)) & 1;
    // Folios lie at multiples of their size, which is a power of two.
    const sound =
      isHead === 1 &&
      pages > 1 &&
      pages <= MAX_FOLIO_PAGES &&
      Number.isInteger(Math.log2(pages)) &&
      pfn % pages === 0;
    folios.set(pfn, {
      words: wordsOf(data),
      pages: sound ? pages : 0,
      hugetlb: hugeIndex !== undefined && data[hugeIndex.destructor] === hugeIndex.hugetlb,
    });
  }
  return folios;
}

async function readOwners(
  memory: KernelMemory,
  layout: KernelLayout,
  mappings: readonly bigint[],
): Promise<(PageOwner | undefined)[]> {
  const { addressSpace, inode, superBlock } = layout;
  const pointer = (data: Uint8Array | undefined, at = 0) => (data ? u64(data, at) : 0n);
  const hosts = await memory.read(mappings.map(m => ({ address: m + BigInt(addressSpace.host), bytes: 8 })));
  const inodeBytes = Math.max(inode.ino, inode.superBlock, inode.mapping) + 8;
  const inodes = await memory.read(hosts.map(host => ({ address: pointer(host), bytes: inodeBytes })));
  const sbBytes = Math.max(superBlock.dev, superBlock.magic) + 8;
  const supers = await memory.read(
    inodes.map(data => ({ address: pointer(data, inode.superBlock), bytes: sbBytes })),
  );
  return mappings.map((mapping, i) => {
    const [data, sb] = [inodes[i], supers[i]];
    const number = data && safeU64(data, inode.ino);
    // An inode that does not point back is one that was freed meanwhile.
    if (!sb || number === undefined || pointer(data, inode.mapping) !== mapping) return undefined;
    return {
      inode: number,
      dev: u32(sb, superBlock.dev),
      hugetlb: safeU64(sb, superBlock.magic) === HUGETLBFS_MAGIC,
    };
  });
}

/** Pageblock type of each page, by value ({@link PageblockLayout.types} has the names); -1: not known. */
export async function readPageblockTypes(
  memory: KernelMemory,
  blocks: PageblockLayout,
  pfns: Float64Array,
  blockOrder: number,
): Promise<Int8Array> {
  const types = new Int8Array(pfns.length).fill(-1);
  await readMigratetypes(memory, blocks, pfns, new Float64Array(pfns.length).fill(1), blockOrder, types);
  return types;
}

/**
 * get_pfnblock_flags_mask of mm/page_alloc.c: pfn → section → usage → bitmap. SPARSEMEM_EXTREME (every 64-bit x86 and arm64
 * kernel): `mem_section` points to a table of roots, each a page of sections.
 */
async function readMigratetypes(
  memory: KernelMemory,
  blocks: PageblockLayout,
  starts: Float64Array,
  counts: Float64Array,
  blockOrder: number,
  out: Int8Array,
): Promise<void> {
  const sectionPages = 2 ** blocks.sectionSizeBits / 4096;
  const perRoot = Math.floor(4096 / blocks.sectionBytes);
  const blockPages = 2 ** blockOrder;
  const bitmapBytes = Math.ceil(((sectionPages / blockPages) * blocks.bitsPerBlock) / 8);
  const wanted = new Set<number>();
  for (const [run, start] of starts.entries()) {
    const last = Math.floor((start + (counts[run] ?? 1) - 1) / sectionPages);
    for (let section = Math.floor(start / sectionPages); section <= last; section++) wanted.add(section);
  }
  const sections = [...wanted];
  const bitmaps = new Map<number, Uint8Array>();
  const [rootTable] = await memory.read([{ address: blocks.memSection, bytes: 8 }]);
  if (!rootTable) return;
  const roots = await memory.read(
    sections.map(section => ({
      address: u64(rootTable, 0) + BigInt(Math.floor(section / perRoot) * 8),
      bytes: 8,
    })),
  );
  const structs = await memory.read(
    sections.map((section, i) => ({
      address: (roots[i] ? u64(roots[i], 0) : 0n) + BigInt((section % perRoot) * blocks.sectionBytes),
      bytes: blocks.sectionBytes,
    })),
  );
  const read = await memory.read(
    structs.map(data => ({
      address: (data ? u64(data, blocks.usage) : 0n) + BigInt(blocks.flags),
      bytes: bitmapBytes,
    })),
  );
  for (const [i, section] of sections.entries()) {
    const data = read[i];
    if (data) bitmaps.set(section, data);
  }
  let row = 0;
  for (const [run, start] of starts.entries()) {
    const end = start + (counts[run] ?? 0);
    for (let pfn = start; pfn < end; ) {
      const next = Math.min(end, (Math.floor(pfn / blockPages) + 1) * blockPages);
      const bitmap = bitmaps.get(Math.floor(pfn / sectionPages));
      if (bitmap)
        out.fill(
          typeOf(blocks, bitmap, Math.floor((pfn % sectionPages) / blockPages)),
          row,
          row + next - pfn,
        );
      row += next - pfn;
      pfn = next;
    }
  }
}

function typeOf(blocks: PageblockLayout, bitmap: Uint8Array, block: number): number {
  const bit = block * blocks.bitsPerBlock;
  const bits = (u32(bitmap, bit >>> 3) >>> (bit & 7)) & (2 ** blocks.bitsPerBlock - 1);
  if (blocks.isolateBit !== undefined && (bits >>> blocks.isolateBit) & 1) {
    for (const [value, name] of blocks.types) if (name === 'Isolate') return value;
  }
  return bits & blocks.typeMask;
}
