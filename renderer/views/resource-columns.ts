import type { Expression } from '../../model/filter/ast.ts';
import { both, compare, equals } from '../../model/filter/combine.ts';
import { formatBytes, formatSpan } from '../../model/format.ts';
import type { Sample, SampledResource } from '../../model/run-columns.ts';
import type { Virtio } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import type { Column, Tone } from '../tables/column.ts';
import { type Severity, severityRank } from '../text/findings.ts';
import { backingText, summaryOf, whereText, whyNoPages } from '../text/resource.ts';

/** Columns of the table of dma-bufs in one sample. */
export function resourceColumns(
  sample: Sample,
  worst: ReadonlyMap<number, Severity>,
): Column<SampledResource>[] {
  /** What a cell says where the pages are not known, and why that is not a dash. */
  const unread = (resource: SampledResource) => whyNoPages(resource, sample.sources).word;
  const unreadTone = (resource: SampledResource): Tone => (resource.pages === null ? 'muted' : 'plain');
  const takenAt = Date.parse(sample.takenAt);
  const age = ({ createdAt }: SampledResource): number | null =>
    createdAt === null ? null : takenAt - Date.parse(createdAt);
  return [
    {
      id: 'severity',
      title: 'Severity',
      shortTitle: '!',
      hint: 'The worst finding about this buffer. No mark does not mean that it is safe.',
      width: 2,
      text: ({ inode }) => worst.get(inode) ?? '',
      value: ({ inode }) => worst.get(inode) ?? null,
      clause: ({ inode }) => equals('severity', worst.get(inode) ?? 'none'),
      sortBy: ({ inode }) => -severityRank(worst.get(inode)),
    },
    {
      id: 'inode',
      title: 'dma-buf',
      hint: 'Inode of the dma-buf: the same in every process that holds it.',
      width: 9,
      align: 'right',
      face: 'data',
      text: ({ inode }) => String(inode),
      value: ({ inode }) => inode,
      clause: ({ inode }) => equals('inode', inode),
      sortBy: ({ inode }) => inode,
    },
    {
      id: 'name',
      title: 'Name',
      hint: 'Name of the dma-buf, or in brackets the driver that exported it where that is not udmabuf.',
      width: 8,
      grow: 1,
      text: nameText,
      value: ({ name }) => name,
      clause: nameClause,
      tone: ({ name }) => (name ? 'plain' : 'muted'),
      sortBy: ({ name }) => name,
    },
    {
      id: 'size',
      title: 'Size',
      hint: 'Size of the buffer.',
      width: 10,
      align: 'right',
      face: 'data',
      text: ({ sizeBytes }) => (sizeBytes === null ? '?' : formatBytes(sizeBytes)),
      value: ({ sizeBytes }) => sizeBytes,
      clause: ({ sizeBytes }) => equals('size', sizeBytes),
      sortBy: ({ sizeBytes }) => sizeBytes,
    },
    {
      id: 'pages',
      title: 'Pages',
      hint: 'Entries of the buffer, 4 KiB each; a page that occurs twice counts twice.',
      width: 7,
      align: 'right',
      face: 'data',
      text: resource => (resource.pages ? String(resource.pages.count) : unread(resource)),
      value: ({ pages }) => pages?.count ?? null,
      clause: ({ pages }) => equals('pages', pages?.count ?? null),
      tone: unreadTone,
      sortBy: ({ pages }) => pages?.count ?? null,
    },
    {
      id: 'holds',
      title: 'Holds',
      hint: 'Bytes of the distinct folios that its pages lie in: the memory that cannot be moved or freed because of it.',
      width: 10,
      align: 'right',
      face: 'data',
      text: resource => (resource.pages ? formatBytes(resource.pages.folioBytes) : unread(resource)),
      value: ({ pages }) => pages?.folioBytes ?? null,
      clause: ({ pages }) => equals('holds', pages?.folioBytes ?? null),
      tone: unreadTone,
      sortBy: ({ pages }) => pages?.folioBytes ?? null,
    },
    {
      id: 'where',
      title: 'Node, zone, migratetype',
      hint: 'Where most of its pages lie: NUMA node, zone, type of the pageblock. +2: pages lie in two other places too.',
      width: 22,
      grow: 1.5,
      text: resource => (resource.pages ? whereText(resource.pages.runs) : unread(resource)),
      value: ({ pages }) => (pages ? summaryOf(pages.runs).places.map(place => ({ ...place })) : null),
      clause: whereClause,
      tone: unreadTone,
      sortBy: ({ pages }) => (pages ? whereText(pages.runs) : null),
    },
    {
      id: 'backing',
      title: 'Backing',
      hint: 'Whether its pages still are the guest’s. Disconnected: the guest’s memory has other pages there now.',
      width: 18,
      text: resource => (resource.pages ? backingText(summaryOf(resource.pages.runs)) : unread(resource)),
      value: ({ pages }) => {
        if (pages === null) return null;
        const { connected, disconnected, unknown } = summaryOf(pages.runs);
        return { connected, disconnected, unknown };
      },
      clause: backingClause,
      tone: ({ pages }) => {
        if (pages === null) return 'muted';
        const { disconnected, unknown } = summaryOf(pages.runs);
        return disconnected > 0 ? 'error' : unknown > 0 ? 'muted' : 'plain';
      },
      sortBy: ({ pages }) => {
        if (pages === null) return null;
        const { disconnected, unknown } = summaryOf(pages.runs);
        return -disconnected || (unknown > 0 ? 1 : 2);
      },
    },
    ...(sample.resources.some(({ virtio }) => virtio !== null) ? [virtioColumn] : []),
    {
      id: 'age',
      title: 'Age',
      hint: 'Since the buffer was created, at the time of the sample. Its pages are held since then.',
      width: 11,
      align: 'right',
      face: 'data',
      text: resource => {
        const span = age(resource);
        return span === null ? '?' : formatSpan(span);
      },
      value: age,
      clause: resource => ageClause(age(resource)),
      sortBy: age,
    },
    {
      id: 'count',
      title: 'Refs',
      hint: 'References on the dma-buf: fds, mappings and importers of all processes, Pinscope’s own left out.',
      width: 4,
      align: 'right',
      face: 'data',
      text: ({ count }) => (count === null ? '?' : String(count)),
      value: ({ count }) => count,
      clause: ({ count }) => equals('refs', count),
      sortBy: ({ count }) => count,
    },
  ];
}

