import { formatBytes } from '../format.ts';
import { currentFile } from '../host/hugetlb-cgroup.ts';
import type { HugetlbCgroup, RamBackend } from '../snapshot.ts';
import { hugetlbRam } from './guest-memory.ts';
import { unreadPages } from './page-rule.ts';
import { type Outcome, type Rule, type Told, type Unjudged, whyMissing } from './rule.ts';

/** Bytes of the distinct hugetlb folios of one size that the buffers hold; of pages whose memfd is known alone, so at least these. */
function heldBytes({ resources, host }: Unjudged, ram: readonly RamBackend[], pageSizeBytes: number): number {
  // A huge page of shmem is of the same size: the memfd tells them apart, unless one of each has the same inode number.
  const mine = new Set(ram.filter(each => each.pageSizeBytes === pageSizeBytes).map(({ inode }) => inode));
  const pagesEach = pageSizeBytes / host.pageSize;
  const folios = new Set<number>();
  for (const { pages } of resources) {
    if (!pages) continue;
    const { runs } = pages;
    for (let run = 0; run < runs.length; run++) {
      if (runs.folioBytes[run] !== pageSizeBytes || !mine.has(runs.ramInode[run] ?? -1)) continue;
      const first = runs.pfn[run] ?? 0;
      const last = first + (runs.count[run] ?? 1) - 1;
      for (let at = Math.floor(first / pagesEach); at <= Math.floor(last / pagesEach); at++) folios.add(at);
    }
  }
  return folios.size * pageSizeBytes;
}

function check(sample: Unjudged): Outcome {
  const { target, sources } = sample;
  const { ram, because } = hugetlbRam(sample);
  if (ram.length === 0) return { found: [], because };
  const rows = target.hugetlbCgroup;
  if (rows === null || rows === undefined) {
    const why = whyMissing('what its cgroup counts is not known', sources, ['hugetlb-cgroup'], 'not read');
    return { found: [], because: [...because, why] };
  }
  // Nothing counts here: the root cgroup, or a kernel without the controller.
  if (rows.length === 0) return { found: [], because };
  const twice = new Set(
    target.ram
      ?.filter(({ inode }, i, all) => all.findIndex(each => each.inode === inode) !== i)
      .map(({ inode }) => inode),
  );
  const certain = ram.filter(({ inode }) => !twice.has(inode));
  const found = rows.flatMap(row => {
    const held = heldBytes(sample, certain, row.pageSizeBytes);
    return held > row.currentBytes ? [tell(sample, row, held)] : [];
  });
  const [first] = found;
  return {
    found: first ? [{ ...first, evidence: found.flatMap(({ evidence }) => evidence) }] : [],
    because: [...because, ...unreadPages(sample)],
  };
}

function tell({ target }: Unjudged, row: HugetlbCgroup, held: number): Told {
  const size = formatBytes(row.pageSizeBytes);
  const file = currentFile(row.pageSizeBytes);
  const recheck = `d=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/${target.pid}/cgroup); until [ -e "$d/${file}" ] || [ -z "$d" ]; do d=\${d%/*}; done; cat "$d/${file}"`;
  return {
    resource: null,
    title: `Buffers hold ${formatBytes(held)} in ${size} pages, their cgroup counts ${formatBytes(row.currentBytes)}`,
    explanation: [
      `At least ${formatBytes(held - row.currentBytes)} of the huge pages that this process's buffers hold are counted in no hugetlb limit of its cgroup.`,
      'UDMABUF_CREATE over a hole of a hugetlb memfd fills it without charging anybody (memfd_alloc_folio), and a later touch charges nothing either: limits of the hugetlb controller do not bind such pages.',
      'Pages that another process touched first, or this one before it was moved to its cgroup, are charged there: then nothing is wrong.',
    ].join(' '),
    remedy:
      'Have QEMU touch its memory itself (prealloc=on at the memory backend): a fault charges the page. Bound the guest by the size of its backends, not by hugetlb limits alone.',
    evidence: [
      {
        source: 'kernel-memory',
        field: `bytes of the distinct ${size} hugetlb pages that the buffers hold`,
        value: String(held),
        recheck: `sudo pinscope snapshot --pid ${target.pid} --json | tr -d ' \\n' | tr '{' '\\n' | grep '"folioBytes":${row.pageSizeBytes},'`,
      },
      { source: 'hugetlb-cgroup', field: file, value: String(row.currentBytes), recheck },
    ],
  };
}

export const cgroupRules: readonly Rule[] = [
  {
    id: 'cgroup-escape',
    severity: 'warning',
    fires:
      'The buffers of the process hold more bytes in huge pages than the hugetlb controller counts in its cgroup.',
    needs: ['pages', 'ram', 'hugetlb-cgroup'],
    check,
  },
];
