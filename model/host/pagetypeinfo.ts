import { Format } from '../lines.ts';
import type { MigratetypeState } from '../snapshot.ts';

/** Free memory by migratetype, and what a pageblock is. */
export interface PageTypeInfo {
  /** A pageblock is 2^order pages. */
  readonly pageblockOrder: number;
  readonly pagesPerBlock: number;
  readonly types: readonly MigratetypeState[];
}

const format: Format = new Format('pagetypeinfo');
const FREE_HEADING = 'Free pages count per migrate type at order ';
const BLOCKS_HEADING = 'Number of blocks type ';
const FREE = /^Node +(\d+), zone +(\S+), type +(\S+) (.*)$/;
const BLOCKS = /^Node (\d+), zone +(\S+) (.*)$/;

/**
 * /proc/pagetypeinfo (0400): mm/vmstat.c pagetypeinfo_show(), for each node with memory the size of a pageblock, a table
 * of free blocks by order and one of pageblocks by type; only zones with pages. With `page_owner=on` a third table
 * `Number of mixed blocks` in the shape of the second one follows, which is skipped.
 * - A pageblock counts for the type it has now; the pages in it may be of another one, and a pinned page stays Movable.
 */
export function parsePageTypeInfo(text: string): PageTypeInfo {
  let pageblockOrder: number | undefined;
  let pagesPerBlock: number | undefined;
  let orders = 0;
  let blockTypes: string[] | undefined;
  let table: 'none' | 'free' | 'blocks' | 'other' = 'none';
  const free = new Map<
    string,
    { node: number; zone: string; type: string; counts: number[]; capped: number[] }
  >();
  const blocks = new Map<string, number>();
  const key = (node: number, zone: string, type: string) => `${node} ${zone} ${type}`;

  const same = (before: number | undefined, line: string, what: string, at: number): number => {
    const value = format.count(line.slice(line.indexOf(':') + 1).trim(), what, at);
    if (before !== undefined && value !== before)
      throw format.error(`${what} that all nodes share`, line, at);
    return value;
  };

  for (const [i, line] of format.lines(text).entries()) {
    const at = i + 1;
    if (line.startsWith('Page block order:')) {
      table = 'none';
      pageblockOrder = same(pageblockOrder, line, 'the order of a pageblock', at);
    } else if (line.startsWith('Pages per block:')) {
      pagesPerBlock = same(pagesPerBlock, line, 'the pages of a pageblock', at);
    } else if (line.startsWith(FREE_HEADING)) {
      const columns = words(line.slice(FREE_HEADING.length));
      if (table !== 'none' || columns.length === 0 || columns.some((c, order) => c !== String(order)))
        throw format.error('orders from 0 upwards, once a node', line, at);
      table = 'free';
      orders = columns.length;
    } else if (line.startsWith(BLOCKS_HEADING)) {
      blockTypes = words(line.slice(BLOCKS_HEADING.length));
      if (table !== 'free' || new Set(blockTypes).size !== blockTypes.length)
        throw format.error('distinct migratetypes, once a node', line, at);
      table = 'blocks';
    } else if (line.startsWith('Number of ')) {
      table = 'other';
    } else if (line.startsWith('Node') && table === 'free') {
      const match = FREE.exec(line);
      if (!match) throw format.error('Node N, zone NAME, type NAME COUNTS', line, at);
      const [, nodeText = '', zone = '', type = '', rest = ''] = match;
      const node = format.count(nodeText, 'the node', at);
      const counts = words(rest);
      if (counts.length !== orders || free.has(key(node, zone, type)))
        throw format.error(`${orders} counts, once a zone and type`, line, at);
      free.set(key(node, zone, type), {
        node,
        zone,
        type,
        counts: counts.map(c => format.count(c.replace(/^>/, ''), 'free blocks', at)),
        capped: counts.flatMap((c, order) => (c.startsWith('>') ? [order] : [])),
      });
    } else if (line.startsWith('Node') && table === 'blocks' && blockTypes) {
      const match = BLOCKS.exec(line);
      if (!match) throw format.error('Node N, zone NAME COUNTS', line, at);
      const [, nodeText = '', zone = '', rest = ''] = match;
      const node = format.count(nodeText, 'the node', at);
      const counts = words(rest);
      if (counts.length !== blockTypes.length) throw format.error(`${blockTypes.length} counts`, line, at);
      for (const [column, type] of blockTypes.entries()) {
        if (blocks.has(key(node, zone, type))) throw format.error('each zone once', line, at);
        blocks.set(key(node, zone, type), format.count(counts[column] ?? '', 'pageblocks', at));
      }
    }
  }

  if (pageblockOrder === undefined || pagesPerBlock === undefined || pagesPerBlock !== 2 ** pageblockOrder)
    throw format.error('Page block order and Pages per block that agree', text);
  if (free.size === 0 || free.size !== blocks.size)
    throw format.error('both tables for the same zones and types', text.slice(-120));
  const types = [...free].map(([id, { node, zone, type, counts, capped }]) => {
    const count = blocks.get(id);
    if (count === undefined)
      throw format.error(`pageblocks of node ${node}, zone ${zone}, type ${type}`, text.slice(-120));
    return { node, zone, type, blocks: count, freePagesByOrder: counts, cappedOrders: capped };
  });
  return { pageblockOrder, pagesPerBlock, types };
}

const words = (text: string): string[] => text.split(' ').filter(word => word !== '');
