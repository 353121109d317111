import { parseFdInfo } from '../model/proc/fdinfo.ts';
import { dmabufName } from '../model/proc/maps.ts';
import { known } from '../model/reading.ts';
import type { Holder } from '../model/snapshot.ts';
import { hex } from '../model/units.ts';
import type { Native } from '../native/index.ts';
import type { HostFiles } from './files.ts';
import { listPids, readDmabufMaps, readFds, readStat } from './process.ts';

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
  /** Processes looked at, and those of them whose files we may not see: they may hold more. */
  readonly processes: number;
  readonly hidden: number;
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
  const buffers = new Map<number, HeldBuffer>();
  const pids = (only ?? known(listPids(files)) ?? []).filter(pid => pid !== process.pid);
  let hidden = 0;
  for (const [done, pid] of pids.entries()) {
    onProgress?.(done, pids.length);
    const table = await readFds(files, native, pid, ['/dmabuf:']);
    const maps = readDmabufMaps(files, pid);
    if (table.state === 'denied' || maps.state === 'denied') hidden++;
    const fds = known(table);
    const vmas = known(maps) ?? [];
    if ((fds?.fd.length ?? 0) === 0 && vmas.length === 0) continue;
    const comm = known(readStat(files, pid))?.comm;
    if (comm === undefined) continue;
    const mine = new Map<
      number,
      { pid: number; comm: string; fds: number[]; mappings: Holder['mappings'][number][] }
    >();
    const holderOf = (inode: number) => {
      let holder = mine.get(inode);
      if (!holder) {
        holder = { pid, comm, fds: [], mappings: [] };
        mine.set(inode, holder);
        bufferOf(buffers, inode).holders.push(holder);
      }
      return holder;
    };
    for (let i = 0; i < (fds?.fd.length ?? 0); i++) {
      if (fds?.errno[i] !== 0) continue;
      const inode = Number(fds.ino[i]);
      const fd = fds.fd[i] ?? -1;
      const buffer = bufferOf(buffers, inode);
      holderOf(inode).fds.push(fd);
      buffer.sizeBytes ??= Number(fds.size[i]);
      buffer.createdNs ??= fds.ctimeNs[i] ?? null;
      buffer.name ??= dmabufName(fds.link[i] ?? null);
      if (buffer.exporter === null) addFdInfo(files, buffer, pid, fd);
    }
    for (const vma of vmas) {
      const inode = Number(vma.inode);
      const mapping = { start: hex(vma.start), end: hex(vma.end), perms: vma.perms };
      holderOf(inode).mappings.push(mapping);
      bufferOf(buffers, inode).name ??= dmabufName(vma.path);
    }
  }
  onProgress?.(pids.length, pids.length);
  return { buffers, processes: pids.length, hidden };
}

function bufferOf(buffers: Map<number, HeldBuffer>, inode: number): HeldBuffer {
  let buffer = buffers.get(inode);
  if (!buffer) {
    buffer = {
      inode,
      sizeBytes: null,
      exporter: null,
      name: null,
      createdNs: null,
      count: null,
      holders: [],
    };
    buffers.set(inode, buffer);
  }
  return buffer;
}

function addFdInfo(files: HostFiles, buffer: HeldBuffer, pid: number, fd: number): void {
  const info = known(files.parsed(`/proc/${pid}/fdinfo/${fd}`, parseFdInfo));
  // The fd may have been reused for another file since it was listed.
  if (!info?.dmabuf || (info.inode !== null && Number(info.inode) !== buffer.inode)) return;
  buffer.exporter = info.dmabuf.exporter;
  buffer.count = info.dmabuf.count;
  buffer.name = info.dmabuf.name ?? buffer.name;
}
