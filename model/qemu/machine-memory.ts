import type { MachineMemory, RamBackend } from '../snapshot.ts';
import type { MemoryBackend, QemuCommandLine } from './cmdline.ts';

/** What the machine's memory is, or in words why the command line does not tell. */
export type ToldMemory = { readonly memory: MachineMemory } | { readonly unknown: string };

/**
 * What QEMU's command line says the guest's memory lies in: `memory-backend=` of the machine and `memdev=` of NUMA nodes; without
 * one `-mem-path`, or memory without a file (create_default_memdev() of softmmu/vl.c, 7.2). Of several backends it is the first
 * that udmabuf cannot take, because a blob may lie in any of them.
 * @param ram memfds of the process: the page size of `hugetlb=on` without a size is read from them
 * @param hugePageBytes the host's default huge page (`Hugepagesize` of /proc/meminfo); null: not known
 */
export function machineMemory(
  commandLine: QemuCommandLine,
  ram: readonly Pick<RamBackend, 'id' | 'pageSizeBytes'>[] | null,
  hugePageBytes: number | null,
): ToldMemory {
  const unseen = commandLine.readConfigNotRead[0];
  const lost = commandLine.notUnderstood.find(({ option }) => /^-(object|machine|M|numa)\b/.test(option));
  if (lost) return { unknown: `${lost.option.split(' ')[0]} on the command line was not understood` };
  const used = commandLine.ramBackends.map(id => commandLine.memoryBackends.find(each => each.id === id));
  if (unseen !== undefined && (used.length === 0 || used.includes(undefined)))
    return { unknown: `options may be in the file of -readconfig ${unseen}` };
  if (used.length === 0) {
    const kind = commandLine.memory.path === null ? 'anonymous' : 'file';
    return {
      memory: {
        ...{ kind, backend: null, seal: null, share: null, hugetlbSizeBytes: null, prealloc: null },
      } as const,
    };
  }
  const backends = used.flatMap(backend => backend ?? []);
  const backend = backends.find(each => !fits(each)) ?? backends[0];
  if (!backend) return { unknown: 'no -object has the id of the machine’s memory backend' };
  const size = backend.hugetlb ? hugePage(backend, ram, hugePageBytes) : null;
  if (backend.hugetlb && size === null) return { unknown: 'the page size of hugetlb=on is not known' };
  return {
    memory: {
      kind: kindOf(backend),
      backend: backend.id,
      seal: backend.type === 'memory-backend-memfd' ? backend.seal : null,
      share: backend.share,
      hugetlbSizeBytes: size,
      prealloc: backend.prealloc,
    },
  };
}

/** A memfd with seals: the only memory that UDMABUF_CREATE accepts. */
const fits = ({ type, seal }: MemoryBackend): boolean => type === 'memory-backend-memfd' && seal;

function kindOf({ type, share }: MemoryBackend): MachineMemory['kind'] {
  if (type === 'memory-backend-memfd') return 'memfd';
  if (type === 'memory-backend-file') return 'file';
  // Shared, 10.0 and later make a POSIX shared memory file of it (qemu_ram_alloc_shared).
  return type === 'memory-backend-ram' && !share ? 'anonymous' : 'other';
}

const hugePage = (
  backend: MemoryBackend,
  ram: readonly Pick<RamBackend, 'id' | 'pageSizeBytes'>[] | null,
  hugePageBytes: number | null,
): number | null =>
  backend.hugetlbSizeBytes ?? ram?.find(({ id }) => id === backend.id)?.pageSizeBytes ?? hugePageBytes;
