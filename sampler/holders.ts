import { parseFdInfo } from '../model/proc/fdinfo.ts';
import { dmabufName } from '../model/proc/maps.ts';
import { known } from '../model/reading.ts';
import type { Holder } from '../model/snapshot.ts';
import { hex } from '../model/units.ts';
import type { Native } from '../native/index.ts';
import type { HostFiles } from './files.ts';
import { kernelDev, listPids, readDmabufMaps, readFds, readStat } from './process.ts';

/** A dma-buf that some process holds. All of them lie on one file system, so the inode names it. */
export interface HeldBuffer {
  readonly inode: number;
  /** `null` when only mappings hold it that we can see. */
  sizeBytes: number | null;
  exporter: string | null;
  name: string | null;
  createdNs: bigint | null;
  /** References on its file. */
  count: number | null;
  readonly holders: Holder[];
}

export interface HolderScan {
  readonly buffers: ReadonlyMap<number, HeldBuffer>;
  /** Number of processes looked at. */
  readonly processes: number;
  /** Those of them whose files we may not see: they may hold more. */
  readonly hidden: ReadonlySet<number>;
}

/**
 * Every holder of every dma-buf, across all processes: fds (/proc/PID/fd, joined by inode) and mappings (/proc/PID/maps), which
 * outlive a closed fd. Costs a readlink an open file of the host. A process that ends meanwhile is left out.
 * @param only pids to look at; all by default
 */
export async function scanHolders(
  files: HostFiles,
  native: Native,
  only?: readonly number[],
  onProgress?: (done: number, total: number) => void,
): Promise<HolderScan> {
  const found = new Candidates(files);
  const pids = (only ?? known(listPids(files)) ?? []).filter(pid => pid !== process.pid);
  const hidden = new Set<number>();
  for (const [done, pid] of pids.entries()) {
    onProgress?.(done, pids.length);
    const maps = readDmabufMaps(files, pid);
    // Most processes of an idle host are kernel threads.
    if (maps.state === 'ok' && maps.value === null) continue;
    const table = await readFds(files, native, pid, ['/dmabuf:']);
    if (table.state === 'denied' || maps.state === 'denied') {
      // A kernel thread has no files that it could hide.
      if (!known(readStat(files, pid))?.kernelThread) hidden.add(pid);
    }
    const fds = known(table);
    const vmas = known(maps) ?? [];
    if ((fds?.fd.length ?? 0) === 0 && vmas.length === 0) continue;
    const comm = known(readStat(files, pid))?.comm;
    if (comm === undefined) continue;
    for (let i = 0; i < (fds?.fd.length ?? 0); i++) {
      if (fds?.errno[i] !== 0) continue;
      const dev = kernelDev(fds.dev[i] ?? 0n);
      const fd = fds.fd[i] ?? -1;
      const { buffer, holder } = found.of(dev, Number(fds.ino[i]), pid, comm);
      holder.fds.push(fd);
      buffer.sizeBytes ??= Number(fds.size[i]);
      buffer.createdNs ??= fds.ctimeNs[i] ?? null;
      buffer.name ??= dmabufName(fds.link[i] ?? null);
      if (buffer.exporter === null) found.addFdInfo(dev, buffer, pid, fd);
    }
    for (const vma of vmas) {
      const dev = vma.major * 2 ** 20 + vma.minor;
      const { buffer, holder } = found.of(dev, Number(vma.inode), pid, comm);
      holder.mappings.push({ start: hex(vma.start), end: hex(vma.end), perms: vma.perms });
      buffer.name ??= dmabufName(vma.path);
    }
  }
  onProgress?.(pids.length, pids.length);
  return { buffers: found.genuine(), processes: pids.length, hidden };
}

interface OpenHolder extends Holder {
  readonly fds: number[];
  readonly mappings: Holder['mappings'][number][];
}

/**
 * Files that are called like dma-bufs. A process may call a file of its own `/dmabuf:x`, and its inode may be that of a
 * real one, so they are told apart by device; fdinfo says which device is that of the dma-bufs.
 */
class Candidates {
  private readonly buffers = new Map<string, { dev: number; buffer: HeldBuffer }>();
  private readonly holders = new Map<string, OpenHolder>();
  /** Devices of which a file was seen to be a dma-buf, or not to be. */
  private readonly proven = new Set<number>();
  private readonly refuted = new Set<number>();

  constructor(private readonly files: HostFiles) {}

  of(dev: number, inode: number, pid: number, comm: string): { buffer: HeldBuffer; holder: OpenHolder } {
    const key = `${dev}:${inode}`;
    const { buffer } = this.buffers.get(key) ?? {
      buffer: {
        inode,
        sizeBytes: null,
        exporter: null,
        name: null,
        createdNs: null,
        count: null,
        holders: [] as Holder[],
      },
    };
    this.buffers.set(key, { dev, buffer });
    const holderKey = `${key}:${pid}`;
    let holder = this.holders.get(holderKey);
    if (!holder) {
      holder = { pid, comm, fds: [], mappings: [] };
      this.holders.set(holderKey, holder);
      buffer.holders.push(holder);
    }
    return { buffer, holder };
  }

  addFdInfo(dev: number, buffer: HeldBuffer, pid: number, fd: number): void {
    if (this.refuted.has(dev)) return;
    const info = known(this.files.parsed(`/proc/${pid}/fdinfo/${fd}`, parseFdInfo));
    // The fd may have been reused for another file since it was listed.
    if (!info || (info.inode !== null && Number(info.inode) !== buffer.inode)) return;
    if (!info.dmabuf) {
      if (info.inode !== null && !this.proven.has(dev)) this.refuted.add(dev);
      return;
    }
    this.proven.add(dev);
    buffer.exporter = info.dmabuf.exporter;
    buffer.count = info.dmabuf.count;
    buffer.name = info.dmabuf.name ?? buffer.name;
  }

  /** By inode. Where nothing was proven (only mappings, or fds that closed at once), what was not refuted. */
  genuine(): Map<number, HeldBuffer> {
    const kept = [...this.buffers.values()].filter(({ dev }) =>
      this.proven.size > 0 ? this.proven.has(dev) : !this.refuted.has(dev),
    );
    return new Map(kept.map(({ buffer }) => [buffer.inode, buffer]));
  }
}
