import { type BigIntStats, closeSync, fstatSync, readSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import type { QemuCommandLine } from '../model/qemu/cmdline.ts';
import {
  type GpuTrace,
  GpuTraceReader,
  isTraced,
  parseTraceStates,
  TRACE_EVENTS,
  type TraceEvent,
  type TraceStart,
} from '../model/qemu/gpu-trace.ts';
import { absent, known, ok, type Reading } from '../model/reading.ts';
import type { Native } from '../native/index.ts';
import { failure, type HostFiles } from './files.ts';
import { readFds } from './process.ts';
import { type LogFile, messagesOf } from './qemu-log.ts';
import { type QmpClient, QmpError } from './qmp.ts';

/** A first look reads no more than the end of a log; what comes later is read as it comes. */
const MOST_BYTES = 64 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;

/** What switches the trace on: `-D FILE` and these, or at run time HMP `logfile FILE` and `trace-event PATTERN on` for each. */
export const TRACE_PATTERNS: readonly string[] = [
  'virtio_gpu_features',
  'virtio_gpu_cmd_res_create_*',
  'virtio_gpu_cmd_res_unref',
  'virtio_gpu_cmd_res_back_*',
  'virtio_gpu_cmd_set_scanout*',
];
const HOW = `start QEMU with -D FILE ${TRACE_PATTERNS.map(pattern => `-trace '${pattern}'`).join(' ')}, or see docs/SOURCES.md for a QEMU that runs`;

/** A log that is read on from sample to sample. */
interface Followed {
  /** By the fd that it has now. */
  file: LogFile;
  readonly reader: GpuTraceReader;
  read: number;
}

export interface TraceRequest {
  readonly pid: number;
  readonly commandLine: QemuCommandLine | null;
  /** Events that are on and off now, where a monitor said so. */
  readonly states: ReadonlyMap<string, boolean> | null;
}

/**
 * The trace of QEMU's virtio-gpu, where its log has it: the file that `-D` or `logfile` opened, or what takes its standard error.
 * {@link begin} before the buffers are listed, {@link end} after.
 */
export class QemuTraces {
  /** By process, file and how it is read. */
  readonly #followed = new Map<string, Followed>();
  #now: Followed | null = null;

  async begin(files: HostFiles, native: Native, request: TraceRequest): Promise<Reading<true>> {
    const { pid, commandLine, states } = request;
    this.#now = null;
    const source = `/proc/${pid}/fd`;
    if (commandLine === null) return absent(source, 'the command line could not be read');
    const unfit = whyUnfit(commandLine);
    if (unfit !== null) return absent(source, unfit);
    if (states !== null && states.get('virtio_gpu_cmd_res_create_blob') !== true)
      return absent(source, `QEMU does not trace its virtio-gpu; ${HOW}`);
    const logs = await logFiles(files, native, pid);
    const messages = messagesOf(files, pid, commandLine.name);
    const all = [...(known(logs) ?? []), ...[known(messages)].flatMap(log => log ?? [])];
    const start = {
      fromStart: isTraced('virtio_gpu_cmd_res_create_blob', commandLine.trace),
      maxOutputs: outputsOf(commandLine),
    };
    let refused: Reading<never> | null = null;
    for (const file of all) {
      const reading = await this.#follow(files, pid, file, start);
      if (reading.state !== 'ok') refused ??= reading as Reading<never>;
      else if (reading.value.reader.hasSeen) {
        this.#now = reading.value;
        reading.value.reader.hold();
        return ok(file.path, true);
      }
    }
    if (logs.state === 'denied') return logs as Reading<never>;
    if (messages.state === 'denied') return messages as Reading<never>;
    if (refused !== null) return refused;
    const where =
      all.length > 0 ? `is not in ${all.map(({ name }) => name).join(', ')}` : 'cannot be read back';
    return absent(source, `a trace of virtio-gpu ${where}; ${HOW}`);
  }

  /** What it told up to now. Only after a {@link begin} that was `ok`. */
  async end(files: HostFiles, { pid, commandLine, states }: TraceRequest): Promise<Reading<GpuTrace>> {
    const followed = this.#now;
    if (followed === null) return absent(`/proc/${pid}/fd`, 'no trace');
    const { file, reader } = followed;
    const more = await this.#readOn(files, followed);
    if (more.state !== 'ok') return more as Reading<never>;
    const trace = reader.state();
    if (!trace.whole && trace.sinceMs === null)
      return absent(
        file.path,
        'it began after resources may have been made, or was cut, and its lines have no time (-msg timestamp=on): it tells from the next start of the guest’s driver on',
      );
    const traced = (event: TraceEvent) =>
      states !== null
        ? states.get(event) === true
        : trace.seen.has(event) || isTraced(event, commandLine?.trace ?? []);
    const scanouts = TRACE_EVENTS.filter(event => event.startsWith('virtio_gpu_cmd_set_scanout')).every(
      traced,
    );
    return ok(
      file.path,
      scanouts
        ? trace
        : { ...trace, buffers: trace.buffers.map(buffer => ({ ...buffer, scanout: 'unknown' as const })) },
    );
  }

  #follow(files: HostFiles, pid: number, file: LogFile, start: TraceStart): Promise<Reading<Followed>> {
    return withFile(files, file, async (fd, stat) => {
      const key = [pid, stat.dev, stat.ino, start.fromStart, start.maxOutputs].join(' ');
      let followed = this.#followed.get(key);
      // A log that was emptied begins anew.
      if (followed === undefined || BigInt(followed.read) > stat.size) {
        const skipped = Math.max(0, Number(stat.size) - MOST_BYTES);
        const whole = { ...start, fromStart: start.fromStart && skipped === 0 };
        followed = { file, reader: new GpuTraceReader(whole), read: skipped };
        // One guest is watched at a time.
        if (this.#followed.size >= 4) this.#followed.clear();
        this.#followed.set(key, followed);
      }
      followed.file = file;
      followed.reader.release();
      // A first look takes seconds, in which this thread also answers.
      while (readPiece(fd, stat, followed)) await turn();
      return followed;
    });
  }

  #readOn(files: HostFiles, followed: Followed): Promise<Reading<true>> {
    return withFile(files, followed.file, async (fd, stat) => {
      while (readPiece(fd, stat, followed));
      return true as const;
    });
  }
}

