import { formatBytes, plural } from '../format.ts';
import { mayBeUnfillable } from '../join/fillable.ts';
import type { HugetlbPool, RamBackend } from '../snapshot.ts';
import { hugetlbRam, makesUdmabufs, ramName, sum } from './guest-memory.ts';
import {
  type Evidence,
  type Outcome,
  type Reason,
  type Rule,
  type Told,
  type Unjudged,
  whyMissing,
} from './rule.ts';

const SILENT: Outcome = { found: [], because: [] };

const POOLS = '/sys/kernel/mm/hugepages';
const poolDirectory = (pageSizeBytes: number): string => `${POOLS}/hugepages-${pageSizeBytes / 1024}kB`;

function poolEvidence(pool: HugetlbPool): Evidence {
  const directory = poolDirectory(pool.pageSizeBytes);
  return {
    source: directory,
    field: 'nr, free, resv, surplus, nr_overcommit',
    value: [pool.total, pool.free, pool.reserved, pool.surplus, pool.overcommit]
      .map(value => value ?? '?')
      .join(', '),
    recheck: `grep . ${directory}/*_hugepages`,
  };
}

/** Where the free pages of a pool lie, as far as it was read. */
export const fillableEvidence = (
  { target }: Unjudged,
  { pageSizeBytes, fillable, free }: HugetlbPool,
): Evidence => ({
  source: '/proc/kcore, /proc/zoneinfo',
  field: `free pages of ${formatBytes(pageSizeBytes)} outside ZONE_MOVABLE and CMA, of all free ones`,
  value: `${fillable ?? 'unknown'} of ${free}`,
  recheck: `sudo pinscope snapshot --pid ${target.pid} --json | tr -d ' \\n' | grep -o '"pageSizeBytes":${pageSizeBytes},"node":null,[^}]*}'`,
});

/** A hugetlb backend and the pages that it still has to get from its pool. */
interface Holed {
  readonly ram: RamBackend;
  readonly pageSizeBytes: number;
  readonly pages: number;
  readonly holes: number;
}

/** Backends that are not all there; memory that virtio-mem has not plugged is none to make a buffer of. */
function holed(sample: Unjudged): { readonly found: readonly Holed[]; readonly because: readonly Reason[] } {
  const { ram, because } = hugetlbRam(sample);
  const plugged = new Set(sample.target.devices?.virtioMem.map(({ properties }) => properties.memdev));
  const found: Holed[] = [];
  const unread: string[] = [];
  for (const each of ram) {
    if (each.id !== null && plugged.has(each.id)) continue;
    const { allocatedBytes: there, pageSizeBytes } = each;
    if (there === null || there === undefined || pageSizeBytes === null) {
      unread.push(ramName(each));
      continue;
    }
    const pages = Math.floor(each.sizeBytes / pageSizeBytes);
    const holes = pages - Math.floor(there / pageSizeBytes);
    if (holes > 0) found.push({ ram: each, pageSizeBytes, pages, holes });
  }
  if (unread.length === 0) return { found, because };
  const what = `how much of ${unread.join(', ')} is there is not known`;
  const why = whyMissing(what, sample.sources, ['memfds'], 'its memfd is only mapped, no longer open');
  return { found, because: [...because, why] };
}

const holeEvidence = ({ target }: Unjudged, { ram, pages, holes }: Holed): Evidence => ({
  source: `/proc/${target.pid}/fd`,
  field: `huge pages of memfd ${ram.inode} that are there (st_blocks), of all`,
  value: `${pages - holes} of ${pages}`,
  recheck: `sudo find -L /proc/${target.pid}/fd -maxdepth 1 -inum ${ram.inode} -printf '%i: %b blocks of 512 bytes, size %s\\n'`,
});

/**
 * Pages that a pool can still give to these holes, at most. The kernel does not tell whose its reservations are: with `reserve=off`
 * they are all somebody else's, else they may be all ours.
 */
function available(pool: HugetlbPool, lacking: readonly Holed[]): number {
  const reserved = typeof pool.reserved === 'number' ? pool.reserved : 0;
  const others = lacking.every(({ ram }) => ram.reserve === false) ? reserved : 0;
  const surplus = Math.max(0, (pool.overcommit ?? 0) - pool.surplus);
  return Math.max(0, pool.free - others) + surplus;
}

