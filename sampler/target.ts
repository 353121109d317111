import { closeSync, constants, fstatSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import type { FrameMap } from '../model/join/frames.ts';
import { type FileId, type GuestMapping, RamView, ramMappings, sameFile } from '../model/join/ram.ts';
import { MAX_LOCKED_MEMORY, parseLimits } from '../model/proc/limits.ts';
import { isMemfd, type Vma } from '../model/proc/maps.ts';
import { parseSmaps } from '../model/proc/smaps.ts';
import type { ProcStat } from '../model/proc/stat.ts';
import { type ProcStatus, parseStatus } from '../model/proc/status.ts';
import { isQemu, parseQemuCommandLine, type QemuCommandLine, splitCmdline } from '../model/qemu/cmdline.ts';
import { type GuestLayout, matchBackends } from '../model/qemu/layout.ts';
import { absent, denied, known, ok, type Reading } from '../model/reading.ts';
import type { NodeState, RamBackend, Target } from '../model/snapshot.ts';
import { hex } from '../model/units.ts';
import type { Native } from '../native/index.ts';
import { failure, type HostFiles, understood } from './files.ts';
import { GIGANTIC, readGiganticPages } from './gigantic-pages.ts';
import { readGuestLayout } from './guest-memory.ts';
import { readHugetlbCgroup } from './hugetlb-cgroup.ts';
import { type AskedMigration, readMachineMemory, readMigration } from './machine.ts';
import { readOpenDevices } from './open-devices.ts';
import { kernelDev, readFds, readMaps } from './process.ts';
import { readRefusals } from './qemu-log.ts';
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
  const { state: qmp, layout, migration } = await readMonitor(files, pid, kind, commandLine, vmas, log);
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
}

