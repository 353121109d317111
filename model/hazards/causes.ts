import { formatBytes } from '../format.ts';
import { hasMovable } from '../join/fillable.ts';
import type { RamBackend } from '../snapshot.ts';
import { printable } from '../text.ts';
import { GIGANTIC_PAGE } from '../units.ts';
import { liveBlobs, recheckOptions } from './blobs.ts';
import { fillableEvidence } from './hugetlb-pool.ts';
import { parameterEvidence, raise, tooSmall } from './limits.ts';
import type { Evidence, Unjudged } from './rule.ts';

/** Why UDMABUF_CREATE_LIST is refused, after what the readings exclude. */
export interface Cause {
  /** It refuses every such buffer by itself; else it may be this one. */
  readonly certain: boolean;
  /** Goes on after “because”. */
  readonly words: string;
  /** What tells it from the other causes of the same error. */
  readonly apart: string;
  readonly fix: string;
  readonly evidence: readonly Evidence[];
}

/** Shows F_GET_SEALS (1034) of every memfd: without bit 2, F_SEAL_SHRINK, udmabuf refuses it. */
const sealsLine = (pid: number): string =>
  `sudo python3 -c "import fcntl,glob,os; [print(f, fcntl.fcntl(os.open(f, os.O_RDONLY), 1034)) for f in glob.glob('/proc/${pid}/fd/*') if os.readlink(f).startswith('/memfd:')]"`;

const memoryEvidence = (sample: Unjudged, field: string, value: string): Evidence => ({
  source: `/proc/${sample.target.pid}/cmdline`,
  field,
  value,
  recheck: recheckOptions(sample, 'memory-backend'),
});

/** The memfds of the machine's own memory backend; all, where it is not known which those are. */
function machineRam({ target }: Unjudged): readonly RamBackend[] {
  const id = target.machineMemory?.backend ?? null;
  const named = (target.ram ?? []).filter(ram => id !== null && ram.id === id);
  return named.length > 0 ? named : (target.ram ?? []);
}

/** The memory is a memfd without F_SEAL_SHRINK, or no memfd: check_memfd_seals() of drivers/dma-buf/udmabuf.c. */
export function memoryCauses(sample: Unjudged): Cause[] {
  const { target } = sample;
  const memory = target.machineMemory ?? null;
  const unsealed = machineRam(sample).filter(({ sealed }) => sealed === false);
  if (memory?.seal === false || (memory?.kind === 'memfd' && unsealed.length > 0)) {
    const name = printable(memory.backend ?? 'the memory backend');
    return [
      {
        certain: true,
        words: `the memfd of ${name} has no F_SEAL_SHRINK${memory.seal === false ? ' (seal=off)' : ''}, which udmabuf asks for (EINVAL)`,
        apart: 'no blob of this guest ever becomes a buffer',
        fix: 'start QEMU without seal=off at the memory-backend-memfd',
        evidence: [
          ...(memory.seal === false ? [memoryEvidence(sample, 'seal of the memory backend', 'off')] : []),
          ...unsealed.map(({ inode }) => ({
            source: `F_GET_SEALS of /proc/${target.pid}/fd`,
            field: `seals of memfd ${inode}`,
            value: 'no F_SEAL_SHRINK (bit 2)',
            recheck: sealsLine(target.pid),
          })),
        ],
      },
    ];
  }
  if (memory === null || memory.kind === 'memfd') return [];
  const what = {
    file: 'the guest’s memory lies in a file, which has no seals (EINVAL on tmpfs and hugetlbfs, else EBADFD)',
    anonymous:
      'the guest’s memory is anonymous: it has no file that udmabuf could take, so QEMU asks for no buffer and says nothing',
    other: 'the guest’s memory is no memfd of QEMU’s own, and has no F_SEAL_SHRINK (EINVAL)',
  }[memory.kind];
  return [
    {
      certain: memory.kind !== 'anonymous',
      words: what,
      apart: 'no blob in that memory ever becomes a buffer',
      fix: 'put the guest’s memory into a memfd: -object memory-backend-memfd,id=mem1,size=SIZE -machine memory-backend=mem1',
      evidence: [memoryEvidence(sample, 'what the machine’s memory lies in', memory.kind)],
    },
  ];
}

