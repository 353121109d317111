import type { ReadingState } from './reading.ts';

/**
 * Schema `pinscope.snapshot/1`: the terminal program's `--json`, a line of a session file, and the contract between
 * sampler and renderer. Scripts depend on the names: fields are added freely, renamed never.
 * 64-bit values that may pass 2^53 are decimal strings, addresses `0x…` strings, PFNs numbers.
 * A field whose reading is not ok is `null`, and `sources` says why.
 */
export interface Snapshot<Runs = readonly PageRun[]> {
  readonly schema: 'pinscope.snapshot/1';
  /** ISO 8601, UTC. */
  readonly takenAt: string;
  readonly host: HostState;
  readonly target: Target;
  readonly resources: readonly Resource<Runs>[];
  readonly findings: readonly Finding[];
  /** Rules that could not run: no finding of theirs says nothing. */
  readonly notChecked: readonly NotChecked[];
  readonly sources: readonly SourceState[];
}

/** How udmabuf holds pages here: plain page references (before 6.11), FOLL_PIN on folios (6.11 on), or no driver. */
export type UdmabufEra = 'page-refs' | 'folio-pins' | 'absent';

export interface HostState {
  readonly kernel: {
    readonly release: string;
    /** `null`: the kernel does not say (no BTF and no readable symbols). */
    readonly udmabufEra: UdmabufEra | null;
    /** Which BTF member or symbol told the era. */
    readonly evidence: string;
    /** Members of structs in BTF that tell forms of the driver apart (`udmabuf.folios`); null: no BTF. Older recordings lack it. */
    readonly traits?: readonly string[] | null;
  };
  readonly pageSize: number;
  readonly memoryBlockBytes: number | null;
  readonly zones: readonly ZoneState[] | null;
  readonly migratetypes: readonly MigratetypeState[] | null;
  readonly hugetlb: readonly HugetlbPool[] | null;
  readonly cma: readonly CmaArea[] | null;
  readonly memoryBlocks: readonly MemoryBlockState[] | null;
  /** Ascending; `null` also where the kernel has no NUMA. */
  readonly nodes: readonly NodeState[] | null;
  /** vmstat nr_foll_pin_*: pin references (one a folio and item), system-wide since boot, never bytes. */
  readonly follPin: { readonly acquired: number; readonly released: number } | null;
  readonly udmabuf: {
    /** State of /dev/udmabuf for this user. */
    readonly device: ReadingState;
    readonly listLimit: number | null;
    readonly sizeLimitMb: number | null;
    /** Owner and permissions of /dev/udmabuf; null: there is none, or it could not be asked. Recordings before this field lack it. */
    readonly node?: { readonly uid: number; readonly gid: number; readonly mode: number } | null;
  };
}

/** A NUMA node of /sys/devices/system/node, with memory or without. */
export interface NodeState {
  readonly node: number;
  /** Online CPUs, ascending; empty for a node of memory alone. */
  readonly cpus: readonly number[];
}

/** A zone of a node (/proc/zoneinfo). Pages of 4 KiB; `startPfn` is null for a zone without pages. */
export interface ZoneState {
  readonly node: number;
  readonly zone: string;
  readonly startPfn: number | null;
  readonly spannedPages: number;
  readonly presentPages: number;
  readonly managedPages: number;
  readonly freePages: number;
  readonly cmaPages: number | null;
  readonly freeCmaPages: number | null;
}

/** One migratetype of a zone (/proc/pagetypeinfo); names as the kernel prints them (`Unmovable`, `Movable`, `CMA`, …). */
export interface MigratetypeState {
  readonly node: number;
  readonly zone: string;
  readonly type: string;
  readonly blocks: number;
  /** Free buddy blocks of 2^n pages (not pages). */
  readonly freePagesByOrder: readonly number[];
  /** Orders at which the kernel stopped counting (`>100000`): there are at least so many. Recordings before this field may lack it. */
  readonly cappedOrders?: readonly number[];
}

