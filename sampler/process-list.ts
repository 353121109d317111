import { parseStatus } from '../model/proc/status.ts';
import type { ProcessList, ProcessSummary } from '../model/process-list.ts';
import { known } from '../model/reading.ts';
import type { HostAccess } from './access.ts';
import { type HeldBuffer, scanHolders } from './holders.ts';
import { listPids, readStat } from './process.ts';
import { readKind } from './target.ts';
import { readUsers } from './users.ts';

/** All QEMUs and all holders of udmabufs, QEMU first, then by buffered bytes. */
export async function listProcesses(
  { files, native }: HostAccess,
  onProgress?: (done: number, total: number) => void,
): Promise<ProcessList> {
  const takenAt = new Date().toISOString();
  const pids = known(listPids(files)) ?? [];
  const scan = await scanHolders(files, native, pids, onProgress);
  const held = new Map<number, HeldBuffer[]>();
  for (const buffer of scan.buffers.values()) {
    // A buffer that is only mapped has no fdinfo to name its exporter; better shown than lost.
    if (buffer.exporter !== null && buffer.exporter !== 'udmabuf') continue;
    for (const { pid } of buffer.holders) held.set(pid, [...(held.get(pid) ?? []), buffer]);
  }
  const users = readUsers(files);
  const processes: ProcessSummary[] = [];
  for (const pid of pids) {
    const stat = known(readStat(files, pid));
    if (!stat || stat.kernelThread) continue;
    const { kind, commandLine } = readKind(files, stat);
    const buffers = held.get(pid);
    if (kind === 'other' && !buffers) continue;
    const own = buffers ? 'ok' : files.names(`/proc/${pid}/fd`).state;
    // What we may not list, the broker may have listed.
    const fds = own === 'denied' && !scan.hidden.has(pid) ? 'ok' : own;
    // It ended meanwhile, or is a zombie without files.
    if (fds === 'raced') continue;
    const uid = known(files.parsed(`/proc/${pid}/status`, parseStatus))?.uid.effective ?? null;
    const created = (buffers ?? []).flatMap(({ createdNs }) => (createdNs === null ? [] : [createdNs]));
    const oldest = created.reduce<bigint | null>((a, b) => (a === null || b < a ? b : a), null);
    processes.push({
      pid,
      startTime: String(stat.startTime),
      comm: stat.comm,
      uid,
      user: uid === null ? null : (users.get(uid) ?? null),
      kind,
      name: commandLine?.name ?? null,
      buffers: fds === 'ok' ? (buffers?.length ?? 0) : null,
      bufferBytes: fds === 'ok' ? sumOfSizes(buffers ?? []) : null,
      oldest: oldest === null ? null : new Date(Number(oldest / 1_000_000n)).toISOString(),
    });
  }
  processes.sort(
    (a, b) =>
      Number(b.kind === 'qemu') - Number(a.kind === 'qemu') ||
      (b.bufferBytes ?? 0) - (a.bufferBytes ?? 0) ||
      a.pid - b.pid,
  );
  return { schema: 'pinscope.processes/1', takenAt, processes, hiddenProcesses: scan.hidden.size };
}

function sumOfSizes(buffers: readonly HeldBuffer[]): number | null {
  let sum = 0;
  for (const { sizeBytes } of buffers) {
    if (sizeBytes === null) return null;
    sum += sizeBytes;
  }
  return sum;
}
