import { type Files, Format } from '../lines.ts';
import type { MemoryBlockState } from '../snapshot.ts';

/** What sysfs tells of a block; who holds pages in it comes from the join. */
export type MemoryBlock = Omit<MemoryBlockState, 'pinnedPages' | 'heldBy'>;
export interface MemoryBlocks {
  /** Bytes of every block. */
  readonly blockBytes: number;
  /** Ascending; gaps are memory holes, and block 0 may be missing. */
  readonly blocks: readonly MemoryBlock[];
}

const format: Format = new Format('memory blocks');

/**
 * /sys/devices/system/memory: drivers/base/memory.c. Reads of `files`, in any directory, `memory/block_size_bytes`, and of
 * each block `memory/memoryN/state`, `memory/memoryN/valid_zones` and the symlink `memory/memoryN/nodeK`; others are ignored.
 * - block_size_bytes_show() prints hexadecimal without `0x`.
 * - Block N begins at byte N * block size. Blocks of holes do not exist.
 * - valid_zones_show(): online, its zone, or `none` when holes or several zones make it impossible to offline; offline, the
 *   zones it could go to, the default first. `none` becomes an empty list.
 * - `removable` is the constant 1 and says nothing.
 * - A block of several nodes has a symlink each; its node is then `null`, as without NUMA.
 */
export function parseMemoryBlocks(files: Files, pageSize = 4096): MemoryBlocks {
  let blockBytes: number | undefined;
  const found = new Map<number, { state?: string; zones?: string[]; nodes: number[] }>();
  for (const [path, text] of files) {
    if (/(^|\/)block_size_bytes$/.test(path)) {
      blockBytes = format.hexCount(text.replace(/\n$/, ''), 'block_size_bytes');
      continue;
    }
    const match = /(?:^|\/)memory(\d+)\/(state|valid_zones|node(\d+))$/.exec(path);
    if (!match) continue;
    const [, number = '', file, node] = match;
    const block = format.count(number, 'the number of a block');
    const entry = found.get(block) ?? { nodes: [] };
    found.set(block, entry);
    if (node !== undefined) entry.nodes.push(format.count(node, 'the number of a node'));
    else if (file === 'state') entry.state = one(text, /^[a-z-]{1,40}$/, 'online, offline or going-offline');
    else entry.zones = zones(text);
  }
  if (blockBytes === undefined) throw format.error('block_size_bytes', [...files.keys()].join(' '));
  const pagesPerBlock = blockBytes / pageSize;
  if (!Number.isSafeInteger(pagesPerBlock) || pagesPerBlock === 0)
    throw format.error(`a multiple of the page size ${pageSize}`, blockBytes.toString(16));
  const blocks = [...found]
    .sort(([a], [b]) => a - b)
    .map(([block, { state, zones, nodes }]): MemoryBlock => {
      if (state === undefined || zones === undefined)
        throw format.error('state and valid_zones of every block', `memory${block}`);
      const startPfn = block * pagesPerBlock;
      if (!Number.isSafeInteger(startPfn + pagesPerBlock))
        throw format.error('a PFN below 2^53', `memory${block}`);
      return {
        block,
        startPfn,
        node: nodes.length === 1 ? (nodes[0] ?? null) : null,
        validZones: zones,
        state,
      };
    });
  return { blockBytes, blocks };
}

function one(text: string, shape: RegExp, expected: string): string {
  const value = text.replace(/\n$/, '');
  if (!shape.test(value)) throw format.error(expected, text);
  return value;
}

function zones(text: string): string[] {
  const value = one(text, /^\w{1,20}(?: \w{1,20}){0,9}$/, 'none or names of zones');
  return value === 'none' ? [] : value.split(' ');
}
