import { formatBytes, formatSpan } from '../../model/format.ts';
import type { Sample, SampledResource } from '../../model/run-columns.ts';
import type { HugetlbPool } from '../../model/snapshot.ts';
import type { Column } from '../tables/column.ts';
import { topBy } from '../text/overview.ts';
import { backingText, summaryOf, whyNoPages } from '../text/resource.ts';

/** A buffer that is named on the overview, and why. */
export interface KeyBuffer {
  readonly why: 'largest' | 'newest';
  readonly resource: SampledResource;
}

const NAMED = 3;

/** The largest and the newest buffers; the newest are not named a second time. */
export function keyBuffers({ resources }: Sample): KeyBuffer[] {
  const largest = topBy(resources, NAMED, ({ sizeBytes }) => sizeBytes);
  const newest = topBy(resources, NAMED, ({ createdAt }) =>
    createdAt === null ? null : Date.parse(createdAt),
  );
  return [
    ...largest.map((resource): KeyBuffer => ({ why: 'largest', resource })),
    ...newest
      .filter(resource => !largest.includes(resource))
      .map((resource): KeyBuffer => ({ why: 'newest', resource })),
  ];
}

/** Pools by page size, the whole machine before its nodes; the nodes of a machine that has only one say nothing more. */
export function sortedPools(pools: readonly HugetlbPool[] | null): HugetlbPool[] {
  const nodes = new Set(pools?.flatMap(({ node }) => (node === null ? [] : [node])));
  return (pools ?? [])
    .filter(({ node }) => node === null || nodes.size > 1)
    .sort((a, b) => a.pageSizeBytes - b.pageSizeBytes || (a.node ?? -1) - (b.node ?? -1));
}

/** Columns of the few buffers on the overview. */
export function bufferColumns(sample: Sample): Column<KeyBuffer>[] {
  return [
    {
      id: 'why',
      title: 'Why',
      hint: 'Why it is named here.',
      width: 8,
      text: ({ why }) => why,
      tone: () => 'muted',
    },
    {
      id: 'inode',
      title: 'dma-buf',
      hint: 'Inode of the dma-buf.',
      width: 8,
      align: 'right',
      face: 'data',
      text: ({ resource }) => String(resource.inode),
    },
    {
      id: 'size',
      title: 'Size',
      hint: 'Size of the buffer.',
      width: 10,
      align: 'right',
      face: 'data',
      text: ({ resource: { sizeBytes } }) => (sizeBytes === null ? '?' : formatBytes(sizeBytes)),
    },
    {
      id: 'holds',
      title: 'Holds',
      hint: 'Bytes of the folios that its pages lie in.',
      width: 10,
      align: 'right',
      face: 'data',
      text: ({ resource }) =>
        resource.pages ? formatBytes(resource.pages.folioBytes) : whyNoPages(resource, sample.sources).word,
      tone: ({ resource }) => (resource.pages ? 'plain' : 'muted'),
    },
    {
      id: 'age',
      title: 'Age',
      hint: 'Since it was created, at the time of the sample.',
      width: 11,
      align: 'right',
      face: 'data',
      text: ({ resource: { createdAt } }) =>
        createdAt === null ? '?' : formatSpan(Date.parse(sample.takenAt) - Date.parse(createdAt)),
    },
    {
      id: 'backing',
      title: 'Backing',
      hint: 'Whether its pages still are the guest’s.',
      width: 16,
      text: ({ resource }) =>
        resource.pages
          ? backingText(summaryOf(resource.pages.runs))
          : whyNoPages(resource, sample.sources).word,
      tone: ({ resource: { pages } }) =>
        pages === null ? 'muted' : summaryOf(pages.runs).disconnected > 0 ? 'error' : 'plain',
    },
  ];
}