/** Only where QEMU's trace tells of a resource. */
const virtioColumn: Column<SampledResource> = {
  id: 'virtio',
  title: 'virtio-gpu',
  hint: 'Resource of the guest’s virtio-gpu, by QEMU’s trace, and the scanout that shows it; “?” is what the trace does not tell.',
  width: 22,
  text: ({ virtio }) => (virtio === null ? '?' : virtioText(virtio)),
  value: ({ virtio }) => virtio && { ...virtio },
  clause: ({ virtio }) =>
    virtio === null || virtio.resourceId === null
      ? virtioShownClause(virtio)
      : equals('resource', virtio.resourceId),
  tone: ({ virtio }) => (virtio === null ? 'muted' : 'plain'),
  sortBy: ({ virtio }) => virtio?.resourceId ?? null,
};

/** What formatVirtio says, in the room of a cell. */
function virtioText({ resourceId, scanout }: Virtio): string {
  const resource = resourceId === null ? 'several' : `resource ${resourceId}`;
  return `${resource}, ${scanout === null ? 'no scanout' : `scanout ${scanout === 'unknown' ? '?' : scanout}`}`;
}

function virtioShownClause(virtio: SampledResource['virtio']): Expression {
  if (virtio === null || virtio.scanout === 'unknown') return equals('resource', null);
  return virtio.scanout === null
    ? compare('scanout', '==', { kind: 'none' })
    : equals('scanout', virtio.scanout);
}

function nameText({ name, exporter }: SampledResource): string {
  if (name) return printable(name);
  if (exporter === 'udmabuf') return '–';
  return exporter === null ? '(exporter unknown)' : `(${printable(exporter)})`;
}

function nameClause({ name, exporter }: SampledResource): Expression {
  if (name !== null) return equals('name', name);
  if (exporter === 'udmabuf') return compare('name', '==', { kind: 'none' });
  return equals('exporter', exporter);
}

/** Where most of its pages lie, as the cell says. */
function whereClause({ pages }: SampledResource): Expression {
  const [most] = pages === null ? [] : summaryOf(pages.runs).places;
  if (most === undefined) return equals('zone', null);
  return both(
    both(equals('node', most.node), equals('zone', most.zone)),
    equals('migratetype', most.migratetype),
  );
}

/** What the cell says of all pages together: connected only where no page is anything else. */
function backingClause({ pages }: SampledResource): Expression {
  if (pages === null) return equals('backing', null);
  const { disconnected, unknown } = summaryOf(pages.runs);
  if (disconnected > 0) return equals('backing', 'disconnected');
  if (unknown > 0) return equals('backing', null);
  return both(
    compare('backing', '!=', { kind: 'text', text: 'disconnected' }),
    compare('backing', '!=', { kind: 'unknown' }),
  );
}

/** At least as old: the age itself is another one in the next sample. Rounded to what the cell shows. */
function ageClause(span: number | null): Expression {
  if (span === null) return equals('age', null);
  const step = span < 10_000 ? 100 : span < 3_600_000 ? 1000 : span < 86_400_000 ? 60_000 : 3_600_000;
  return compare('age', '>=', { kind: 'number', number: Math.max(0, Math.floor(span / step) * step) });
}