/** A limit that refuses what is configured (`certain`), or may refuse what the guest chose. */
export function limitCauses(sample: Unjudged): { readonly known: Cause[]; readonly open: Cause[] } {
  const told = tooSmall(sample);
  const { listLimit, sizeLimitMb } = sample.host.udmabuf;
  const known = told.map(
    (small): Cause => ({
      certain: small.how === 'certain',
      words: `${small.why}, and ${small.limit} is ${small.value} (EINVAL)`,
      apart:
        small.limit === 'list_limit'
          ? 'smaller or less scattered resources of the same guest work'
          : 'a smaller display mode works',
      fix: raise(small),
      evidence: [parameterEvidence(sample, small.limit)],
    }),
  );
  const open: Cause[] = [];
  if (listLimit !== null && !told.some(({ limit }) => limit === 'list_limit'))
    open.push({
      certain: false,
      words: `the resource was in more than ${listLimit} pieces of guest memory (list_limit)`,
      apart:
        'a resource of the same size made after a reboot of the guest, with its memory less scattered, works',
      fix: raise({ limit: 'list_limit', enough: Math.max(listLimit, 1) * 16 }),
      evidence: [parameterEvidence(sample, 'list_limit')],
    });
  if (sizeLimitMb !== null && !told.some(({ limit }) => limit === 'size_limit_mb'))
    open.push({
      certain: false,
      words: `the resource was larger than ${sizeLimitMb} MiB (size_limit_mb): a mode larger than the configured one, or a screen across outputs`,
      apart:
        'width x height x 4 of the mode that the guest asked for is more than the limit, and smaller modes work',
      fix: raise({ limit: 'size_limit_mb', enough: Math.max(sizeLimitMb, 1) * 4 }),
      evidence: [parameterEvidence(sample, 'size_limit_mb')],
    });
  return { known, open };
}

/** Whether a live buffer lies in huge pages: then this kernel takes them. */
const takesHugePages = (sample: Unjudged): boolean =>
  liveBlobs(sample).some(({ pages }) => (pages?.folioBytes ?? 0) > 0 && onHugePages(sample, pages?.runs));

function onHugePages(
  { target }: Unjudged,
  runs: { readonly ramInode: Float64Array; readonly length: number } | undefined,
): boolean {
  const huge = (target.ram ?? []).filter(({ pageSizeBytes }) => (pageSizeBytes ?? 0) > 4096);
  return huge.some(({ inode }) => runs?.ramInode.includes(inode) ?? false);
}

/**
 * Linux 6.4 to 6.10 take no hugetlb memfd (b7cb3821905b, reverted by the 6.11 series): EBADFD. BTF tells a driver of before 6.11,
 * not which one, so the number in the release decides between `likely` and `possible`; distributions carry either.
 */
export function hugetlbRefused(sample: Unjudged): 'likely' | 'possible' | null {
  const { host, target } = sample;
  if (host.kernel.udmabufEra !== 'page-refs') return null;
  if ((target.machineMemory?.hugetlbSizeBytes ?? null) === null || takesHugePages(sample)) return null;
  return /^6\.([4-9]|10)(?!\d)/.test(host.kernel.release) ? 'likely' : 'possible';
}

export function hugetlbCauses(sample: Unjudged): Cause[] {
  const how = hugetlbRefused(sample);
  if (how === null) return [];
  return [
    {
      certain: false,
      words: `the guest’s memory is a hugetlb memfd, and the udmabuf of Linux 6.4 to 6.10 takes none (EBADFD); this kernel has a driver of before 6.11 and calls itself ${printable(sample.host.kernel.release)}`,
      apart: 'no blob of this guest ever becomes a buffer, and with hugetlb=off all do',
      fix: 'run Linux 6.11 or later, or take hugetlb=on away from the memory-backend-memfd',
      evidence: [
        {
          source: 'btf',
          field: 'form of the udmabuf driver',
          value: sample.host.kernel.evidence,
          recheck: `bpftool btf dump file /sys/kernel/btf/vmlinux format c | grep -A12 '^struct udmabuf {'; uname -r`,
        },
        memoryEvidence(sample, 'hugetlb of the memory backend', 'on'),
      ],
    },
  ];
}

