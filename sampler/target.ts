import { statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import type { FrameMap } from '../model/join/frames.ts';
import { type GuestMapping, RamView, ramMappings } from '../model/join/ram.ts';
import { MAX_LOCKED_MEMORY, parseLimits } from '../model/proc/limits.ts';
import type { Vma } from '../model/proc/maps.ts';
import type { ProcStat } from '../model/proc/stat.ts';
import { type ProcStatus, parseStatus } from '../model/proc/status.ts';
import { isQemu, parseQemuCommandLine, type QemuCommandLine, splitCmdline } from '../model/qemu/cmdline.ts';
import type { GuestLayout } from '../model/qemu/layout.ts';
import { absent, denied, known, type Reading } from '../model/reading.ts';
import type { NodeState, RamBackend, Target } from '../model/snapshot.ts';
import type { Native } from '../native/index.ts';
import { type HostFiles, understood } from './files.ts';
import { readGuestLayout } from './guest-memory.ts';
import { readRam } from './guest-ram.ts';
import { readHugetlbCgroup } from './hugetlb-cgroup.ts';
import { type AskedMigration, readMachineMemory, readMigration } from './machine.ts';
import { readOpenDevices } from './open-devices.ts';
import { readMaps } from './process.ts';
import { readRefusals } from './qemu-log.ts';
import { readTraceStates, type TraceRequest } from './qemu-trace.ts';
import { connectQmp } from './qmp.ts';
import type { SourceLog } from './sources.ts';
import { readUsers } from './users.ts';

/** What a process is: a QEMU by its program file and command line, or anything else that holds a udmabuf. */
export interface ProcessKind {
  readonly kind: 'qemu' | 'other';
  /** Of a QEMU whose command line could be read. */
  readonly commandLine: QemuCommandLine | null;
}

export function readKind(files: HostFiles, stat: ProcStat, log?: SourceLog): ProcessKind {
  const read = () => files.parsed(`/proc/${stat.pid}/cmdline`, splitCmdline);
  const argv = log ? log.of('cmdline', read) : read();
  const exe = known(files.link(`/proc/${stat.pid}/exe`)) ?? null;
  const words = known(argv) ?? [];
  if (!isQemu(stat.comm, exe, words)) return { kind: 'other', commandLine: null };
  const commandLine = words.length > 0 ? understood(argv, parseQemuCommandLine) : absent('cmdline', 'empty');
  return { kind: 'qemu', commandLine: known(commandLine) ?? null };
}

export interface TargetReadings {
  readonly target: Target;
  /** What the trace of a QEMU is read by; null: no QEMU. */
  readonly tracing: TraceRequest | null;
  readonly ram: RamView;
}

/**
 * Everything of the snapshot's `target`, and the view of its RAM that the join needs.
 * @param nodes of the host, to tell on which ones the process runs
 * @param frames of the host, asked for only where pages of 1 GiB are to be placed
 */
export async function readTarget(
  files: HostFiles,
  native: Native,
  stat: ProcStat,
  log: SourceLog,
  nodes: readonly NodeState[] | undefined,
  frames: () => FrameMap | undefined = () => undefined,
): Promise<TargetReadings> {
  const { pid } = stat;
  const { kind, commandLine } = readKind(files, stat, log);
  const status = log.of('status', () => files.parsed(`/proc/${pid}/status`, parseStatus));
  const limits = log.of('limits', () => files.parsed(`/proc/${pid}/limits`, parseLimits));
  const maps = log.of('maps', () => readMaps(files, pid));
  const vmas = known(maps) ?? [];
  const {
    state: qmp,
    layout,
    migration,
    traceStates,
  } = await readMonitor(files, pid, kind, commandLine, vmas, log);
  const guest = layout ? guestMappings(layout) : null;
  const ram = new RamView(ramMappings(vmas), guest ?? []);
  const memlock = known(limits)?.get(MAX_LOCKED_MEMORY)?.soft;
  const of = known(status);
  const uid = of?.uid.effective ?? ownerOf(files, pid);
  const backends =
    maps.state === 'ok'
      ? await readRam({ files, native, pid, log, frames }, ram, guest, layout, commandLine)
      : null;
  return {
    ram,
    tracing: kind === 'qemu' ? { pid, commandLine, states: traceStates } : null,
    target: {
      pid,
      startTime: String(stat.startTime),
      comm: stat.comm,
      uid,
      user: readUsers(files).get(uid) ?? null,
      kind,
      name: commandLine?.name ?? null,
      memlockLimitBytes: memlock === undefined ? null : String(memlock),
      vmPinBytes: of?.vmPinBytes ?? null,
      vmLckBytes: of?.vmLckBytes ?? null,
      hugetlbBytes: of?.hugetlbBytes ?? null,
      cpuNodes: nodes && of ? cpuNodes(files, pid, of, nodes, log) : null,
      ram: backends,
      devices:
        kind === 'qemu'
          ? (commandLine?.devices ?? null)
          : { virtioGpu: [], balloon: [], virtioMem: [], vfio: [], vdpa: [] },
      qmp,
      hugetlbCgroup: known(log.of('hugetlb-cgroup', () => readHugetlbCgroup(files, pid))) ?? null,
      open: known(await log.ofAsync('open-devices', () => readOpenDevices(files, native, pid))) ?? null,
      ...(kind === 'qemu' ? ofQemu(files, pid, commandLine, backends, migration, log) : {}),
    },
  };
}

/** What only a QEMU has. */
function ofQemu(
  files: HostFiles,
  pid: number,
  commandLine: QemuCommandLine | null,
  ram: readonly RamBackend[] | null,
  asked: AskedMigration | null,
  log: SourceLog,
): Pick<Target, 'machineMemory' | 'migration' | 'refusals'> {
  const memory = log.of('machine-memory', () => readMachineMemory(files, pid, commandLine, ram));
  const refusals = log.of('refusals', () => readRefusals(files, pid, commandLine?.name ?? null));
  return {
    machineMemory: known(memory) ?? null,
    migration: commandLine && {
      incoming: commandLine.incoming,
      capabilities: asked?.capabilities ?? null,
      status: asked?.status ?? null,
    },
    refusals: known(refusals) ?? null,
  };
}

/**
 * Nodes of the CPUs that any thread may run on: libvirt binds each vCPU's thread by itself. Where all CPUs are on one node, one
 * thread tells. `null`: a thread did not say.
 */
function cpuNodes(
  files: HostFiles,
  pid: number,
  main: ProcStatus,
  nodes: readonly NodeState[],
  log: SourceLog,
): number[] | null {
  const allowed = new Set<number>();
  const add = (status: ProcStatus) => {
    for (const cpu of status.cpusAllowed ?? []) allowed.add(cpu);
    return status.cpusAllowed !== null;
  };
  if (!add(main)) return null;
  if (nodes.filter(({ cpus }) => cpus.length > 0).length > 1) {
    const threads = log.of('threads', () => files.names(`/proc/${pid}/task`));
    if (threads.state !== 'ok') return null;
    for (const tid of threads.value) {
      const status = files.parsed(`/proc/${pid}/task/${tid}/status`, parseStatus);
      // A thread that ended meanwhile runs nowhere.
      if (status.state === 'raced') continue;
      if (status.state !== 'ok' || !add(status.value)) return null;
    }
  }
  return nodes.filter(({ cpus }) => cpus.some(cpu => allowed.has(cpu))).map(({ node }) => node);
}

/** Whom /proc/PID belongs to: the effective user, but root for a process that may not be dumped. */
function ownerOf(files: HostFiles, pid: number): number {
  try {
    return statSync(files.at(`/proc/${pid}`)).uid;
  } catch {
    return -1;
  }
}

const guestMappings = (layout: GuestLayout): GuestMapping[] =>
  layout.files.flatMap(file =>
    file.ranges.map(({ gpa, bytes, offset }) => ({
      dev: file.major * 2 ** 20 + file.minor,
      inode: Number(file.inode),
      gpa,
      bytes,
      offset,
    })),
  );

/** A busy guest under emulation answers late; a taken monitor is told by /proc/PID/net/unix without waiting. */
const MONITOR_MS = 3000;

/** What a monitor told, on one connection. */
interface Asked {
  readonly state: Target['qmp'];
  readonly layout: GuestLayout | null;
  readonly migration: AskedMigration | null;
  readonly traceStates: TraceRequest['states'];
}

/** Of a monitor that did not answer. */
const UNASKED = { layout: null, migration: null, traceStates: null } as const;

/** Asks the guest's memory map, whether it migrates, and what is traced, from the first QMP monitor that talks to us. */
async function readMonitor(
  files: HostFiles,
  pid: number,
  kind: 'qemu' | 'other',
  commandLine: QemuCommandLine | null,
  vmas: readonly Vma[],
  log: SourceLog,
): Promise<Asked> {
  const note = (reading: Reading<unknown>, cost: number) => log.note('qmp', reading, cost);
  if (kind !== 'qemu') return { state: 'none', ...UNASKED };
  const monitors = commandLine?.monitors.filter(({ protocol, server }) => protocol === 'qmp' && server) ?? [];
  const started = performance.now();
  const cost = () => performance.now() - started;
  if (monitors.length === 0) {
    const detail = commandLine
      ? 'this QEMU has no QMP socket of its own on the command line (add -qmp unix:PATH,server=on,wait=off)'
      : 'the command line could not be read';
    note(absent('QMP', `${detail}; guest addresses are unknown`), cost());
    return { state: 'none', ...UNASKED };
  }
  let worst: { state: Target['qmp']; detail: string } = { state: 'none', detail: '' };
  const rank = ['none', 'denied', 'busy'];
  for (const { address } of monitors) {
    const reachable =
      address.kind === 'unix'
        ? {
            ...address,
            path: files.at(`/proc/${pid}/${isAbsolute(address.path) ? 'root' : 'cwd/'}${address.path}`),
          }
        : address;
    const connection = await connectQmp(reachable, {
      timeoutMs: MONITOR_MS,
      ...(address.kind === 'unix'
        ? { listener: { netUnix: files.at(`/proc/${pid}/net/unix`), path: address.path } }
        : {}),
    });
    if (connection.state === 'ok') {
      try {
        const layout = await readGuestLayout(connection.client, vmas);
        note(layout, cost());
        const { client } = connection;
        const migration = await log.ofAsync('migration', () => readMigration(client));
        const traceStates = await readTraceStates(client);
        return {
          state: 'ok',
          layout: known(layout) ?? null,
          migration: known(migration) ?? null,
          traceStates,
        };
      } finally {
        await connection.client.close();
      }
    }
    if (rank.indexOf(connection.state) >= rank.indexOf(worst.state)) worst = connection;
  }
  const detail = `${worst.detail}; guest addresses are unknown`;
  note(
    worst.state === 'denied'
      ? denied('QMP', detail, 'the same user as QEMU, or root')
      : absent('QMP', worst.state === 'busy' ? `busy: ${detail}` : detail),
    cost(),
  );
  return { state: worst.state, ...UNASKED };
}