function checkStarvation(sample: Unjudged): Outcome {
  const { host, target, sources } = sample;
  if (target.ram !== null && !makesUdmabufs(sample)) return SILENT;
  const era = host.kernel.udmabufEra;
  if (era === 'absent') return SILENT;
  const { found: lacking, because } = holed(sample);
  if (lacking.length === 0) return { found: [], because };
  if (era === null) {
    const what = "whether this kernel's udmabuf fills holes is not known";
    const why = whyMissing(what, sources, ['btf'], 'nothing tells');
    return { found: [], because: [...because, why] };
  }
  if (era === 'page-refs') return { found: [untouched(sample, lacking)], because };
  if (host.hugetlb === null) {
    const why = whyMissing('the hugetlb pools are not known', sources, ['hugepages'], 'not read');
    return { found: [], because: [...because, why] };
  }
  const short: Short[] = [];
  const open: Reason[] = [];
  const unfit: Told[] = [];
  for (const pageSizeBytes of new Set(lacking.map(each => each.pageSizeBytes))) {
    const mine = lacking.filter(each => each.pageSizeBytes === pageSizeBytes);
    const wanted = mine.reduce((sum, { holes }) => sum + holes, 0);
    const pool = host.hugetlb.find(each => each.node === null && each.pageSizeBytes === pageSizeBytes);
    if (!pool) open.push(`the host tells of no pool of ${formatBytes(pageSizeBytes)} pages`);
    else if (available(pool, mine) < wanted) short.push({ pool, mine, wanted });
    else {
      const fillable = fillableOf(sample, pool);
      if (typeof fillable !== 'number') open.push(fillable);
      else if (fillable < wanted) unfit.push(misplaced(sample, { pool, mine, wanted }, fillable));
    }
  }
  return {
    found: [...(short.length > 0 ? [starved(sample, short)] : []), ...unfit],
    because: [...because, ...open],
  };
}

interface Short {
  readonly pool: HugetlbPool;
  readonly mine: readonly Holed[];
  readonly wanted: number;
}

/** Free pages of the pool that a hole can be filled from (all, on a host without ZONE_MOVABLE and CMA), or why that is not known. */
function fillableOf({ host, sources }: Unjudged, pool: HugetlbPool): number | Reason {
  const free = `the ${plural(pool.free, 'free page')} of the ${formatBytes(pool.pageSizeBytes)} pool`;
  const what = `how many of ${free} lie outside ZONE_MOVABLE and CMA, where a hole has to be filled from, is not known`;
  if (host.zones === null) return whyMissing(what, sources, ['zoneinfo'], 'not read');
  if (!mayBeUnfillable(host.zones)) return Number.POSITIVE_INFINITY;
  return pool.fillable ?? whyMissing(what, sources, ['free-huge-pages'], 'not read');
}

const PREALLOC =
  'Start QEMU with prealloc=on at the memory backend, so that all of its pages are there before the guest runs';

/** Page-refs era: the driver only looks for the page (find_get_page), and makes none. */
function untouched(sample: Unjudged, lacking: readonly Holed[]): Told {
  const names = lacking.map(({ ram }) => ramName(ram)).join(', ');
  const [holes, pages] = [sum(lacking, each => each.holes), sum(lacking, each => each.pages)];
  return {
    severity: 'info',
    resource: null,
    title: `${holes} of ${plural(pages, 'huge page')} of ${names} were never touched`,
    explanation: `This kernel's udmabuf takes only hugetlb pages that are there already: UDMABUF_CREATE over one that the guest has not touched yet fails with EINVAL, however full the pool is. A guest that writes to its buffers first, as Linux does, does not meet it.`,
    remedy: `${PREALLOC}.`,
    evidence: lacking.map(each => holeEvidence(sample, each)),
  };
}

/** Pages enough, but not where memfd_alloc_folio() takes them from: the guest can have them, a buffer over a hole cannot. */
function misplaced(sample: Unjudged, { pool, mine, wanted }: Short, fillable: number): Told {
  const size = formatBytes(pool.pageSizeBytes);
  const names = mine.map(({ ram }) => ramName(ram)).join(', ');
  return {
    severity: 'info',
    resource: null,
    title: `${size} pool: ${fillable} of ${plural(pool.free, 'free page')} outside ZONE_MOVABLE and CMA, for ${wanted} that ${names} ${mine.length === 1 ? 'lacks' : 'lack'}`,
    explanation: `Guest memory has holes, huge pages that were never touched. The pool has pages for all of them, so the guest may touch them; but UDMABUF_CREATE fills a hole only with a page outside ZONE_MOVABLE and CMA. ${fillable === 0 ? 'A buffer over a hole' : 'Once those are taken a buffer over a hole'} fails with ENOMEM (QEMU: “UDMABUF_CREATE_LIST: Cannot allocate memory”). A guest that writes to its buffers first, as Linux does, does not meet it.`,
    remedy: `${PREALLOC}; or have the pool’s pages outside ZONE_MOVABLE.`,
    evidence: [
      poolEvidence(pool),
      fillableEvidence(sample, pool),
      ...mine.map(each => holeEvidence(sample, each)),
    ],
  };
}