/** A hugetlb pool; `node: null` is the whole machine. Counts are huge pages; a wrapped counter is a decimal string. */
export interface HugetlbPool {
  readonly pageSizeBytes: number;
  readonly node: number | null;
  readonly total: number;
  readonly free: number;
  /** Only the machine-wide pool has it. A value past 2^53 (the 6.12 underflow) is a decimal string. */
  readonly reserved: number | string | null;
  readonly surplus: number;
  readonly overcommit: number | null;
  /**
   * Free pages that a hole of a memfd can be filled from at UDMABUF_CREATE: outside ZONE_MOVABLE and CMA. Only of the machine-wide
   * pool, and only where the host has either and the process lacks pages of this size; null: could not be read, and `sources`
   * says why.
   */
  readonly fillable?: number | null;
}

export interface CmaArea {
  readonly name: string;
  readonly totalPages: number;
  readonly availablePages: number | null;
  readonly basePfn: number | null;
}

/** A hotplug block of /sys/devices/system/memory. `pinnedPages` counts distinct PFNs of this snapshot's resources. */
export interface MemoryBlockState {
  readonly block: number;
  readonly startPfn: number;
  readonly node: number | null;
  readonly validZones: readonly string[];
  readonly state: string;
  /**
   * Not all of it is System RAM: an offline is refused with EINVAL (mm/memory_hotplug.c offline_pages). `null`: /proc/iomem did not
   * say. Recordings before this field lack it.
   */
  readonly holes?: boolean | null;
  /** `null` when no resource's pages could be read. */
  readonly pinnedPages: number | null;
  /** Inodes of the resources that hold pages here. */
  readonly heldBy: readonly number[];
}

export interface Target {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks since boot, decimal. */
  readonly startTime: string;
  readonly comm: string;
  /** -1: unknown. */
  readonly uid: number;
  /** Name of that user in /etc/passwd. */
  readonly user: string | null;
  readonly kind: 'qemu' | 'other';
  /** QEMU's `-name`, else null. */
  readonly name: string | null;
  readonly memlockLimitBytes: string | null;
  readonly vmPinBytes: number | null;
  readonly vmLckBytes: number | null;
  readonly hugetlbBytes: number | null;
  /** Nodes of the CPUs that any thread of it may run on, ascending. */
  readonly cpuNodes: readonly number[] | null;
  readonly ram: readonly RamBackend[] | null;
  readonly devices: {
    readonly virtioGpu: readonly TargetDevice[];
    readonly balloon: readonly TargetDevice[];
    readonly virtioMem: readonly TargetDevice[];
    readonly vfio: readonly TargetDevice[];
    readonly vdpa: readonly TargetDevice[];
  } | null;
  readonly qmp: 'ok' | 'busy' | 'none' | 'denied';
  // From here on: fields that older recordings lack. `null`: could not be read, and `sources` says why.
  /** Devices of the kernel that it has open, by the links of /proc/PID/fd. */
  readonly open?: OpenDevices | null;
  /** Its cgroup's hugetlb controller (cgroup v2), one row a page size; empty: the cgroup has none. */
  readonly hugetlbCgroup?: readonly HugetlbCgroup[] | null;
  /** What QEMU is told, or says itself, about moving its guest; only of a QEMU. */
  readonly migration?: MigrationState | null;
  /** What QEMU's command line says the guest's memory is; only of a QEMU. */
  readonly machineMemory?: MachineMemory | null;
  /** Refused creations of buffers that QEMU has told of in its log or on its standard error, oldest first. */
  readonly refusals?: readonly Refusal[] | null;
}