/** Events of virtio-gpu that are on and off now; null: this QEMU does not say. */
export async function readTraceStates(
  client: Pick<QmpClient, 'execute'>,
): Promise<ReadonlyMap<string, boolean> | null> {
  try {
    return parseTraceStates(await client.execute('trace-event-get-state', { name: 'virtio_gpu_*' }));
  } catch (error) {
    if (error instanceof QmpError) return null;
    throw error;
  }
}

/** False at the end that the log had when `stat` was taken: it may grow as fast as it is read. */
function readPiece(fd: number, { size }: BigIntStats, followed: Followed): boolean {
  if (followed.read >= size) return false;
  const data = Buffer.alloc(PIECE_BYTES);
  const read = readSync(fd, data, 0, data.length, followed.read);
  // The lines that matter are ASCII, and a character of another kind may be cut here.
  followed.reader.feed(data.toString('latin1', 0, read));
  followed.read += read;
  return read > 0;
}

async function withFile<T>(
  files: HostFiles,
  { path }: LogFile,
  use: (fd: number, stat: BigIntStats) => Promise<T>,
): Promise<Reading<T>> {
  const opened = files.open(path);
  if (opened.state !== 'ok') return opened as Reading<never>;
  try {
    const stat = fstatSync(opened.value, { bigint: true });
    return stat.isFile() ? ok(path, await use(opened.value, stat)) : absent(path, 'is no regular file');
  } catch (error) {
    return failure(path, error);
  } finally {
    closeSync(opened.value);
  }
}

/** Why a trace would not tell what its resources are; null: it may. */
function whyUnfit({ devices, vhostUserGpu, incoming, loadvm }: QemuCommandLine): string | null {
  const gpus = devices.virtioGpu.length + vhostUserGpu.length;
  if (gpus === 0) return 'this QEMU has no virtio-gpu';
  if (gpus > 1)
    return `this QEMU has ${gpus} virtio-gpu devices, and its trace does not say which one a line is of`;
  if (incoming !== null || loadvm !== null)
    return 'this guest came from another QEMU or from a snapshot: resources that it brought were not traced';
  return null;
}

/** `max_outputs` of VIRTIO_GPU_BASE_PROPERTIES, 1 by default, at most VIRTIO_GPU_MAX_SCANOUTS. */
function outputsOf({ devices }: QemuCommandLine): number {
  const told = Number(devices.virtioGpu[0]?.properties.max_outputs ?? '1');
  return Number.isInteger(told) && told >= 1 && told <= 16 ? told : 16;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const O_ACCMODE = 0o3;
const O_WRONLY = 0o1;
const O_CLOEXEC = 0o2000000;

/**
 * Files that `-D` and `logfile` may have opened, the newest fd first: regular, for writing alone and to be inherited, as fopen() of
 * qemu_set_log_internal() opens (util/log.c); a chardev's file is closed at an exec (qemu_open_internal()).
 */
async function logFiles(files: HostFiles, native: Native, pid: number): Promise<Reading<LogFile[]>> {
  const table = await readFds(files, native, pid, ['/']);
  if (table.state !== 'ok') return table as Reading<never>;
  const { fd, link, mode } = table.value;
  const found: LogFile[] = [];
  for (let i = fd.length - 1; i >= 0; i--) {
    const name = link[i] ?? '';
    const number = fd[i] ?? 0;
    // A device or a FIFO may do something when it is opened.
    if (number <= 2 || ((mode[i] ?? 0) & S_IFMT) !== S_IFREG || /^\/(dev\/|memfd:|dmabuf:)/.test(name))
      continue;
    const info = known(files.text(`/proc/${pid}/fdinfo/${number}`));
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info ?? '')?.[1] ?? '', 8);
    if ((flags & O_ACCMODE) !== O_WRONLY || (flags & O_CLOEXEC) !== 0) continue;
    found.push({ path: `/proc/${pid}/fd/${number}`, name });
  }
  return ok(`/proc/${pid}/fd`, found);
}
