import type { Expression } from '../../model/filter/ast.ts';
import { compare, equals } from '../../model/filter/combine.ts';
import { formatBytes } from '../../model/format.ts';
import type {
  CmaArea,
  HugetlbPool,
  MemoryBlockState,
  MigratetypeState,
  ZoneState,
} from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hex } from '../../model/units.ts';
import type { Column } from '../tables/column.ts';

const known = (value: number | string | null): string => (value === null ? '–' : printable(String(value)));
const COUNT = { width: 8, align: 'right', face: 'data' } as const;

/**
 * A counter of huge pages. One that the kernel let fall below 0 comes as the 64-bit number that it prints; that number stands,
 * with what it means.
 */
export function counterText(value: number | string | null): string {
  if (typeof value !== 'string' || !/^\d+$/.test(value)) return known(value);
  const signed = BigInt.asIntN(64, BigInt(value));
  return signed < 0n ? `${value} (= ${signed}: it wrapped below 0)` : value;
}

/** A column of a count that may not be known. */
function count<Row>(
  id: string,
  title: string,
  hint: string,
  of: (row: Row) => number | string | null,
  more: Partial<Column<Row>> = {},
): Column<Row> {
  return { id, title, hint, ...COUNT, text: row => known(of(row)), value: of, ...more };
}

/** A column of pages as bytes. */
function bytes<Row>(id: string, title: string, hint: string, of: (row: Row) => number): Column<Row> {
  return { id, title, hint, ...COUNT, text: row => formatBytes(of(row)), value: of };
}

/** Node and zone: of zones, and of their migratetypes. */
const placeColumns: readonly Column<{ readonly node: number; readonly zone: string }>[] = [
  count('node', 'Node', 'NUMA node.', ({ node }) => node, {
    width: 4,
    clause: ({ node }) => equals('node', node),
  }),
  {
    id: 'zone',
    title: 'Zone',
    hint: 'Zone.',
    width: 9,
    text: ({ zone }) => printable(zone),
    clause: ({ zone }) => equals('zone', zone),
  },
];

const pfnText = (pfn: number | null): string => (pfn === null ? '–' : hex(pfn));
const pfns = (first: number | null, pages: number): Expression | null =>
  first === null || pages === 0
    ? null
    : compare('pfn', '==', { kind: 'range', first, last: first + pages - 1 });

/** hugetlb pools by size and node (/sys/kernel/mm/hugepages and node*\/hugepages). */
export const hugetlbColumns: readonly Column<HugetlbPool>[] = [
  {
    ...bytes<HugetlbPool>('size', 'Page size', 'Size of the pool’s huge pages.', pool => pool.pageSizeBytes),
    clause: ({ pageSizeBytes }) => equals('folio', pageSizeBytes),
  },
  {
    id: 'node',
    title: 'Node',
    hint: 'NUMA node, or all of them together.',
    width: 9,
    text: ({ node }) => (node === null ? 'all' : `node ${node}`),
    tone: ({ node }) => (node === null ? 'plain' : 'muted'),
    value: ({ node }) => node ?? 'all',
    clause: ({ node }) => (node === null ? null : equals('node', node)),
  },
  count('total', 'Total', 'nr_hugepages', ({ total }) => total),
  count('free', 'Free', 'free_hugepages: not allocated; reserved ones among them.', ({ free }) => free, {
    tone: ({ free, total }) => (free === 0 && total > 0 ? 'warning' : 'plain'),
  }),
  count(
    'reserved',
    'Reserved',
    'resv_hugepages: promised to mappings, not yet allocated. Only the whole machine has it.',
    ({ reserved }) => reserved,
    {
      text: ({ reserved }) => counterText(reserved),
      tone: ({ reserved }) => (typeof reserved === 'string' ? 'error' : 'plain'),
    },
  ),
  count('surplus', 'Surplus', 'surplus_hugepages: above the configured number.', ({ surplus }) => surplus),
  count(
    'overcommit',
    'Overcommit',
    'nr_overcommit_hugepages: how many surplus pages are allowed.',
    ({ overcommit }) => overcommit,
  ),
];

/** Zones by node (/proc/zoneinfo). */
export function zoneColumns(pageSize: number): Column<ZoneState>[] {
  return [
    ...placeColumns,
    count('start', 'Start PFN', 'start_pfn; none for a zone without pages.', ({ startPfn }) => startPfn, {
      text: ({ startPfn }) => pfnText(startPfn),
      clause: ({ startPfn, spannedPages }) => pfns(startPfn, spannedPages),
    }),
    count(
      'spanned',
      'Spanned',
      'Pages from the first to the last, holes included.',
      zone => zone.spannedPages,
    ),
    count('present', 'Present', 'Pages without the holes.', zone => zone.presentPages),
    count('managed', 'Managed', 'Pages that the page allocator has.', zone => zone.managedPages),
    bytes('size', 'in bytes', 'Managed pages in bytes.', zone => zone.managedPages * pageSize),
    count('free', 'Free', 'Free pages.', zone => zone.freePages),
    bytes('freeBytes', 'in bytes', 'Free pages in bytes.', zone => zone.freePages * pageSize),
    count('cma', 'CMA', 'Pages of CMA areas.', zone => zone.cmaPages),
    count('freeCma', 'Free CMA', 'Free pages of CMA areas.', zone => zone.freeCmaPages),
  ];
}

