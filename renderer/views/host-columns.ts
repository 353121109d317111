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

/** hugetlb pools by size and node (/sys/kernel/mm/hugepages and node*\/hugepages). */
export const hugetlbColumns: readonly Column<HugetlbPool>[] = [
  {
    id: 'size',
    title: 'Page size',
    hint: 'Size of the pool’s huge pages.',
    ...COUNT,
    text: ({ pageSizeBytes }) => formatBytes(pageSizeBytes),
  },
  {
    id: 'node',
    title: 'Node',
    hint: 'NUMA node, or all of them together.',
    width: 9,
    text: ({ node }) => (node === null ? 'all' : `node ${node}`),
    tone: ({ node }) => (node === null ? 'plain' : 'muted'),
  },
  { id: 'total', title: 'Total', hint: 'nr_hugepages', ...COUNT, text: ({ total }) => known(total) },
  {
    id: 'free',
    title: 'Free',
    hint: 'free_hugepages: not allocated; reserved ones among them.',
    ...COUNT,
    text: ({ free }) => known(free),
    tone: ({ free, total }) => (free === 0 && total > 0 ? 'warning' : 'plain'),
  },
  {
    id: 'reserved',
    title: 'Reserved',
    hint: 'resv_hugepages: promised to mappings, not yet allocated. Only the whole machine has it.',
    ...COUNT,
    text: ({ reserved }) => counterText(reserved),
    tone: ({ reserved }) => (typeof reserved === 'string' ? 'error' : 'plain'),
  },
  {
    id: 'surplus',
    title: 'Surplus',
    hint: 'surplus_hugepages: above the configured number.',
    ...COUNT,
    text: ({ surplus }) => known(surplus),
  },
  {
    id: 'overcommit',
    title: 'Overcommit',
    hint: 'nr_overcommit_hugepages: how many surplus pages are allowed.',
    ...COUNT,
    text: ({ overcommit }) => known(overcommit),
  },
];

/** Zones by node (/proc/zoneinfo). */
export function zoneColumns(pageSize: number): Column<ZoneState>[] {
  const bytes = (pages: number) => formatBytes(pages * pageSize);
  return [
    {
      id: 'node',
      title: 'Node',
      hint: 'NUMA node.',
      ...COUNT,
      width: 4,
      text: ({ node }) => String(node),
    },
    { id: 'zone', title: 'Zone', hint: 'Zone.', width: 9, text: ({ zone }) => printable(zone) },
    {
      id: 'start',
      title: 'Start PFN',
      hint: 'start_pfn; none for a zone without pages.',
      ...COUNT,
      text: ({ startPfn }) => (startPfn === null ? '–' : hex(startPfn)),
    },
    {
      id: 'spanned',
      title: 'Spanned',
      hint: 'Pages from the first to the last, holes included.',
      ...COUNT,
      text: ({ spannedPages }) => String(spannedPages),
    },
    {
      id: 'present',
      title: 'Present',
      hint: 'Pages without the holes.',
      ...COUNT,
      text: zone => String(zone.presentPages),
    },
    {
      id: 'managed',
      title: 'Managed',
      hint: 'Pages that the page allocator has.',
      ...COUNT,
      text: ({ managedPages }) => String(managedPages),
    },
    {
      id: 'size',
      title: 'in bytes',
      hint: 'Managed pages in bytes.',
      ...COUNT,
      text: zone => bytes(zone.managedPages),
    },
    { id: 'free', title: 'Free', hint: 'Free pages.', ...COUNT, text: ({ freePages }) => String(freePages) },
    {
      id: 'freeBytes',
      title: 'in bytes',
      hint: 'Free pages in bytes.',
      ...COUNT,
      text: zone => bytes(zone.freePages),
    },
    {
      id: 'cma',
      title: 'CMA',
      hint: 'Pages of CMA areas.',
      ...COUNT,
      text: ({ cmaPages }) => known(cmaPages),
    },
    {
      id: 'freeCma',
      title: 'Free CMA',
      hint: 'Free pages of CMA areas.',
      ...COUNT,
      text: ({ freeCmaPages }) => known(freeCmaPages),
    },
  ];
}

/** Migratetypes of zones (/proc/pagetypeinfo), with one column an order of free blocks. */
export function migratetypeColumns(rows: readonly MigratetypeState[]): Column<MigratetypeState>[] {
  const orders = Math.max(0, ...rows.map(({ freePagesByOrder }) => freePagesByOrder.length));
  return [
    {
      id: 'node',
      title: 'Node',
      hint: 'NUMA node.',
      ...COUNT,
      width: 4,
      text: ({ node }) => String(node),
    },
    { id: 'zone', title: 'Zone', hint: 'Zone.', width: 9, text: ({ zone }) => printable(zone) },
    {
      id: 'type',
      title: 'Migratetype',
      hint: 'Type of pageblocks.',
      width: 12,
      text: ({ type }) => printable(type),
    },
    {
      id: 'blocks',
      title: 'Pageblocks',
      hint: 'Pageblocks of this type.',
      ...COUNT,
      text: row => String(row.blocks),
    },
    ...Array.from(
      { length: orders },
      (_, order): Column<MigratetypeState> => ({
        id: `order${order}`,
        title: `2^${order}`,
        hint: `Free blocks of 2^${order} pages in pageblocks of this type.`,
        ...COUNT,
        width: 4,
        text: ({ freePagesByOrder }) => known(freePagesByOrder[order] ?? null),
        tone: ({ freePagesByOrder }) => (freePagesByOrder[order] ? 'plain' : 'muted'),
      }),
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
  {
    id: 'total',
    title: 'Pages',
    hint: 'Pages of the area.',
    ...COUNT,
    text: ({ totalPages }) => String(totalPages),
  },
  {
    id: 'available',
    title: 'Available',
    hint: 'Pages that CMA could hand out; – where the kernel does not tell.',
    ...COUNT,
    text: ({ availablePages }) => known(availablePages),
  },
  {
    id: 'base',
    title: 'Base PFN',
    hint: 'First page of the area; only root may know.',
    ...COUNT,
    text: ({ basePfn }) => (basePfn === null ? '–' : hex(basePfn)),
  },
];

/** Hotplug blocks (/sys/devices/system/memory). */
export const blockColumns: readonly Column<MemoryBlockState>[] = [
  { id: 'block', title: 'Block', hint: 'memoryN of sysfs.', ...COUNT, text: ({ block }) => String(block) },
  { id: 'start', title: 'Start PFN', hint: 'First page.', ...COUNT, text: ({ startPfn }) => hex(startPfn) },
  { id: 'node', title: 'Node', hint: 'NUMA node.', ...COUNT, width: 6, text: ({ node }) => known(node) },
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
  },
  {
    id: 'pinned',
    title: 'Pages held',
    hint: 'Distinct pages that this process’s buffers hold here.',
    ...COUNT,
    width: 11,
    text: ({ pinnedPages }) => (pinnedPages === null ? 'not read' : String(pinnedPages)),
  },
  {
    id: 'holders',
    title: 'By dma-buf',
    hint: 'Inodes of the dma-bufs that hold them.',
    width: 20,
    grow: 1,
    text: ({ heldBy }) =>
      `${heldBy.slice(0, 16).join(', ')}${heldBy.length > 16 ? ` and ${heldBy.length - 16} more` : ''}`,
  },
];