/** Open devices that pin guest memory, or make udmabufs. */
export interface OpenDevices {
  /** Fds of /dev/udmabuf. */
  readonly udmabuf: number;
  /** `/dev/vfio/N` (a group) and `/dev/vfio/devices/vfioN`, each path once; `/dev/vfio/vfio` alone is no device. */
  readonly vfioGroups: readonly string[];
  /** Fds of `anon_inode:[vfio-device]`. */
  readonly vfioDevices: number;
  /** Fds of /dev/iommu. */
  readonly iommufd: number;
  /** `/dev/vhost-vdpa-N`, each once; null: the broker, which lists no such links, had to be asked. */
  readonly vdpa: readonly string[] | null;
}

export interface HugetlbCgroup {
  /** Path below the cgroup mount, as /proc/PID/cgroup has it. */
  readonly path: string;
  readonly pageSizeBytes: number;
  readonly currentBytes: number;
  readonly reservedBytes: number | null;
  /** `null`: no limit (`max`). */
  readonly limitBytes: number | null;
}

export interface MigrationState {
  /** `-incoming` of the command line. */
  readonly incoming: string | null;
  /** Capabilities that are on (`query-migrate-capabilities`); null without a monitor. */
  readonly capabilities: readonly string[] | null;
  /** `status` of `query-migrate`; null: none under way, or no monitor. */
  readonly status: string | null;
}

export interface MachineMemory {
  /** What the guest's main memory lies in. `anonymous`: plain `-m`, no file at all. */
  readonly kind: 'memfd' | 'file' | 'anonymous' | 'other';
  /** Memory backend of the machine (`-machine memory-backend=`, NUMA nodes); null: none. */
  readonly backend: string | null;
  /** `seal=` of a memfd backend; null: another kind. */
  readonly seal: boolean | null;
  readonly share: boolean | null;
  /** hugetlb page size; null: ordinary pages. */
  readonly hugetlbSizeBytes: number | null;
  readonly prealloc: boolean | null;
}

/** `warning: virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Invalid argument` and the like. */
export interface Refusal {
  /** Where the line was read: a path. */
  readonly source: string;
  /** The line as it stands there. */
  readonly line: string;
  /** `EINVAL`, `ENOMEM`, …; null: the line names none. */
  readonly errno: string | null;
  /** Lines of this text in the file. */
  readonly times: number;
  /** Resources that they were about, where QEMU's trace in the same file says so; the last ones. Older recordings lack it. */
  readonly resources?: readonly { readonly resourceId: number; readonly sizeBytes: number | null }[];
}