/** As the kernel prints it: a count that it broke off is only known to be larger. */
function freeBlocks({ freePagesByOrder, cappedOrders }: MigratetypeState, order: number) {
  const blocks = freePagesByOrder[order] ?? null;
  return blocks !== null && cappedOrders?.includes(order) ? `>${blocks}` : blocks;
}

/** Migratetypes of zones (/proc/pagetypeinfo), with one column an order of free blocks. */
export function migratetypeColumns(rows: readonly MigratetypeState[]): Column<MigratetypeState>[] {
  const orders = Math.max(0, ...rows.map(({ freePagesByOrder }) => freePagesByOrder.length));
  return [
    ...placeColumns,
    {
      id: 'type',
      title: 'Migratetype',
      hint: 'Type of pageblocks.',
      width: 12,
      text: ({ type }) => printable(type),
      clause: ({ type }) => equals('migratetype', type),
    },
    count('blocks', 'Pageblocks', 'Pageblocks of this type.', row => row.blocks),
    ...Array.from({ length: orders }, (_, order) =>
      count<MigratetypeState>(
        `order${order}`,
        `2^${order}`,
        `Free blocks of 2^${order} pages in pageblocks of this type; “>” where the kernel stopped counting.`,
        row => freeBlocks(row, order),
        { width: 4, tone: ({ freePagesByOrder }) => (freePagesByOrder[order] ? 'plain' : 'muted') },
      ),
    ),
  ];
}

/** CMA areas (/sys/kernel/mm/cma, debugfs cma). */
export const cmaColumns: readonly Column<CmaArea>[] = [
  {
    id: 'name',
    title: 'Area',
    hint: 'Name of the CMA area.',
    width: 16,
    text: ({ name }) => printable(name),
  },
  count('total', 'Pages', 'Pages of the area.', ({ totalPages }) => totalPages),
  count(
    'available',
    'Available',
    'Pages that CMA could hand out; – where the kernel does not tell.',
    ({ availablePages }) => availablePages,
  ),
  count('base', 'Base PFN', 'First page of the area; only root may know.', ({ basePfn }) => basePfn, {
    text: ({ basePfn }) => pfnText(basePfn),
    clause: ({ basePfn, totalPages }) => pfns(basePfn, totalPages),
  }),
];

/** Inodes named of a block; the others are counted. */
const NAMED = 16;

/** Hotplug blocks (/sys/devices/system/memory). */
export const blockColumns: readonly Column<MemoryBlockState>[] = [
  count('block', 'Block', 'memoryN of sysfs.', ({ block }) => block),
  count('start', 'Start PFN', 'First page.', ({ startPfn }) => startPfn, {
    text: ({ startPfn }) => hex(startPfn),
  }),
  count('node', 'Node', 'NUMA node.', ({ node }) => node, {
    width: 6,
    clause: ({ node }) => equals('node', node),
  }),
  {
    id: 'state',
    title: 'State',
    hint: 'state of sysfs.',
    width: 9,
    text: ({ state }) => printable(state),
  },
  {
    id: 'zones',
    title: 'Valid zones',
    hint: 'Zones that it could be online in.',
    width: 14,
    text: ({ validZones }) => (validZones.length === 0 ? '–' : printable(validZones.join(', '))),
    value: ({ validZones }) => validZones,
  },
  count(
    'pinned',
    'Pages held',
    'Distinct pages that this process’s buffers hold here.',
    ({ pinnedPages }) => pinnedPages,
    { text: ({ pinnedPages }) => (pinnedPages === null ? 'not read' : String(pinnedPages)), width: 11 },
  ),
  {
    id: 'holders',
    title: 'By dma-buf',
    hint: 'Inodes of the dma-bufs that hold them.',
    width: 20,
    grow: 1,
    text: ({ heldBy }) =>
      `${heldBy.slice(0, NAMED).join(', ')}${heldBy.length > NAMED ? ` and ${heldBy.length - NAMED} more` : ''}`,
    value: ({ heldBy }) => heldBy,
    // A filter of hundreds of numbers is none that anybody reads.
    clause: ({ heldBy }) => (heldBy.length > NAMED ? null : anyInode(heldBy)),
  },
];

function anyInode(inodes: readonly number[]): Expression | null {
  return inodes.reduce<Expression | null>((left, inode) => {
    const right = equals('inode', inode);
    return left === null ? right : { kind: 'or', left, right };
  }, null);
}
