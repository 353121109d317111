import type { PageRun, Resource, Snapshot, SourceState } from '../model/snapshot.ts';

const now = '2026-03-04T05:06:07.000Z';

/** A run of connected pages of the guest's RAM. */
export const someRun = (change: Partial<PageRun> = {}): PageRun => ({
  index: 0,
  pfn: 0x10b_bf0,
  count: 256,
  folioBytes: 2 ** 21,
  node: 0,
  zone: 'Normal',
  migratetype: 'Movable',
  gpa: '0x3000',
  ramInode: 252,
  ramOffset: 12288,
  backing: 'connected',
  ...change,
});

/** A udmabuf whose pages were read. */
export const someResource = (change: Partial<Resource> = {}): Resource => ({
  inode: 7,
  sizeBytes: 2 ** 20,
  exporter: 'udmabuf',
  name: null,
  createdAt: '2026-03-04T05:04:02.000Z',
  count: 2,
  holders: [{ pid: 189, comm: 'qemu-system-x86', fds: [18], mappings: [] }],
  attachments: [],
  virtio: null,
  pages: {
    source: 'kernel-memory',
    count: 256,
    folioBytes: 2 ** 21,
    folios: 1,
    pinReferences: 1,
    pageReferences: 0,
    runs: [someRun()],
  },
  ...change,
});

export const someSource = (name: string, change: Partial<SourceState> = {}): SourceState => ({
  name,
  state: 'ok',
  detail: `/proc/${name}`,
  costMs: 0.1,
  ...change,
});

/** A QEMU with one udmabuf. */
export const someSnapshot = (
  change: Partial<Omit<Snapshot, 'target' | 'host'>> & {
    target?: Partial<Snapshot['target']>;
    host?: Partial<Snapshot['host']>;
  } = {},
): Snapshot => ({
  schema: 'pinscope.snapshot/1',
  takenAt: now,
  resources: [someResource()],
  findings: [],
  notChecked: [],
  sources: [someSource('kernel-memory'), someSource('maps')],
  ...change,
  host: {
    kernel: {
      release: '6.12.95',
      udmabufEra: 'folio-pins',
      evidence: 'BTF has memfd_pin_folios',
      traits: [],
    },
    pageSize: 4096,
    memoryBlockBytes: 2 ** 27,
    zones: [],
    migratetypes: [],
    hugetlb: [],
    cma: [],
    memoryBlocks: [],
    nodes: [{ node: 0, cpus: [0, 1] }],
    follPin: { acquired: 1, released: 0 },
    udmabuf: { device: 'ok', listLimit: 1024, sizeLimitMb: 64 },
    ...change.host,
  },
  target: {
    pid: 189,
    startTime: '1146',
    comm: 'qemu-system-x86',
    uid: 64055,
    user: 'libvirt-qemu',
    kind: 'qemu',
    name: 'a guest',
    memlockLimitBytes: '8388608',
    vmPinBytes: 0,
    vmLckBytes: 0,
    hugetlbBytes: 0,
    cpuNodes: [0],
    ram: [
      {
        id: 'mem1',
        inode: 252,
        sizeBytes: 2 ** 28,
        pageSizeBytes: 2 ** 21,
        share: true,
        sealed: true,
        allocatedBytes: 2 ** 28,
        hva: '0x7f8fab000000',
        policy: { mode: 'default', nodes: [] },
        guestRanges: [],
      },
    ],
    devices: { virtioGpu: [], balloon: [], virtioMem: [], vfio: [], vdpa: [] },
    qmp: 'ok',
    hugetlbCgroup: [
      {
        path: '/machine.slice/a guest.scope',
        pageSizeBytes: 2 ** 21,
        currentBytes: 2 ** 28,
        reservedBytes: 2 ** 28,
        limitBytes: null,
      },
    ],
    refusals: [],
    migration: { incoming: null, capabilities: [], status: null },
    machineMemory: {
      ...{
        kind: 'memfd',
        backend: 'mem1',
        seal: true,
        share: true,
        hugetlbSizeBytes: 2 ** 21,
        prealloc: true,
      },
    },
    ...change.target,
  },
});

/** Texts that would move a cursor, hide or reorder what is beside them, or take more cells than characters. */
export const hostileTexts: readonly string[] = [
  '\x1b[2J\x1b]0;t\x07a\nb\u202e',
  '\x9b2J\x85\x00\r\t',
  `${'日本'.repeat(80)}`,
  'x'.repeat(3000),
  'e\u0301'.repeat(200),
  'a b '.repeat(300),
  '\u2028\u2066\ufeff\ud800',
  '',
];

/** The same value with every string but the kept keys' replaced in turn by hostile ones. */
export function poisoned<T>(value: T, keep: readonly string[], text: string): T {
  const walk = (inner: unknown, key: string): unknown => {
    if (typeof inner === 'string') return keep.includes(key) ? inner : text;
    if (Array.isArray(inner)) return inner.map(each => walk(each, key));
    if (typeof inner !== 'object' || inner === null) return inner;
    return Object.fromEntries(Object.entries(inner).map(([k, v]) => [k, walk(v, k)]));
  };
  return walk(value, '') as T;
}