/** Asks the guest's memory map, and whether it migrates, from the first QMP monitor that talks to us. */
async function readMonitor(
  files: HostFiles,
  pid: number,
  kind: 'qemu' | 'other',
  commandLine: QemuCommandLine | null,
  vmas: readonly Vma[],
  log: SourceLog,
): Promise<Asked> {
  const note = (reading: Reading<unknown>, cost: number) => log.note('qmp', reading, cost);
  if (kind !== 'qemu') return { state: 'none', layout: null, migration: null };
  const monitors = commandLine?.monitors.filter(({ protocol, server }) => protocol === 'qmp' && server) ?? [];
  const started = performance.now();
  const cost = () => performance.now() - started;
  if (monitors.length === 0) {
    const detail = commandLine
      ? 'this QEMU has no QMP socket of its own on the command line (add -qmp unix:PATH,server=on,wait=off)'
      : 'the command line could not be read';
    note(absent('QMP', `${detail}; guest addresses are unknown`), cost());
    return { state: 'none', layout: null, migration: null };
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
        return { state: 'ok', layout: known(layout) ?? null, migration: known(migration) ?? null };
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
  return { state: worst.state, layout: null, migration: null };
}

interface RamRequest {
  readonly files: HostFiles;
  readonly native: Native;
  readonly pid: number;
  readonly log: SourceLog;
  readonly frames: () => FrameMap | undefined;
}

/** One row a memfd that the process maps. */
async function readRam(
  request: RamRequest,
  view: RamView,
  guest: readonly GuestMapping[] | null,
  layout: GuestLayout | null,
  commandLine: QemuCommandLine | null,
): Promise<RamBackend[]> {
  const { files, native, pid, log } = request;
  const memfds: FileId[] = [];
  for (const mapping of view.mappings) {
    if (!memfds.some(file => sameFile(file, mapping))) memfds.push(mapping);
  }
  const opened = await openMemfds(files, native, pid, log);
  const pageSizes = memfds.every(file => opened.some(fd => sameFile(fd, file)))
    ? new Map<string, number>()
    : pageSizesFromSmaps(files, pid);
  const rows = memfds.map(file => {
    const mappings = view.mappings.filter(mapping => sameFile(mapping, file));
    const fd = opened.find(open => sameFile(open, file));
    return {
      file,
      inode: file.inode,
      sizeBytes: fd?.sizeBytes ?? Math.max(...mappings.map(m => m.offset + Number(m.end - m.start))),
      pageSizeBytes: fd?.pageSizeBytes ?? pageSizes.get(`${file.dev}:${file.inode}`) ?? null,
      share: mappings.every(({ shared }) => shared),
      sealed: fd?.sealed ?? null,
      allocatedBytes: fd?.allocatedBytes ?? null,
      hva: hex(mappings[0]?.start ?? 0n),
    };
  });
  // By row: a hugetlb memfd and a shmem one may have the same inode number, on their two file systems.
  const ids = matchBackends(
    commandLine?.memoryBackends ?? [],
    rows.map((row, i) => ({ ...row, inode: i, pageSizeBytes: row.pageSizeBytes ?? 0 })),
  );
  const gigantic = await Promise.all(rows.map(row => readGigantic(request, view, row)));
  return rows.map(({ file, ...row }, i) => {
    const told = layout?.files.find(
      ({ inode, major, minor }) => Number(inode) === file.inode && major * 2 ** 20 + minor === file.dev,
    );
    const id = told?.backendId ?? ids.get(i) ?? null;
    const backend = id === null ? undefined : commandLine?.memoryBackends.find(each => each.id === id);
    return {
      id,
      ...row,
      gigantic: gigantic[i] ?? null,
      reserve: backend?.reserve ?? null,
      policy: backend ? { mode: backend.policy, nodes: backend.hostNodes } : null,
      guestRanges:
        guest
          ?.filter(range => sameFile(range, file))
          .map(({ gpa, bytes, offset }) => ({ gpa: hex(gpa), bytes, offset })) ?? null,
    };
  });
}

/** Of a memfd of gigantic pages; of any other nothing is read. */
async function readGigantic(
  { files, native, pid, log, frames }: RamRequest,
  view: RamView,
  { file, pageSizeBytes }: { readonly file: FileId; readonly pageSizeBytes: number | null },
): Promise<RamBackend['gigantic']> {
  if (pageSizeBytes !== GIGANTIC) return null;
  const mappings = view.mappings.filter(mapping => sameFile(mapping, file));
  const reading = await log.ofAsync('gigantic-pages', () =>
    readGiganticPages(files, native, pid, mappings, frames()),
  );
  return known(reading) ?? null;
}

interface OpenMemfd extends FileId {
  readonly sizeBytes: number;
  readonly pageSizeBytes: number;
  readonly sealed: boolean | null;
  readonly allocatedBytes: number | null;
}

/** Size and page size as stat has them: the block size is the page size. */
async function openMemfds(
  files: HostFiles,
  native: Native,
  pid: number,
  log: SourceLog,
): Promise<OpenMemfd[]> {
  const reading = await log.ofAsync('memfds', () => readFds(files, native, pid, ['/memfd:']));
  const table = known(reading);
  if (!table) return [];
  const memfds: OpenMemfd[] = [];
  for (const [i, fd] of table.fd.entries()) {
    if (table.errno[i] !== 0 || !isMemfd(table.link[i] ?? null)) continue;
    // Anything can be called /memfd:x, and opening a device may do something.
    if (((table.mode[i] ?? 0) & constants.S_IFMT) !== constants.S_IFREG) continue;
    const file = { dev: kernelDev(table.dev[i] ?? 0n), inode: Number(table.ino[i]) };
    if (memfds.some(known => sameFile(known, file))) continue;
    const inside = await log.ofAsync('memfds', () => readMemfd(files, native, pid, fd));
    memfds.push({
      ...file,
      sizeBytes: Number(table.size[i]),
      pageSizeBytes: table.blockBytes[i] ?? 0,
      sealed: known(inside)?.sealed ?? null,
      allocatedBytes: known(inside)?.allocatedBytes ?? null,
    });
  }
  return memfds;
}

/** include/uapi/linux/fcntl.h; UDMABUF_CREATE refuses a memfd without it. */
const F_SEAL_SHRINK = 2;
/** Of st_blocks, whatever the file system's own. */
const BLOCK_BYTES = 512;

/**
 * What has to be asked of the open memfd. Opening one through /proc leaves nothing behind. Its blocks are the pages of its page cache:
 * hugetlb adds a huge page's at hugetlb_add_to_page_cache (also one that memfd_alloc_folio filled a hole with), shmem a page's, and
 * those that it swapped out.
 */
async function readMemfd(
  files: HostFiles,
  native: Native,
  pid: number,
  target: number,
): Promise<Reading<Pick<OpenMemfd, 'sealed' | 'allocatedBytes'>>> {
  const path = `/proc/${pid}/fd/${target}`;
  const own = files.open(path);
  const fd = own.state === 'denied' ? files.duplicate(pid, target) : own;
  if (fd.state !== 'ok') return fd as Reading<never>;
  try {
    const sealed = ((await native.getSeals(fd.value)) & F_SEAL_SHRINK) !== 0;
    return ok(path, { sealed, allocatedBytes: fstatSync(fd.value).blocks * BLOCK_BYTES });
  } catch (error) {
    return failure(path, error);
  } finally {
    closeSync(fd.value);
  }
}

/** For memfds that are only mapped, their fd closed. smaps walks the whole page table, so only then. */
function pageSizesFromSmaps(files: HostFiles, pid: number): Map<string, number> {
  const vmas = known(files.parsed(`/proc/${pid}/smaps`, parseSmaps)) ?? [];
  return new Map(
    vmas
      .filter(vma => isMemfd(vma.path))
      .map(vma => [`${vma.major * 2 ** 20 + vma.minor}:${vma.inode}`, vma.kernelPageBytes]),
  );
}
