import { closeSync } from 'node:fs';
import type { FrameMap } from '../model/join/frames.ts';
import { type JoinedPages, joinPages, pageRanges, pageTableEntries, placeRows } from '../model/join/pages.ts';
import type { RamView } from '../model/join/ram.ts';
import {
  type DmaBuf,
  readUdmabufs,
  stillThere,
  type UdmabufPages,
  walkDmaBufs,
} from '../model/kernel/dma-bufs.ts';
import { type PageFacts, readPageFacts, type Scratch } from '../model/kernel/pages.ts';
import { ok, type Reading, raced } from '../model/reading.ts';
import type { Native, PageRuns } from '../native/index.ts';
import { failure, type HostFiles } from './files.ts';
import { kcoreFailure } from './kcore.ts';
import type { OpenKernel } from './kernel.ts';
import type { SourceLog } from './sources.ts';

/** What kernel memory says of one dma-buf. */
export interface KernelBuffer {
  readonly buffer: DmaBuf;
  /** `undefined` for another exporter's buffer, and for one that changed while it was read. */
  readonly pages: (JoinedPages & PinCounts) | undefined;
}

export interface PinCounts {
  /** Entries of the buffer. */
  readonly count: number;
  readonly pins: number;
  readonly pageReferences: number;
}

export interface PinnedPagesRequest {
  readonly kernel: OpenKernel;
  readonly pid: number;
  readonly ram: RamView;
  readonly frames: FrameMap | undefined;
  /** log2 of pages a pageblock; `undefined`: no migratetypes. */
  readonly blockOrder: number | undefined;
  /** What earlier samples read of buffers that still live. */
  readonly entries: EntryCache;
  /** Memory for struct pages, the sampler's from sample to sample. */
  readonly scratch: Scratch;
  /** Whose pages are wanted. */
  readonly wanted: (inode: number) => boolean;
}

/**
 * Entries of buffers by inode. udmabuf fills a buffer's arrays before it exports it and frees them at its release, so they hold
 * for as long as the buffer is the same one: same inode, which no other buffer gets before the next boot, at the same address.
 * Every sample looks at that again ({@link stillThere}).
 */
export class EntryCache {
  private known = new Map<number, { buffer: DmaBuf; pages: UdmabufPages }>();

  /** Reads those that are not known; forgets those that were not asked for. */
  async read(
    buffers: readonly DmaBuf[],
    readMissing: (buffers: readonly DmaBuf[]) => Promise<(UdmabufPages | undefined)[]>,
  ): Promise<(UdmabufPages | undefined)[]> {
    const kept = new Map<number, { buffer: DmaBuf; pages: UdmabufPages }>();
    const missing: DmaBuf[] = [];
    for (const buffer of buffers) {
      const entry = this.known.get(buffer.inode);
      if (entry && entry.buffer.address === buffer.address && entry.buffer.priv === buffer.priv) {
        kept.set(buffer.inode, entry);
      } else missing.push(buffer);
    }
    for (const [i, pages] of (await readMissing(missing)).entries()) {
      const buffer = missing[i];
      if (buffer && pages) kept.set(buffer.inode, { buffer, pages });
    }
    this.known = kept;
    return buffers.map(({ inode }) => kept.get(inode)?.pages);
  }

  /** What turned out to belong to a buffer that is gone. */
  forget(inode: number): void {
    this.known.delete(inode);
  }
}