/** EINVAL of the page-refs era: find_get_page() finds no huge page where the guest has not been. */
export function holeCauses(sample: Unjudged): Cause[] {
  const { host, target } = sample;
  const memory = target.machineMemory ?? null;
  if (host.kernel.udmabufEra !== 'page-refs' || memory?.hugetlbSizeBytes == null || memory.prealloc)
    return [];
  return [
    {
      certain: false,
      words:
        'a huge page of the resource was not there yet: before 6.11 udmabuf takes only huge pages that exist (EINVAL)',
      apart: 'the same resource works once the guest has written to all of it',
      fix: 'start QEMU with prealloc=on at the memory-backend-memfd',
      evidence: [memoryEvidence(sample, 'prealloc of the memory backend', 'off')],
    },
  ];
}

/** ENOMEM of memfd_pin_folios(): a page that cannot move, a huge page that cannot be had, or no memory at all. */
export function noMemoryCauses(sample: Unjudged): Cause[] {
  const { host, target } = sample;
  const causes: Cause[] = [];
  const pinned = host.kernel.udmabufEra === 'folio-pins';
  const gigantic = machineRam(sample).filter(ram => (ram.gigantic?.inMovable ?? 0) > 0);
  if (pinned && gigantic.length > 0)
    causes.push({
      certain: true,
      words: `${gigantic.map(({ gigantic: of }) => of?.inMovable ?? 0).reduce((a, b) => a + b)} of the guest’s 1 GiB pages lie in ZONE_MOVABLE, and a page of 1 GiB is not moved out of it`,
      apart: 'it fails every time for the same guest addresses; see gigantic-in-movable',
      fix: 'reserve the 1 GiB pages outside ZONE_MOVABLE (hugepagesz=1G hugepages=N at boot, or without movablecore=/kernelcore=)',
      evidence: gigantic.map(ram => ({
        source: 'pagemap, zoneinfo',
        field: `1 GiB pages of memfd ${ram.inode} in ZONE_MOVABLE`,
        value: `${ram.gigantic?.inMovable} of ${ram.gigantic?.pages}`,
        recheck: `sudo pinscope snapshot --pid ${target.pid} --json | tr -d ' \\n' | grep -o '"gigantic":{[^}]*}'`,
      })),
    });
  const memory = target.machineMemory ?? null;
  const size = memory?.hugetlbSizeBytes ?? null;
  const pool = host.hugetlb?.find(each => each.node === null && each.pageSizeBytes === size);
  const movable = host.zones ? hasMovable(host.zones) : null;
  const fillable = pool?.fillable ?? null;
  const unfit = fillable === null ? movable !== false : fillable < (pool?.free ?? 0);
  if (pinned && pool && size !== null && !memory?.prealloc && (pool.free === 0 || unfit))
    causes.push({
      certain: false,
      words:
        pool.free === 0
          ? `a huge page of the resource was not there yet, and the pool of ${formatBytes(size)} pages has none free`
          : `a huge page of the resource was not there yet, and ${fillable === null ? `the free ones of the pool (${pool.free}) may all lie in ZONE_MOVABLE` : `of the free ones of the pool (${pool.free}) only ${fillable} lie outside ZONE_MOVABLE and CMA`}`,
      apart: 'the same resource works once the guest has written to all of it',
      fix: 'start QEMU with prealloc=on at the memory-backend-memfd',
      evidence: [
        {
          source: '/sys/kernel/mm/hugepages',
          field: `free pages of ${formatBytes(size)}`,
          value: `${pool.free} of ${pool.total}`,
          recheck: `grep . /sys/kernel/mm/hugepages/hugepages-${size / 1024}kB/*_hugepages`,
        },
        ...(fillable === null ? [] : [fillableEvidence(sample, pool)]),
      ],
    });
  const cma = host.cma?.some(({ totalPages }) => totalPages > 0) ?? null;
  if (pinned && size !== GIGANTIC_PAGE && (movable !== false || cma !== false))
    causes.push({
      certain: false,
      words:
        'a page of the resource lies in ZONE_MOVABLE or CMA, and something else holds a reference on it, so that it could not be moved out',
      apart:
        'dmesg is silent, memory is free, and it works after that holder (a device, io_uring, another program) lets go',
      fix: 'end what else holds the guest’s memory, then have the guest make the resource anew',
      evidence: [
        {
          source: 'zoneinfo',
          field: 'pages of ZONE_MOVABLE, and of CMA areas',
          value: `${movable === null ? 'unknown' : movable ? 'some' : 'none'}, ${cma === null ? 'unknown' : cma ? 'some' : 'none'}`,
          recheck: `awk '/^Node/{n=$2$4} $1=="present"{print n, $0}' /proc/zoneinfo; ls /sys/kernel/mm/cma`,
        },
      ],
    });
  causes.push({
    certain: false,
    words: 'memory was short: that of the machine, or the limit of QEMU’s memory cgroup',
    apart: 'the kernel’s log tells of an allocation failure, or memory.events of the cgroup counts max',
    fix: 'free memory, or raise memory.max of QEMU’s cgroup',
    evidence: [
      {
        source: 'zoneinfo',
        field: 'free pages',
        value: host.zones ? String(host.zones.reduce((sum, { freePages }) => sum + freePages, 0)) : 'unknown',
        recheck: `grep MemAvailable /proc/meminfo; grep . /sys/fs/cgroup$(cut -d: -f3 /proc/${target.pid}/cgroup | tail -1)/memory.{max,events}`,
      },
    ],
  });
  return causes;
}

