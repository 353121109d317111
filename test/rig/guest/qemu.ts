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
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { TRACE_PATTERNS } from '../../../sampler/qemu-trace.ts';
import { VirtioBalloon } from './balloon.ts';
import { VirtioGpu } from './gpu.ts';
import { QemuProcess, type QemuProcessOptions } from './qemu-process.ts';
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

export interface QemuOptions extends QemuProcessOptions {
  /** Guest RAM in MiB; 256 when left out. */
  readonly memoryMiB?: number;
  /** Properties of the memory-backend-memfd, for example `hugetlb=on,prealloc=on`; plain shmem when left out. */
  readonly backend?: string;
  /** The memfd of `backend` is there beside the machine's RAM, which is QEMU's own and has no file. */
  readonly spareBackend?: boolean;
  /** Properties of virtio-gpu-pci after `blob=true`; `max_outputs=1,xres=1920,yres=1080` when left out. */
  readonly gpu?: string;
  /** Adds a virtio-balloon-pci, id `balloon0`. */
  readonly balloon?: boolean;
  /** Traces what the guest does with its resources, to standard error unless `args` have a `-D`. */
  readonly trace?: boolean;
}

export class RealQemu extends QemuProcess {
  readonly #qtestSocket: string;
  #qtest: Qtest | null = null;
  #gpu: VirtioGpu | null = null;
  #balloon: VirtioBalloon | null = null;

  /** @internal use {@link startQemu} */
  constructor(options: QemuOptions) {
    const socket = join(options.dir, 'qtest');
    rmSync(socket, { force: true });
    super(options, qemuArguments(options, socket));
    this.#qtestSocket = socket;
  }

  /** @internal */
  async connect(): Promise<void> {
    this.#qtest = await Qtest.open(this.#qtestSocket, () => this.assertAlive());
  }

  get qtest(): Qtest {
    if (this.#qtest === null) throw new Error('QEMU is not connected yet');
    return this.#qtest;
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

  /** Resets the machine, as a reboot does, and starts the devices in use again. All blobs are gone. */
  async reset(): Promise<void> {
    await this.qmp('system_reset');
    await this.#gpu?.start();
    await this.#balloon?.start();
  }

  override async kill(): Promise<void> {
    this.#qtest?.close();
    await super.kill();
  }
}

/**
 * Starts QEMU and waits until it obeys.
 * @throws Error with QEMU's stderr when it ends instead
 */
export async function startQemu(options: QemuOptions): Promise<RealQemu> {
  const vm = new RealQemu(options);
  await vm.connect();
  return vm;
}

function qemuArguments(options: QemuOptions, qtestSocket: string): string[] {
  const memory = options.memoryMiB ?? 256;
  const backend = ['memory-backend-memfd', 'id=mem1', `size=${memory}M`];
  if (options.backend) backend.push(options.backend);
  return [
    ...[
      '-machine',
      `pc,accel=tcg${options.spareBackend ? '' : ',memory-backend=mem1'}`,
      '-S',
      '-m',
      `${memory}M,maxmem=2G,slots=2`,
    ],
    ...['-object', backend.join(',')],
    ...['-nodefaults', '-vga', 'none', '-display', 'none'],
    '-device',
    `virtio-gpu-pci,id=gpu0,addr=${slots.gpu},blob=true,${options.gpu ?? 'max_outputs=1,xres=1920,yres=1080'}`,
    ...(options.balloon ? ['-device', `virtio-balloon-pci,id=balloon0,addr=${slots.balloon}`] : []),
    ...(options.trace ? TRACE_PATTERNS.flatMap(pattern => ['-trace', pattern]) : []),
    ...['-qtest', `unix:${qtestSocket},server=on,wait=off`, '-qtest-log', '/dev/null'],
  ];
}
