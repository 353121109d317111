import { isDmabuf, parseMaps, type Vma } from '../model/proc/maps.ts';
import { type ProcStat, parseStat } from '../model/proc/stat.ts';
import { ok, type Reading, raced } from '../model/reading.ts';
import type { FdTable, Native } from '../native/index.ts';
import { failure, type HostFiles, understood } from './files.ts';

/** A process for good: a pid comes back, with its start time it does not. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot (/proc/PID/stat field 22). */
  readonly startTime: bigint;
}

/** All pids of this /proc. */
export function listPids(files: HostFiles): Reading<number[]> {
  return understood(files.names('/proc'), names => names.filter(name => /^\d+$/.test(name)).map(Number));
}

export function readStat(files: HostFiles, pid: number): Reading<ProcStat> {
  return files.parsed(`/proc/${pid}/stat`, parseStat);
}

/** `ok` while the process still is the one that was asked for; what was read in between then belongs to it. */
export function stillRuns(files: HostFiles, id: ProcessId): Reading<true> {
  const stat = readStat(files, id.pid);
  if (stat.state !== 'ok') return stat as Reading<never>;
  if (stat.value.startTime !== id.startTime) {
    return raced(stat.source, `process ${id.pid} ended, and its pid now belongs to another process`);
  }
  return ok(stat.source, true);
}

/** The fds of a process whose links begin with one of these; none: all of them, for which no broker can be asked. */
export async function readFds(
  files: HostFiles,
  native: Native,
  pid: number,
  prefixes: readonly string[],
): Promise<Reading<FdTable>> {
  const path = `/proc/${pid}/fd`;
  try {
    return ok(path, await native.listFds(files.at(path), prefixes));
  } catch (error) {
    const reading = failure(`${path}/`, error);
    return reading.state === 'denied' ? files.listFds(pid, prefixes) : reading;
  }
}

/** st_dev as stat(2) gives it (new_encode_dev, include/linux/kdev_t.h) → major << 20 | minor, as maps has it. */
export function kernelDev(encoded: bigint): number {
  const value = Number(encoded & 0xffff_ffffn);
  const major = (value >>> 8) & 0xfff;
  const minor = (value & 0xff) | ((value >>> 12) & 0xfff00);
  return major * 2 ** 20 + minor;
}

/** The mappings of a process; `containing` keeps only lines with that text. */
export function readMaps(files: HostFiles, pid: number, containing = ''): Reading<Vma[]> {
  return files.parsed(`/proc/${pid}/maps`, text => parseMaps(text, containing));
}

/** Mappings of dma-bufs; `null` for a process without memory: a kernel thread or a zombie, which hold no files either. */
export function readDmabufMaps(files: HostFiles, pid: number): Reading<Vma[] | null> {
  return understood(files.text(`/proc/${pid}/maps`), text =>
    text === '' ? null : parseMaps(text, '/dmabuf:').filter(vma => isDmabuf(vma.path)),
  );
}
