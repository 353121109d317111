import type { SourceState, Target } from '../snapshot.ts';
import type { Rule, Unjudged } from './rule.ts';

/** A fact that rules rest on. */
export interface Fact {
  /** In a sentence: `the WORDS of 3 pages is unknown`. */
  readonly words: string;
  /**
   * Names of the readings that tell it, as the snapshot's `sources` has them; the one it hangs on most comes first. None: it comes
   * from no file.
   */
  readonly sources: readonly string[];
  /** A shell line that shows it of a process. */
  readonly recheck: (target: Pick<Target, 'pid'>) => string;
}

const snapshot = ({ pid }: Pick<Target, 'pid'>): string => `sudo pinscope snapshot --pid ${pid} --json`;
const record = ({ pid }: Pick<Target, 'pid'>): string =>
  `sudo pinscope record --pid ${pid} --duration 600 --output ${pid}.pinscope`;
const ofProcess =
  (file: string) =>
  ({ pid }: Pick<Target, 'pid'>): string =>
    `sudo cat /proc/${pid}/${file}`;

/** Every fact that a rule may name in its `needs`. */
export const FACTS = {
  pages: { words: 'pages', sources: ['kernel-memory'], recheck: snapshot },
  zone: {
    words: 'zone',
    sources: ['zoneinfo', 'memory-blocks'],
    recheck: () => `grep -E '^Node|start_pfn|spanned' /proc/zoneinfo`,
  },
  node: {
    words: 'node',
    sources: ['zoneinfo', 'memory-blocks'],
    recheck: () => `grep -E '^Node|start_pfn|spanned' /proc/zoneinfo`,
  },
  migratetype: {
    words: 'pageblock type',
    sources: ['pagetypeinfo'],
    recheck: () => 'sudo cat /proc/pagetypeinfo',
  },
  backing: {
    words: 'backing',
    sources: ['maps', 'pagemap'],
    recheck: snapshot,
  },
  ram: {
    words: 'guest memory',
    sources: ['maps'],
    recheck: ofProcess('maps'),
  },
  'ram-holes': {
    words: 'bytes of the memfds that are there',
    sources: ['memfds', 'maps'],
    // Blocks of 512 bytes (stat.st_blocks).
    recheck: ({ pid }) => `sudo find /proc/${pid}/fd -lname '/memfd:*' -exec stat -L -c '%n %s %b' {} +`,
  },
  gigantic: {
    words: 'places of the 1 GiB pages',
    sources: ['gigantic-pages', 'zoneinfo'],
    recheck: snapshot,
  },
  'hugetlb-pools': {
    words: 'hugetlb pools',
    sources: ['hugepages', 'zoneinfo'],
    recheck: () => `grep -r . /sys/kernel/mm/hugepages`,
  },
  'free-huge-pages': {
    words: 'places of the free huge pages',
    sources: ['free-huge-pages', 'zoneinfo'],
    recheck: snapshot,
  },
  'hugetlb-cgroup': {
    words: 'hugetlb counters of its cgroup',
    sources: ['hugetlb-cgroup'],
    recheck: ({ pid }) => `grep . /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/${pid}/cgroup)/hugetlb.*`,
  },
  era: {
    words: 'way in which udmabuf holds pages',
    sources: ['btf'],
    recheck: () => 'pinscope sources',
  },
  devices: {
    words: 'devices of the command line',
    sources: ['cmdline'],
    recheck: ({ pid }) => `tr '\\0' '\\n' < /proc/${pid}/cmdline`,
  },
  'machine-memory': {
    words: 'memory of the machine',
    sources: ['machine-memory', 'cmdline'],
    recheck: ({ pid }) => `tr '\\0' '\\n' < /proc/${pid}/cmdline | grep -E 'memory-backend|mem-path'`,
  },
  limits: {
    words: 'limits of udmabuf',
    sources: ['udmabuf list_limit', 'udmabuf size_limit_mb'],
    recheck: () => 'grep . /sys/module/udmabuf/parameters/*',
  },
  'udmabuf-device': {
    words: 'permissions of /dev/udmabuf',
    sources: ['/dev/udmabuf'],
    recheck: () => 'ls -l /dev/udmabuf',
  },
  refusals: {
    words: 'messages of QEMU about refused buffers',
    sources: ['refusals'],
    recheck: ({ pid }) => `sudo ls -l /proc/${pid}/fd/2; sudo grep -a udmabuf /proc/${pid}/fd/2`,
  },
  migration: {
    words: 'migration capabilities and state',
    sources: ['migration', 'qmp'],
    recheck: snapshot,
  },
  'driver-form': {
    words: 'form of the udmabuf driver',
    sources: ['btf'],
    recheck: () => `bpftool btf dump file /sys/kernel/btf/vmlinux format c | grep -A14 '^struct udmabuf {'`,
  },
  attachments: {
    words: 'attached devices',
    sources: ['kernel-memory', 'bufinfo'],
    recheck: () => 'sudo cat /sys/kernel/debug/dma_buf/bufinfo',
  },
  buffers: {
    words: 'buffers of the process',
    sources: ['maps', 'holders'],
    recheck: ({ pid }) => `sudo ls -l /proc/${pid}/fd | grep /dmabuf:`,
  },
  'open-devices': {
    words: 'open devices',
    sources: ['open-devices'],
    recheck: ({ pid }) => `sudo ls -l /proc/${pid}/fd | grep -E '/dev/(udmabuf|vfio|iommu|vhost)'`,
  },
  holders: {
    words: 'holders of each buffer',
    sources: ['holders'],
    recheck: snapshot,
  },
  created: {
    words: 'time at which each buffer was made',
    sources: ['holders', 'kernel-memory'],
    recheck: ({ pid }) => `sudo find /proc/${pid}/fd -lname '/dmabuf:*' -exec stat -L -c '%n %z' {} +`,
  },
  scanout: {
    words: 'scanout of each buffer',
    sources: ['qemu-trace'],
    recheck: ({ pid }) =>
      `sudo sh -c 'grep -lE "^flags:\\s+010[02]001$" /proc/${pid}/fdinfo/* | sed s/fdinfo/fd/ | xargs -r grep -ahE "virtio_gpu_(features|cmd_(set_scanout|res_(create|unref)))" | tail'`,
  },
  memlock: {
    words: 'limit of locked memory, and what is counted against it',
    sources: ['limits', 'status'],
    recheck: ({ pid }) =>
      `grep 'locked memory' /proc/${pid}/limits; grep -E 'VmLck|VmPin' /proc/${pid}/status`,
  },
  'memory-blocks': {
    words: 'memory blocks',
    sources: ['memory-blocks'],
    recheck: () => 'grep . /sys/devices/system/memory/memory*/{state,valid_zones}',
  },
  // A rule with this need cannot be checked on one sample alone.
  past: { words: 'earlier samples', sources: [], recheck: record },
} as const satisfies Record<string, Fact>;

export type FactId = keyof typeof FACTS;

export const isFact = (id: string): id is FactId => Object.hasOwn(FACTS, id);

/** What a rule rests on in one sample. */
export interface Input extends Pick<Fact, 'words'> {
  readonly fact: string;
  /** In the order of the table; one that this sample did not ask is `absent`. */
  readonly sources: readonly SourceState[];
  readonly recheck: string;
}

/** The inputs of a rule with the state of their sources, in the order of its `needs`. */
export function inputsOf(
  { needs }: Pick<Rule, 'needs'>,
  { sources, target }: Pick<Unjudged, 'sources' | 'target'>,
): Input[] {
  return needs.filter(isFact).map(fact => {
    const { words, sources: names, recheck } = FACTS[fact] as Fact;
    return {
      fact,
      words,
      sources: names.map(
        name =>
          sources.find(source => source.name === name) ?? {
            name,
            state: 'absent' as const,
            detail: 'was not read for this sample',
            costMs: 0,
          },
      ),
      recheck: recheck(target),
    };
  });
}
