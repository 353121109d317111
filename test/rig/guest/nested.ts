/**
 * A real QEMU with a real guest inside a rig VM: the command line of the udmabuf hugetlb discussion on linux-mm of
 * June 2023, scaled from 4096 to 400 MiB, with no display of its own.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QemuProcess, type QemuProcessOptions } from './qemu-process.ts';

/** Bytes of the console's framebuffer, 1920 x 1080 x 4. */
export const framebufferBytes = 8294400;

/**
 * A stock Debian kernel, less what it does for hardware and for keys that this guest has not: under TCG in TCG this
 * brings the framebuffer in 50 s in place of 120. Without the built-in certificates modules load as unsigned.
 */
const guestCommandLine = [
  ...['console=ttyS0', 'quiet', 'panic=-1'],
  ...['acpi=off', 'tsc=reliable', 'no_timer_check', 'lpj=4000000', 'nokaslr', 'mitigations=off'],
  ...['nowatchdog', 'cryptomgr.notests', 'audit=0', 'apparmor=0', 'ipv6.disable=1'],
  'initcall_blacklist=load_system_certificate_list,init_evm,init_ima',
].join(' ');

export interface NestedOptions extends QemuProcessOptions {
  /** Guest RAM in MiB; 400 when left out. */
  readonly memoryMiB?: number;
  /** Properties of the memory backend; `hugetlb=on` when left out. */
  readonly backend?: string;
}

export interface FoundBuffer {
  readonly fd: number;
  /** Inode of the dma-buf. */
  readonly inode: number;
  /** Since the start of QEMU. */
  readonly seconds: number;
}

export class NestedGuest extends QemuProcess {
  readonly #started = performance.now();
  readonly #consoleFile: string;

  /** @internal use {@link startNestedGuest} */
  constructor(options: NestedOptions) {
    const consoleFile = join(options.dir, 'console');
    super(options, nestedArguments(options, consoleFile));
    this.#consoleFile = consoleFile;
  }

  /** What the guest has printed so far. */
  console(): string {
    return readFileSync(this.#consoleFile, 'utf8');
  }

  /**
   * Waits until QEMU holds a dma-buf of `bytes`. Under TCG in TCG the guest takes about 50 s to make it.
   *
   * Keep `movablecore` from the VM's kernel: QEMU's creation then has to migrate huge pages of a running guest, and on
   * 7.2 that failed in two of three runs (ENOMEM, all ten passes of migrate_pages in vain). Nothing retries it.
   * @throws Error with QEMU's warning when it could not make a udmabuf, or with the guest's last lines when that
   *   takes longer than `timeoutSeconds`
   */
  async waitForBuffer(bytes = framebufferBytes, timeoutSeconds = 300): Promise<FoundBuffer> {
    for (;;) {
      this.assertAlive();
      const seconds = (performance.now() - this.#started) / 1000;
      const found = findBuffer(this.pid, bytes);
      if (found !== null) return { ...found, seconds };
      const warning = /^.*virtio_gpu_create_udmabuf.*$/m.exec(this.stderr())?.[0];
      if (warning !== undefined) throw new Error(`the nested guest's framebuffer got no udmabuf: ${warning}`);
      if (seconds > timeoutSeconds) {
        const tail = this.console().split('\n').slice(-10).join('\n');
        throw new Error(`the nested guest made no buffer of ${bytes} bytes in ${timeoutSeconds} s:\n${tail}`);
      }
      await sleep(500);
    }
  }
}

/** Starts the guest that `nestedGuestEnvironment` prepared on the host. */
export function startNestedGuest(options: NestedOptions): NestedGuest {
  return new NestedGuest(options);
}

function nestedArguments(options: NestedOptions, consoleFile: string): string[] {
  const memory = options.memoryMiB ?? 400;
  const kernel = process.env.PINSCOPE_NESTED_KERNEL;
  const initramfs = process.env.PINSCOPE_NESTED_INITRAMFS;
  if (!kernel || !initramfs) throw new Error('the VM was started without the environment of a nested guest');
  return [
    ...['-accel', 'tcg', '-smp', '1', '-m', `${memory}m`],
    ...['-vga', 'none', '-display', 'none', '-net', 'none', '-monitor', 'none'],
    ...['-device', 'virtio-gpu-pci,max_outputs=1,blob=true,xres=1920,yres=1080'],
    ...['-object', `memory-backend-memfd,${options.backend ?? 'hugetlb=on'},id=mem1,size=${memory}M`],
    ...['-machine', 'memory-backend=mem1'],
    ...['-kernel', kernel, '-initrd', initramfs, '-append', guestCommandLine],
    ...['-serial', `file:${consoleFile}`, '-no-reboot'],
  ];
}

function findBuffer(pid: number, bytes: number): { fd: number; inode: number } | null {
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    try {
      if (!readlinkSync(path).startsWith('/dmabuf:')) continue;
      const { size, ino } = statSync(path);
      if (size === bytes) return { fd: Number(fd), inode: ino };
    } catch {
      // closed meanwhile
    }
  }
  return null;
}