function starved(sample: Unjudged, short: readonly Short[]): Told {
  const [first] = short;
  const words = short.map(({ pool, mine, wanted }) => {
    const left = available(pool, mine);
    return `${formatBytes(pool.pageSizeBytes)} pool: ${left} ${left === 1 ? 'page' : 'pages'} for ${wanted} that ${mine.map(({ ram }) => ramName(ram)).join(', ')} ${mine.length === 1 ? 'lacks' : 'lack'}`;
  });
  const none = first !== undefined && available(first.pool, first.mine) === 0;
  return {
    resource: null,
    title: words.join('; '),
    explanation: `Guest memory has holes, huge pages that were never touched, and the pool cannot fill them all. UDMABUF_CREATE takes a free page for each hole that a buffer lies over: ${none ? 'the next one over a hole' : 'once the pool is empty it'} fails with ENOMEM (QEMU: “UDMABUF_CREATE_LIST: Cannot allocate memory”), while a guest that touches a hole then dies of SIGBUS.`,
    remedy: `${PREALLOC}: it then fails at once if the pool is too small. Until then raise nr_hugepages of the pool by what is missing.`,
    evidence: short.flatMap(({ pool, mine }) => [
      poolEvidence(pool),
      ...mine.map(each => holeEvidence(sample, each)),
    ]),
  };
}

/** A counter of pages that was taken below zero: the kernel prints it as 2^64 less that. */
const isWrapped = (reserved: HugetlbPool['reserved']): reserved is string =>
  typeof reserved === 'string' && BigInt(reserved) >= 2n ** 63n;

const below = (reserved: string): string => String(BigInt(reserved) - 2n ** 64n);

function checkUnderflow({ host, sources }: Unjudged): Outcome {
  if (host.hugetlb === null) {
    const why = whyMissing('the hugetlb pools are not known', sources, ['hugepages'], 'not read');
    return { found: [], because: [why] };
  }
  const wrapped = host.hugetlb.flatMap(pool =>
    isWrapped(pool.reserved) ? [{ ...pool, reserved: pool.reserved }] : [],
  );
  if (wrapped.length === 0) return SILENT;
  return { found: [underflow(wrapped)], because: [] };
}

function underflow(wrapped: readonly (HugetlbPool & { readonly reserved: string })[]): Told {
  const words = wrapped.map(pool => `${below(pool.reserved)} in the ${formatBytes(pool.pageSizeBytes)} pool`);
  return {
    resource: null,
    title: `HugePages_Rsvd is below zero: ${words.join(', ')}`,
    explanation: [
      'A udmabuf was made over holes of a hugetlb memfd that nobody had reserved pages for. memfd_pin_folios() of Linux 6.11 to 6.16 filled them from the pool and subtracted pages from a reservation that it never made, and the counter wrapped.',
      'It is wrong by that many pages until the memfd is closed: the kernel then promises a mapping pages that it does not have, and whoever touches them dies of SIGBUS. Kernels built with CONFIG_DEBUG_VM stop at the subtraction.',
    ].join(' '),
    remedy:
      'End the process whose memfd it is, or close the memfd: the counter is right again then. So that it does not come back: touch the memory before (prealloc=on at the memory backend), keep QEMU’s reservation (reserve=on, its default), or run a kernel whose memfd_alloc_folio() reserves first (6.17).',
    evidence: wrapped.map(pool => ({
      source: `${poolDirectory(pool.pageSizeBytes)}/resv_hugepages`,
      field: `reserved pages (${below(pool.reserved)} as a signed number)`,
      value: pool.reserved,
      recheck: `cat ${poolDirectory(pool.pageSizeBytes)}/resv_hugepages`,
    })),
  };
}

export const poolRules: readonly Rule[] = [
  {
    id: 'pool-starvation',
    severity: 'warning',
    fires:
      'Guest RAM of huge pages has holes, and its pool has fewer pages than they need; info where it has enough, but not outside ZONE_MOVABLE and CMA.',
    needs: ['ram', 'ram-holes', 'hugetlb-pools', 'free-huge-pages', 'era'],
    check: checkStarvation,
  },
  {
    id: 'reserve-underflow',
    severity: 'error',
    fires: 'The reserved pages of a hugetlb pool were counted below zero.',
    needs: ['hugetlb-pools'],
    check: checkUnderflow,
  },
];