/** Opening /dev/udmabuf: QEMU does it once, and remembers a failure for life (ui/udmabuf.c). */
export function deviceCauses(sample: Unjudged, errno: string | null): Cause[] {
  const { host, target } = sample;
  const { node } = host.udmabuf;
  const mode = node ? `0${node.mode.toString(8)}, owner ${node.uid}, group ${node.gid}` : 'unknown';
  const evidence = {
    source: '/dev/udmabuf',
    field: 'permissions',
    value: host.udmabuf.device === 'absent' && !node ? 'there is no such device' : mode,
    recheck: 'stat -c "%a %U:%G" /dev/udmabuf; getfacl -p /dev/udmabuf',
  };
  const libvirt =
    'with libvirt, add "/dev/udmabuf" to cgroup_device_acl of /etc/libvirt/qemu.conf: its guests see no other devices';
  if (errno === 'ENOENT' || errno === 'ENXIO' || errno === 'ENODEV')
    return [
      {
        certain: host.kernel.udmabufEra === 'absent',
        words:
          host.kernel.udmabufEra === 'absent'
            ? 'this kernel has no udmabuf driver (CONFIG_UDMABUF)'
            : 'QEMU sees no /dev/udmabuf',
        apart: 'it is missing from ls /proc/PID/root/dev of QEMU',
        fix: host.kernel.udmabufEra === 'absent' ? 'run a kernel with CONFIG_UDMABUF=y' : libvirt,
        evidence: [evidence],
      },
    ];
  return [
    {
      certain: false,
      words: `QEMU (user ${target.uid === -1 ? 'unknown' : target.uid}) may not open /dev/udmabuf (${mode})${errno === 'EPERM' ? ', or its device cgroup does not let it' : ''}`,
      apart: 'EACCES: owner, group and ACL of the device; EPERM: the device cgroup',
      fix: `let QEMU’s group open it (udev: KERNEL=="udmabuf", GROUP="kvm", MODE="0660") and restart QEMU; ${libvirt}`,
      evidence: [evidence],
    },
  ];
}
