/**
 * A real QEMU that is up in two or three seconds, because no guest boots in it: the processors are held (`-S`) and
 * the test is the guest, over `-qtest`. Debian's QEMU has no qtest accelerator; `-accel tcg` serves.
 *
 * ```ts
 * const vm = await startQemu({ dir: '/tmp/vm', memoryMiB: 256, backend: 'hugetlb=on,prealloc=on' });
 * const gpu = await vm.gpu();
 * const resource = await gpu.createBlob(scattered(guestRam.free, 8294400, 32768, 65536));
 * await gpu.setScanoutBlob(resource, 1920, 1080);
 * ```
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { VirtioBalloon } from './balloon.ts';
import { VirtioGpu } from './gpu.ts';
import { qmpCommand } from './qmp.ts';
import { Qtest } from './qtest.ts';
import { virtioPieceBytes } from './virtio.ts';

/** What lies where in guest RAM. */
export const guestRam = {
  gpuPiece: 0x10_0000,
  balloonPiece: 0x10_0000 + virtioPieceBytes,
  /** From here on the helper uses nothing; a multiple of 2 MiB. */
  free: 0x20_0000,
} as const;

const slots = { gpu: 5, balloon: 6 } as const;

export interface QemuOptions {
  /** Directory for sockets and the log; created. Keep it short: a socket's path has at most 107 bytes. */
  readonly dir: string;
  /** Guest RAM in MiB; 256 when left out. */
  readonly memoryMiB?: number;
  /** Properties of the memory-backend-memfd, for example `hugetlb=on,prealloc=on`; plain shmem when left out. */
  readonly backend?: string;
  /** Properties of virtio-gpu-pci after `blob=true`; `max_outputs=1,xres=1920,yres=1080` when left out. */
  readonly gpu?: string;
  /** Adds a virtio-balloon-pci, id `balloon0`. */
  readonly balloon?: boolean;
  /** Value of `-name`. */
  readonly name?: string;
  /** Opens a second monitor, `testQmpSocket`, and uses it, so that nothing but the tested program uses the first. */
  readonly testMonitor?: boolean;
  /** More arguments. */
  readonly args?: readonly string[];
  /** `qemu-system-x86_64` when left out. */
  readonly program?: string;
}

export class RealQemu {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly qtest: Qtest;
  /** The monitor meant for the program under test; nobody is connected. */
  readonly qmpSocket: string;
  readonly testQmpSocket: string;
  readonly stderrFile: string;
  readonly #child: ChildProcess;
  #gpu: VirtioGpu | null = null;
  #balloon: VirtioBalloon | null = null;

  /** @internal use {@link startQemu} */
  constructor(child: ChildProcess, argv: readonly string[], qtest: Qtest, files: QemuFiles) {
    this.pid = child.pid ?? 0;
    this.argv = argv;
    this.qtest = qtest;
    this.qmpSocket = files.qmp;
    this.testQmpSocket = files.testQmp ?? files.qmp;
    this.stderrFile = files.stderr;
    this.#child = child;
  }

  /** The graphics device, started at the first call. */
  async gpu(): Promise<VirtioGpu> {
    this.#gpu ??= await VirtioGpu.open(this.qtest, slots.gpu, guestRam.gpuPiece);
    return this.#gpu;
  }

  /** The balloon, started at the first call; needs `balloon: true`. */
  async balloon(): Promise<VirtioBalloon> {
    this.#balloon ??= await VirtioBalloon.open(this.qtest, slots.balloon, guestRam.balloonPiece);
    return this.#balloon;
  }

  /** One QMP command over the test's monitor. */
  qmp(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return qmpCommand(this.testQmpSocket, execute, args);
  }

  /** One line of the human monitor. */
  async hmp(line: string): Promise<string> {
    return String(await this.qmp('human-monitor-command', { 'command-line': line }));
  }

  /** Resets the machine, as a reboot does, and starts the devices in use again. All blobs are gone. */
  async reset(): Promise<void> {
    await this.qmp('system_reset');
    await this.#gpu?.start();
    await this.#balloon?.start();
  }

  /** What QEMU has printed on stderr so far. */
  stderr(): string {
    return readFileSync(this.stderrFile, 'utf8');
  }

  /** Ends this QEMU and waits for its end. */
  async kill(): Promise<void> {
    this.qtest.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

interface QemuFiles {
  readonly qtest: string;
  readonly qmp: string;
  readonly testQmp: string | null;
  readonly stderr: string;
}

/**
 * Starts QEMU and waits until it obeys.
 * @throws Error with QEMU's stderr when it ends instead
 */
export async function startQemu(options: QemuOptions): Promise<RealQemu> {
  mkdirSync(options.dir, { recursive: true });
  const files: QemuFiles = {
    qtest: join(options.dir, 'qtest'),
    qmp: join(options.dir, 'qmp'),
    testQmp: options.testMonitor ? join(options.dir, 'qmp-test') : null,
    stderr: join(options.dir, 'stderr'),
  };
  for (const socket of [files.qtest, files.qmp, files.testQmp])
    if (socket !== null) rmSync(socket, { force: true });
  const program = options.program ?? 'qemu-system-x86_64';
  const args = qemuArguments(options, files);
  const stderr = openSync(files.stderr, 'w');
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', stderr] });
  closeSync(stderr);
  let failure: Error | null = null;
  child.once('error', error => {
    failure = error;
  });
  const alive = () => {
    if (failure !== null) throw failure;
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${program} ended at once: ${readFileSync(files.stderr, 'utf8').trim()}`);
    }
  };
  const qtest = await Qtest.open(files.qtest, alive);
  return new RealQemu(child, [program, ...args], qtest, files);
}

function qemuArguments(options: QemuOptions, files: QemuFiles): string[] {
  const memory = options.memoryMiB ?? 256;
  const backend = ['memory-backend-memfd', 'id=mem1', `size=${memory}M`];
  if (options.backend) backend.push(options.backend);
  const server = (path: string) => `unix:${path},server=on,wait=off`;
  return [
    ...(options.name === undefined ? [] : ['-name', options.name]),
    ...['-machine', 'pc,accel=tcg,memory-backend=mem1', '-S', '-m', `${memory}M,maxmem=2G,slots=2`],
    ...['-object', backend.join(',')],
    ...['-nodefaults', '-vga', 'none', '-display', 'none'],
    '-device',
    `virtio-gpu-pci,id=gpu0,addr=${slots.gpu},blob=true,${options.gpu ?? 'max_outputs=1,xres=1920,yres=1080'}`,
    ...(options.balloon ? ['-device', `virtio-balloon-pci,id=balloon0,addr=${slots.balloon}`] : []),
    ...['-qtest', server(files.qtest), '-qtest-log', '/dev/null'],
    ...['-qmp', server(files.qmp)],
    ...(files.testQmp === null ? [] : ['-qmp', server(files.testQmp)]),
    ...(options.args ?? []),
  ];
}
