/**
 * Whether a value has the form of a snapshot. A session file may come from anybody: what is not of the form must be told as
 * damage, not end a view. Told from a table, a row a member; members that no row names are let through, as the schema says.
 */
import type {
  Attachment,
  CmaArea,
  Finding,
  GuestRange,
  Holder,
  HostState,
  HugetlbCgroup,
  HugetlbPool,
  MachineMemory,
  MemoryBlockState,
  MigratetypeState,
  MigrationState,
  NodeState,
  NotChecked,
  OpenDevices,
  PageRun,
  Pages,
  RamBackend,
  Refusal,
  Resource,
  Snapshot,
  SourceState,
  Target,
  TargetDevice,
  ZoneState,
} from '../snapshot.ts';

type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text: Check = value => typeof value === 'string';
const number: Check = value => typeof value === 'number' && Number.isFinite(value);
const flag: Check = value => typeof value === 'boolean';
const orNull =
  (check: Check): Check =>
  value =>
    value === null || check(value);
/** Of a member that older files lack. */
const optional =
  (check: Check): Check =>
  value =>
    value === undefined || check(value);
const listOf =
  (check: Check): Check =>
  value =>
    Array.isArray(value) && value.every(check);
const oneOf =
  (...words: readonly string[]): Check =>
  value =>
    words.includes(value as string);
const either =
  (a: Check, b: Check): Check =>
  value =>
    a(value) || b(value);
/** A row for every member of `T`: one that is added to the schema does not compile before it has its check. */
const members =
  <T>(rows: { readonly [K in keyof Required<T>]: Check }): Check =>
  value => {
    if (!isObject(value)) return false;
    for (const key in rows) if (!rows[key](value[key])) return false;
    return true;
  };
/** Checks an object once: samples share what did not change. */
function once(check: Check): Check {
  const good = new WeakSet<object>();
  return value => {
    if (typeof value !== 'object' || value === null) return check(value);
    if (good.has(value)) return true;
    if (!check(value)) return false;
    good.add(value);
    return true;
  };
}

const time: Check = value => typeof value === 'string' && !Number.isNaN(Date.parse(value));
const readingState = oneOf('ok', 'denied', 'absent', 'raced', 'stale');

const run = members<PageRun>({
  index: number,
  pfn: number,
  count: number,
  folioBytes: number,
  node: orNull(number),
  zone: orNull(text),
  migratetype: orNull(text),
  gpa: orNull(text),
  ramInode: orNull(number),
  ramOffset: orNull(number),
  backing: oneOf('connected', 'disconnected', 'unknown'),
});
/** Objects of the schema, or the columns that were made of such. */
const runs: Check = value => listOf(run)(value) || (isObject(value) && value.pfn instanceof Float64Array);

const holder = members<Holder>({
  pid: number,
  comm: text,
  fds: listOf(number),
  mappings: listOf(members<Holder['mappings'][number]>({ start: text, end: text, perms: text })),
});
const resource = once(
  members<Resource>({
    inode: number,
    sizeBytes: orNull(number),
    exporter: orNull(text),
    name: orNull(text),
    createdAt: orNull(time),
    count: orNull(number),
    holders: listOf(holder),
    attachments: orNull(listOf(members<Attachment>({ device: text, mapped: orNull(flag) }))),
    virtio: orNull(
      members<NonNullable<Resource['virtio']>>({
        resourceId: orNull(number),
        scanout: orNull(either(number, oneOf('unknown'))),
      }),
    ),
    pages: orNull(
      members<Pages>({
        source: text,
        count: number,
        folioBytes: number,
        folios: number,
        pinReferences: number,
        pageReferences: number,
        withoutFile: optional(number),
        runs,
      }),
    ),
  }),
);

const host = once(
  members<HostState>({
    kernel: members<HostState['kernel']>({
      release: text,
      udmabufEra: orNull(oneOf('page-refs', 'folio-pins', 'absent')),
      evidence: text,
      traits: optional(orNull(listOf(text))),
    }),
    pageSize: number,
    memoryBlockBytes: orNull(number),
    zones: orNull(
      listOf(
        members<ZoneState>({
          node: number,
          zone: text,
          startPfn: orNull(number),
          spannedPages: number,
          presentPages: number,
          managedPages: number,
          freePages: number,
          cmaPages: orNull(number),
          freeCmaPages: orNull(number),
        }),
      ),
    ),
    migratetypes: orNull(
      listOf(
        members<MigratetypeState>({
          node: number,
          zone: text,
          type: text,
          blocks: number,
          freePagesByOrder: listOf(number),
          cappedOrders: optional(listOf(number)),
        }),
      ),
    ),
    hugetlb: orNull(
      listOf(
        members<HugetlbPool>({
          pageSizeBytes: number,
          node: orNull(number),
          total: number,
          free: number,
          reserved: orNull(either(number, text)),
          surplus: number,
          overcommit: orNull(number),
          fillable: optional(orNull(number)),
        }),
      ),
    ),
    cma: orNull(
      listOf(
        members<CmaArea>({
          name: text,
          totalPages: number,
          availablePages: orNull(number),
          basePfn: orNull(number),
        }),
      ),
    ),
    memoryBlocks: orNull(
      listOf(
        once(
          members<MemoryBlockState>({
            block: number,
            startPfn: number,
            node: orNull(number),
            validZones: listOf(text),
            state: text,
            holes: optional(orNull(flag)),
            pinnedPages: orNull(number),
            heldBy: listOf(number),
          }),
        ),
      ),
    ),
    nodes: orNull(listOf(members<NodeState>({ node: number, cpus: listOf(number) }))),
    follPin: orNull(members<NonNullable<HostState['follPin']>>({ acquired: number, released: number })),
    udmabuf: members<HostState['udmabuf']>({
      device: readingState,
      listLimit: orNull(number),
      sizeLimitMb: orNull(number),
      node: optional(
        orNull(
          members<NonNullable<HostState['udmabuf']['node']>>({ uid: number, gid: number, mode: number }),
        ),
      ),
    }),
  }),
);

