import { formatBytes, plural } from '../format.ts';
import { DISCONNECTED } from '../run-columns.ts';
import { unreadPages } from './page-rule.ts';
import { mayBeUdmabuf, type Rule, recheckRuns, type Told, type Unjudged } from './rule.ts';

/*
 * A reference or a pin on one page holds its whole folio: none of it can be moved, split or freed (mm/gup.c gup_put_folio,
 * mm/huge_memory.c can_split_folio, mm/hugetlb.c free_huge_folio).
 */

/**
 * From how many times its own size on a buffer is told. A framebuffer of 8 MiB that lies together reaches over one huge page of
 * 2 MiB more than it needs (1.5 times), one scattered over guest memory comes to a few times its size: both are what huge pages cost.
 */
const TIMES = 8;
/** Bytes of folios below which nobody minds: one huge page of x86-64. Readahead's and shmem's small large folios stay below. */
const LEAST = 2 ** 21;

type Read = Unjudged['resources'][number] & {
  readonly pages: NonNullable<Unjudged['resources'][number]['pages']>;
};

const isRead = (resource: Unjudged['resources'][number]): resource is Read =>
  resource.pages !== null && mayBeUdmabuf(resource);

function isAmplified({ pages }: Read, pageSize: number): boolean {
  const used = pages.count * pageSize;
  return used > 0 && pages.folioBytes >= LEAST && pages.folioBytes >= TIMES * used;
}

function tell(sample: Unjudged, { inode, pages }: Read): Told {
  const { host, target } = sample;
  const used = pages.count * host.pageSize;
  const { runs } = pages;
  const sizes = [...new Set(runs.folioBytes)].sort((a, b) => b - a);
  const files = new Set(runs.ramInode);
  const huge = (target.ram ?? []).filter(
    ram => files.has(ram.inode) && (ram.pageSizeBytes ?? 0) > host.pageSize,
  );
  const lost = runs.backing.includes(DISCONNECTED);
  const folios = plural(pages.folios, 'folio');
  return {
    resource: inode,
    // The guest has given them back, and the host does not get them.
    ...(lost ? { severity: 'warning' as const } : {}),
    title: `${formatBytes(used)} hold ${formatBytes(pages.folioBytes)}, ${Math.floor(pages.folioBytes / used)} times as much`,
    explanation: [
      `The kernel holds memory for a udmabuf by folio: ${plural(pages.count, 'page')} of this buffer lie in ${folios} of up to ${formatBytes(sizes[0] ?? 0)}, and each of them can be neither moved nor freed as long as the buffer lives.`,
      huge.length > 0
        ? 'It is guest memory in any case, so this costs nothing until the guest gives memory back or the host wants the memory block: then all of it stays where it is.'
        : 'What the guest gives back beside the buffer stays with the host’s huge page, which cannot be split while it is held.',
      lost
        ? 'Some of these pages are no longer the guest’s: their folios are lost to everybody until the buffer is gone.'
        : '',
    ]
      .filter(Boolean)
      .join(' '),
    remedy:
      huge.length > 0
        ? `Destroy the resource in the guest if the memory is needed; a backend of smaller pages (hugetlbsize=2M, or hugetlb=off) holds less for a small buffer.`
        : 'Destroy the resource in the guest if the memory is needed; without huge pages in shmem (/sys/kernel/mm/transparent_hugepage/shmem_enabled) a buffer holds only its own pages.',
    evidence: [
      {
        source: 'kernel-memory',
        field: 'bytes of the folios held, and of the pages of the buffer',
        value: `${pages.folioBytes} in ${folios}, ${used}`,
        recheck: recheckRuns(sample, inode, `"folioBytes":${sizes[0] ?? 0},`),
      },
      ...huge.map(ram => ({
        source: `/proc/${target.pid}/smaps`,
        field: `KernelPageSize of memfd ${ram.inode}`,
        value: `${(ram.pageSizeBytes ?? 0) / 1024} kB`,
        recheck: `sudo awk '$5==${ram.inode}&&/memfd:/{print;f=1} f&&/^KernelPageSize/{print;f=0}' /proc/${target.pid}/smaps`,
      })),
    ],
  };
}

export const amplificationRules: readonly Rule[] = [
  {
    id: 'amplification',
    severity: 'info',
    fires: `The folios that a udmabuf holds are at least ${TIMES} times its own size, and ${formatBytes(LEAST)} or more.`,
    needs: ['pages'],
    check: sample => ({
      found: sample.resources
        .filter(isRead)
        .filter(resource => isAmplified(resource, sample.host.pageSize))
        .map(resource => tell(sample, resource)),
      because: unreadPages(sample),
    }),
  },
];