/** A device of the target's command line. */
export interface TargetDevice {
  readonly id: string | null;
  readonly driver: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** A memfd that the process maps as guest RAM. */
export interface RamBackend {
  /** QEMU's id of the memory backend (`mem1`); null when nothing tells which one this is. */
  readonly id: string | null;
  readonly inode: number;
  readonly sizeBytes: number;
  readonly pageSizeBytes: number | null;
  /** false: mapped private, so the guest writes to pages that udmabuf never sees. */
  readonly share: boolean;
  /** The memfd carries F_SEAL_SHRINK; null when it could not be asked. */
  readonly sealed: boolean | null;
  readonly hva: string;
  /** Bytes of the memfd that are there (st_blocks; the rest are holes); null: it could not be asked. Recordings before this field lack it. */
  readonly allocatedBytes?: number | null;
  /** `reserve=` of the memory backend on the command line: pages of its pool are set aside for its holes; null: not told. */
  readonly reserve?: boolean | null;
  /** 1 GiB pages that are there, and those of them in ZONE_MOVABLE; null: pages of another size, or their PFNs were not readable. */
  readonly gigantic?: { readonly pages: number; readonly inMovable: number } | null;
  /** `policy=` and `host-nodes=` of the memory backend on the command line; null: not told (no QEMU, or `id` is null). */
  readonly policy: { readonly mode: string; readonly nodes: readonly number[] } | null;
  /** Where it appears in guest physical memory (`info mtree -f`); null without a monitor. */
  readonly guestRanges: readonly GuestRange[] | null;
}
export interface GuestRange {
  readonly gpa: string;
  readonly bytes: number;
  /** Offset in the memfd. */
  readonly offset: number;
}

/** The resource of a virtio-gpu that a dma-buf is. */
export interface Virtio {
  /** null: one of several that nothing tells apart. */
  readonly resourceId: number | null;
  /** The scanout that shows it; null: none does. */
  readonly scanout: number | null | 'unknown';
}

/** One dma-buf that the target holds. */
export interface Resource<Runs = readonly PageRun[]> {
  readonly inode: number;
  readonly sizeBytes: number | null;
  readonly exporter: string | null;
  readonly name: string | null;
  /** Creation time of the dma-buf, and so of its pins: ctime of its inode. */
  readonly createdAt: string | null;
  /** References on its file: fds, mappings and importers of all processes, this program's own subtracted. */
  readonly count: number | null;
  readonly holders: readonly Holder[];
  readonly attachments: readonly Attachment[] | null;
  /** What QEMU's trace says that it is; null: nothing does. */
  readonly virtio: Virtio | null;
  readonly pages: Pages<Runs> | null;
}
export interface Holder {
  readonly pid: number;
  readonly comm: string;
  readonly fds: readonly number[];
  readonly mappings: readonly { readonly start: string; readonly end: string; readonly perms: string }[];
}
export interface Attachment {
  readonly device: string;
  /** Whether a device mapping exists now; null: nothing tells. */
  readonly mapped: boolean | null;
}

export type TruthLevel = 'kernel-memory' | 'fault-capture' | 'traced' | 'ram-view' | 'content' | 'size-guess';
export type Backing = 'connected' | 'disconnected' | 'unknown';

/**
 * The pages of a resource, in buffer order (a page may occur more than once). Inside processes the runs are columns
 * (`RunColumns`).
 */
export interface Pages<Runs = readonly PageRun[]> {
  readonly source: TruthLevel;
  /** Entries of the buffer, 4 KiB each; repeats counted. */
  readonly count: number;
  /** Bytes of the distinct folios held: at least the buffer's distinct pages, often far more. */
  readonly folioBytes: number;
  readonly folios: number;
  /** FOLL_PIN references, one a list item and folio. 0 in the page-refs era, which takes no pins. */
  readonly pinReferences: number;
  /** Plain page references, one an entry: page-refs era only, else 0. */
  readonly pageReferences: number;
  /**
   * Entries whose page is in no page cache any more (`folio->mapping` is NULL): nothing but buffers has it. Recordings before this
   * field lack it.
   */
  readonly withoutFile?: number;
  readonly runs: Runs;
}

/**
 * Neighbouring pages of a buffer that agree in everything: page `i` of a run has `pfn + i`, `gpa + 4096·i`,
 * `ramOffset + 4096·i`; every other attribute is equal.
 */
export interface PageRun {
  /** Index of the first page in the buffer. */
  readonly index: number;
  readonly pfn: number;
  readonly count: number;
  readonly folioBytes: number;
  readonly node: number | null;
  readonly zone: string | null;
  readonly migratetype: string | null;
  readonly gpa: string | null;
  readonly ramInode: number | null;
  readonly ramOffset: number | null;
  readonly backing: Backing;
}

export interface Finding {
  readonly rule: string;
  readonly severity: 'error' | 'warning' | 'info';
  readonly resource: number | null;
  readonly title: string;
  readonly explanation: string;
  readonly remedy: string;
  readonly evidence: readonly {
    readonly source: string;
    readonly field: string;
    readonly value: string;
    /** A shell line that shows it again. */
    readonly recheck: string;
  }[];
  readonly reference: string;
}

/** A rule that could not run on this snapshot. */
export interface NotChecked {
  readonly rule: string;
  /** A sentence: what was missing. */
  readonly because: string;
  /** What would let it run, where a right is missing; several are joined by `; `. */
  readonly grant?: string;
}

export interface SourceState {
  readonly name: string;
  readonly state: ReadingState;
  readonly detail: string;
  /** Only for `denied`: what would grant it. */
  readonly grant?: string;
  readonly costMs: number;
}