const device = members<TargetDevice>({
  id: orNull(text),
  driver: text,
  properties: value => isObject(value) && Object.values(value).every(text),
});
const target = once(
  members<Target>({
    pid: number,
    startTime: text,
    comm: text,
    uid: number,
    user: orNull(text),
    kind: oneOf('qemu', 'other'),
    name: orNull(text),
    memlockLimitBytes: orNull(text),
    vmPinBytes: orNull(number),
    vmLckBytes: orNull(number),
    hugetlbBytes: orNull(number),
    cpuNodes: orNull(listOf(number)),
    ram: orNull(
      listOf(
        members<RamBackend>({
          id: orNull(text),
          inode: number,
          sizeBytes: number,
          pageSizeBytes: orNull(number),
          share: flag,
          sealed: orNull(flag),
          hva: text,
          allocatedBytes: optional(orNull(number)),
          reserve: optional(orNull(flag)),
          gigantic: optional(
            orNull(members<NonNullable<RamBackend['gigantic']>>({ pages: number, inMovable: number })),
          ),
          policy: orNull(members<NonNullable<RamBackend['policy']>>({ mode: text, nodes: listOf(number) })),
          guestRanges: orNull(listOf(members<GuestRange>({ gpa: text, bytes: number, offset: number }))),
        }),
      ),
    ),
    devices: orNull(
      members<NonNullable<Target['devices']>>({
        virtioGpu: listOf(device),
        balloon: listOf(device),
        virtioMem: listOf(device),
        vfio: listOf(device),
        vdpa: listOf(device),
      }),
    ),
    qmp: oneOf('ok', 'busy', 'none', 'denied'),
    open: optional(
      orNull(
        members<OpenDevices>({
          udmabuf: number,
          vfioGroups: listOf(text),
          vfioDevices: number,
          iommufd: number,
          vdpa: orNull(listOf(text)),
        }),
      ),
    ),
    hugetlbCgroup: optional(
      orNull(
        listOf(
          members<HugetlbCgroup>({
            path: text,
            pageSizeBytes: number,
            currentBytes: number,
            reservedBytes: orNull(number),
            limitBytes: orNull(number),
          }),
        ),
      ),
    ),
    migration: optional(
      orNull(
        members<MigrationState>({
          incoming: orNull(text),
          capabilities: orNull(listOf(text)),
          status: orNull(text),
        }),
      ),
    ),
    machineMemory: optional(
      orNull(
        members<MachineMemory>({
          kind: oneOf('memfd', 'file', 'anonymous', 'other'),
          backend: orNull(text),
          seal: orNull(flag),
          share: orNull(flag),
          hugetlbSizeBytes: orNull(number),
          prealloc: orNull(flag),
        }),
      ),
    ),
    refusals: optional(
      orNull(
        listOf(
          members<Refusal>({
            source: text,
            line: text,
            errno: orNull(text),
            times: number,
            resources: optional(
              listOf(
                members<NonNullable<Refusal['resources']>[number]>({
                  resourceId: number,
                  sizeBytes: orNull(number),
                }),
              ),
            ),
          }),
        ),
      ),
    ),
  }),
);

const finding = once(
  members<Finding>({
    rule: text,
    severity: oneOf('error', 'warning', 'info'),
    resource: orNull(number),
    title: text,
    explanation: text,
    remedy: text,
    evidence: listOf(
      members<Finding['evidence'][number]>({ source: text, field: text, value: text, recheck: text }),
    ),
    reference: text,
  }),
);
const source = members<SourceState>({
  name: text,
  state: readingState,
  detail: text,
  grant: optional(text),
  costMs: number,
});

const snapshot = members<Snapshot>({
  schema: oneOf('pinscope.snapshot/1'),
  takenAt: time,
  host,
  target,
  resources: listOf(resource),
  findings: listOf(finding),
  notChecked: listOf(members<NotChecked>({ rule: text, because: text, grant: optional(text) })),
  sources: listOf(source),
});

/** Whether every member that the program reads is of its type; of a snapshot, or of a sample made from one. */
export const isSnapshot = (value: unknown): value is Snapshot => snapshot(value);
