import { plural } from '../format.ts';
import type { SampledResource } from '../run-columns.ts';
import type { HostState, MemoryBlockState } from '../snapshot.ts';
import { heldBlocks } from './blocks.ts';

/** A hotplug block that is online and has pages of udmabufs: what would have to be closed before it can go offline. */
export interface BlockPlan {
  /** Number N of /sys/devices/system/memory/memoryN. */
  readonly block: number;
  readonly startPfn: number;
  readonly node: number | null;
  readonly state: string;
  /** Zones that the kernel names for it; one, for a block that is online. */
  readonly validZones: readonly string[];
  /** Distinct PFNs that buffers of this sample hold in it. */
  readonly pinnedPages: number;
  /** Inodes of these buffers, those with most pages here first. All of them have to be closed. */
  readonly heldBy: readonly number[];
  /** Distinct PFNs here of each of `heldBy`. A page of two buffers counts for both. */
  readonly heldPages: readonly number[];
  /**
   * Whether nothing else of this sample is known to keep it: the block lies in ZONE_MOVABLE, so that everything beside these
   * buffers' pages has to be movable. Buffers and long-term pins of other processes are not in a sample, so it is no promise.
   */
  readonly alone: boolean;
  /** A sentence: what of this block a sample cannot know. */
  readonly unknown: string;
}

/** What {@link planBlocks} looks at; every sample has it. */
export interface BlocksOf {
  readonly host: Pick<HostState, 'memoryBlocks' | 'memoryBlockBytes'>;
  readonly resources: readonly SampledResource[];
}

const HOLES = 'whether all of it is memory was not read (an offline of a block with holes is refused)';
const OTHERS = 'buffers and long-term pins (vfio, RDMA, io_uring) of other processes are not looked at';
const KERNEL = 'the kernel’s own pages (slab, page tables) may lie there, and they do not move either';

/**
 * Online blocks with pages of the buffers whose pages were read, ascending: those of buffers whose pages were not are not in it.
 * Blocks that no buffer holds, and those that cannot go offline whoever holds them (`valid_zones` is `none`: pages of two zones,
 * drivers/base/memory.c valid_zones_show; or not all of it is memory), are left out. Nothing is tried: offlining a held block does
 * not fail, it loops (mm/memory_hotplug.c offline_pages).
 */
export function planBlocks({ host, resources }: BlocksOf): BlockPlan[] {
  const { memoryBlocks, memoryBlockBytes } = host;
  if (!memoryBlocks || memoryBlockBytes === null) return [];
  const blocks = memoryBlocks.filter(
    ({ state, validZones, holes }) => state === 'online' && canGo(validZones) && holes !== true,
  );
  const blockPages = memoryBlockBytes / 4096;
  // Where the pages of a buffer are unknown, the host's rows say nothing of the others either.
  const together = blocks.some(({ pinnedPages }) => pinnedPages === null)
    ? heldBlocks(
        blocks,
        blockPages,
        resources.filter(({ pages }) => pages !== null),
      )
    : blocks;
  const held = together.filter(({ pinnedPages }) => (pinnedPages ?? 0) > 0);
  const shares = sharesOf(held, blockPages, resources);
  return held.map(({ block, startPfn, node, state, validZones, holes, pinnedPages }) => {
    const most = (shares.get(block) ?? []).sort((a, b) => b.pages - a.pages || a.inode - b.inode);
    const alone = validZones.every(zone => zone === 'Movable');
    return {
      ...{ block, startPfn, node, state, validZones, alone },
      pinnedPages: pinnedPages ?? 0,
      heldBy: most.map(({ inode }) => inode),
      heldPages: most.map(({ pages }) => pages),
      unknown: [...(alone ? [] : [KERNEL]), ...(holes === false ? [] : [HOLES]), OTHERS].join('; '),
    };
  });
}

/** Block → its buffers, each with its own distinct PFNs there. */
function sharesOf(
  held: readonly MemoryBlockState[],
  blockPages: number,
  resources: readonly SampledResource[],
): Map<number, { inode: number; pages: number }[]> {
  const blocksOf = new Map<number, MemoryBlockState[]>();
  for (const block of held) {
    for (const inode of block.heldBy) {
      const its = blocksOf.get(inode);
      if (its) its.push(block);
      else blocksOf.set(inode, [block]);
    }
  }
  const shares = new Map<number, { inode: number; pages: number }[]>();
  for (const resource of resources) {
    const { inode } = resource;
    for (const { block, pinnedPages } of heldBlocks(blocksOf.get(inode) ?? [], blockPages, [resource])) {
      const share = { inode, pages: pinnedPages ?? 0 };
      const its = shares.get(block);
      if (its) its.push(share);
      else shares.set(block, [share]);
    }
  }
  return shares;
}

const canGo = (zones: readonly string[]): boolean => zones.length > 0 && !zones.includes('none');

/** `to free memory40 close dma-bufs 7 (768 pages there), 9 (1 page)`: what {@link planBlocks} comes to, in a line. */
export function planLine({ block, heldBy, heldPages }: BlockPlan): string {
  const each = heldBy.map(
    (inode, i) => `${inode} (${plural(heldPages[i] ?? 0, 'page')}${i === 0 ? ' there' : ''})`,
  );
  return `to free memory${block} close ${each.length === 1 ? 'dma-buf' : 'dma-bufs'} ${each.join(', ')}`;
}
