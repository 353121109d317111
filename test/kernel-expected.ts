/** What a recording of kernel memory holds, and how all of it is read: used where it is made and where it is tested. */
import { readUdmabufs, stillThere, walkDmaBufs } from '../model/kernel/dma-bufs.ts';
import type { KernelLayout } from '../model/kernel/layout.ts';
import type { KernelMemory } from '../model/kernel/memory.ts';
import { readPageFacts } from '../model/kernel/pages.ts';

/** A run of pages: first PFN and how many. */
export type PfnRun = readonly [pfn: number, count: number];

/** A udmabuf of the test program, by its own pagemap, stat and /proc/kpageflags. */
export interface ExpectedUdmabuf {
  readonly inode: number;
  readonly sizeBytes: number;
  /** Change time of the dma-buf, ns. */
  readonly createdNs: string;
  readonly pages: readonly PfnRun[];
  /** The list items; `dev` in the kernel's encoding. */
  readonly items: readonly {
    readonly dev: number;
    readonly inode: number;
    readonly hugetlb: boolean;
    readonly offset: number;
    readonly bytes: number;
  }[];
  /** Pages of the folio of each PFN. */
  readonly folioPages: readonly (readonly [pfn: number, pages: number])[];
  /** Entries whose page left the file. */
  readonly lost: readonly number[];
}

export interface ExpectedBlob {
  readonly inode: number;
  /** Guest address and bytes; the guest's RAM begins at address 0 and offset 0. */
  readonly entries: readonly (readonly [address: number, bytes: number])[];
  /** Entry and PFN by QEMU's gpa2hpa. */
  readonly samples: readonly (readonly [entry: number, pfn: number])[];
}

export interface ExpectedQemu {
  readonly ram: { readonly dev: number; readonly inode: number };
  readonly blobs: readonly ExpectedBlob[];
}

/** Where pageblocks begin, from /proc/zoneinfo. */
export interface Places {
  readonly pageblockOrder: number;
  readonly blockStarts: readonly number[];
}

export interface Expected extends Places {
  readonly release: string;
  readonly udmabufs: readonly ExpectedUdmabuf[];
  readonly qemu: readonly ExpectedQemu[];
  /** The buffer with a device attached, by debugfs. */
  readonly attached: { readonly inode: number; readonly device: string };
  /** Numbers of the memory blocks that sysfs has. */
  readonly memoryBlocks: readonly number[];
}

/** All that is read of a machine's dma-bufs. */
export async function readEverything(memory: KernelMemory, layout: KernelLayout, places: Places) {
  const walk = await walkDmaBufs(memory, layout);
  const udmabufs = walk.buffers.filter(({ isUdmabuf }) => isUdmabuf);
  const pages = await readUdmabufs(memory, layout, udmabufs);
  const lists = pages.flatMap(read => (read ? [read.pfn] : []));
  const facts = await readPageFacts(memory, layout, lists, places.pageblockOrder);
  const blocks = await readPageFacts(
    memory,
    layout,
    [Float64Array.from(places.blockStarts)],
    places.pageblockOrder,
  );
  const alive = await stillThere(memory, layout, udmabufs);
  return { walk, udmabufs, pages, facts, blocks, alive };
}

export const expandRuns = (runs: readonly PfnRun[]): number[] =>
  runs.flatMap(([pfn, count]) => Array.from({ length: count }, (_, i) => pfn + i));