/** Inode → what kernel memory says, for all dma-bufs of the host; pages only of those wanted. */
export async function readPinnedPages(
  files: HostFiles,
  native: Native,
  request: PinnedPagesRequest,
  log: SourceLog,
): Promise<Reading<Map<number, KernelBuffer>>> {
  const { memory, layout } = request.kernel;
  const started = performance.now();
  try {
    const walk = await walkDmaBufs(memory, layout);
    const mine = walk.buffers.filter(buffer => buffer.isUdmabuf && request.wanted(buffer.inode));
    const read = await request.entries.read(mine, missing => readUdmabufs(memory, layout, missing));
    const lists = read.flatMap(pages => (pages ? [pages.pfn] : []));
    const facts = await readPageFacts(memory, layout, lists, request.blockOrder, request.scratch);
    const entries = await readEntries(files, native, request, facts, log);
    // Last of all: what was read before a buffer is seen alive was read while it held its pages.
    const alive = await stillThere(memory, layout, mine);
    const found = new Map<number, KernelBuffer>(
      walk.buffers.map(buffer => [buffer.inode, { buffer, pages: undefined }]),
    );
    const holes = facts.folioPages.includes(0);
    const good = mine.flatMap((buffer, i) => {
      const pages = read[i];
      // Read in the middle of a change, perhaps: not to be kept.
      if (!alive[i]) request.entries.forget(buffer.inode);
      return pages && alive[i] && !(holes && !isReadable(facts, pages.pfn)) ? [{ buffer, pages }] : [];
    });
    const lost = walk.racedBuffers + mine.length - good.length;
    const joined = joinPages(
      good.map(({ pages }) => pages.pfn),
      {
        facts,
        entries,
        frames: request.frames,
        ram: request.ram,
        migratetypes: layout.pageblocks?.types ?? new Map(),
      },
    );
    for (const [i, { buffer, pages }] of good.entries()) {
      const count = pages.pfn.length;
      // Without pins the driver takes one reference an entry (shmem_read_mapping_page, find_get_page).
      const pageReferences = layout.udmabuf.pins.kind === 'none' ? count : 0;
      const runs = joined[i];
      if (runs)
        found.set(buffer.inode, { buffer, pages: { ...runs, count, pins: pages.pins, pageReferences } });
    }
    const reading = ok('/proc/kcore', found);
    const detail = `${layout.listSymbol}, ${walk.buffers.length} dma-bufs; symbols from ${request.kernel.symbols}`;
    if (walk.raced || lost > 0) {
      const what = walk.raced
        ? 'the list of dma-bufs changed under every attempt'
        : `${lost} buffers changed while read`;
      log.note(
        'kernel-memory',
        raced('/proc/kcore', `${what}; what is shown held still`),
        performance.now() - started,
      );
    } else {
      log.note('kernel-memory', reading, performance.now() - started, detail);
    }
    return reading;
  } catch (error) {
    const reading = kcoreFailure(error);
    log.note('kernel-memory', reading, performance.now() - started);
    return reading;
  }
}

/** Every page of the buffer has a folio: else the page map changed under us, and sizes would be wrong. */
function isReadable(facts: PageFacts, pfn: Float64Array): boolean {
  return pfn.every(page => (facts.folioPages[facts.slot(page)] ?? 0) > 0);
}

/** What the process's page table shows at the places that these pages should have. Reads nothing else of it. */
async function readEntries(
  files: HostFiles,
  native: Native,
  { pid, ram }: PinnedPagesRequest,
  facts: PageFacts,
  log: SourceLog,
): Promise<Float64Array> {
  const placements = placeRows(facts, ram);
  const ranges = pageRanges(placements);
  const rows = facts.head.length;
  const none: PageRuns = {
    page: new Float64Array(0),
    count: new Float64Array(0),
    frame: new Float64Array(0),
    flags: new Uint16Array(0),
    missing: 0,
  };
  if (ranges.first.length === 0) return pageTableEntries(rows, placements, none);
  const path = `/proc/${pid}/pagemap`;
  const runs = await log.ofAsync('pagemap', async (): Promise<Reading<PageRuns>> => {
    const fd = files.open(path);
    if (fd.state !== 'ok') return fd as Reading<never>;
    try {
      return ok(path, await native.readPageRuns(fd.value, ranges));
    } catch (error) {
      return failure(path, error);
    } finally {
      closeSync(fd.value);
    }
  });
  return pageTableEntries(rows, placements, runs.state === 'ok' ? runs.value : none);
}
