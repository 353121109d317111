/**
 * Boots one of the rig's kernels on this machine's own file tree and runs one job in it.
 *
 * ```ts
 * const kernel = await ensureKernel('6.12', console.error);
 * const { exitCode, resultsDir, seconds } = await runVm({
 *   kernel,
 *   job: 'uname -r >"$RESULTS/release"; node "$PINSCOPE_ROOT/dist/rig/inside.js"',
 *   append: ['hugepages=300', 'movablecore=1G'],
 * });
 * ```
 *
 * Inside, the job is a bash script run as root by PID 1. Every file of the host is at its own path, through an
 * overlay whose changes die with the VM; /proc, /sys, /dev, /tmp and /run are the VM's own, debugfs, tracefs,
 * securityfs and cgroup2 are mounted. Files that this user cannot read on the host cannot be read inside.
 *
 * | variable | value |
 * |---|---|
 * | `RESULTS` | directory whose files are `resultsDir` on the host, written through at once |
 * | `PINSCOPE_RIG_KERNEL` | `6.1`, `6.12` or `7.2` |
 * | `PINSCOPE_RIG_BZIMAGE` | the kernel image, for a nested guest |
 * | `PINSCOPE_RIG_MODULES` | `lib/modules/<release>`, empty on 6.1; also linked so that `modprobe vgem` just works |
 * | `PINSCOPE_RIG_CACHE`, `PINSCOPE_ROOT` | the rig's cache and the source tree |
 *
 * Any number of VMs may run at once. A VM never outlives the process that started it.
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { cacheDir, projectRoot, RigError, requirePackages, tied } from './host.ts';
import { hostRootInitramfs, inside, mountTags } from './initramfs.ts';
import type { Kernel } from './kernels.ts';

export interface VmOptions {
  readonly kernel: Kernel;
  /** Text of a bash script. Its exit status is the result; it need not return 0. */
  readonly job: string;
  /** RAM of the VM in MiB; 4096 when left out. */
  readonly memoryMiB?: number;
  /** Processors of the VM; 2 when left out. */
  readonly cpus?: number;
  /** More words for the kernel command line. */
  readonly append?: readonly string[];
  /** More arguments for the VM's own QEMU, for example a machine type and devices. */
  readonly qemuArgs?: readonly string[];
  /** More environment for the job. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where the job's `$RESULTS` goes; created; a new directory below the system's tmp when left out. */
  readonly resultsDir?: string;
  /** Host directories below /tmp or /run that the job needs at their own path, read-only. */
  readonly expose?: readonly string[];
  /** Limit for boot and job together; 300 s when left out. */
  readonly timeoutSeconds?: number;
  /** Receives the console as it comes, in pieces that may end within a line. */
  readonly onConsole?: (text: string) => void;
}

export interface VmResult {
  /** Exit status of the job, 128 + n when signal n ended it. */
  readonly exitCode: number;
  readonly resultsDir: string;
  /** Everything the kernel and the job printed. */
  readonly console: string;
  /** From the start of QEMU to its end. */
  readonly seconds: number;
  /** From the kernel's start to that of the job, by the VM's own clock. */
  readonly bootSeconds: number;
}

/** The VM ended, or had to be ended, before its job did. Says nothing about the job. */
export class VmDied extends Error {
  override name = 'VmDied';
  readonly #console: string;
  constructor(reason: string, console: string) {
    const tail = console.trimEnd().split(/\r?\n/).slice(-25).join('\n');
    super(`The VM ${reason}. Its console ends with:\n${tail}`);
    this.#console = console;
  }
  /** Everything printed until then. A getter, so that an uncaught error does not print it whole. */
  get console(): string {
    return this.#console;
  }
}

/**
 * Boots the VM, runs the job and waits for the VM to power off.
 * @throws VmDied when the kernel panics, QEMU ends early or the time is over
 * @throws RigError when a package is missing on this machine
 */
export async function runVm(options: VmOptions): Promise<VmResult> {
  requirePackages('boot the rig', [
    { path: 'qemu-system-x86_64', debianPackage: 'qemu-system-x86' },
    { path: 'setpriv', debianPackage: 'util-linux' },
    { path: '/bin/bash', debianPackage: 'bash' },
  ]);
  const initramfs = await hostRootInitramfs(options.kernel);
  const resultsDir = resolve(options.resultsDir ?? mkdtempSync(join(tmpdir(), 'pinscope-results-')));
  mkdirSync(resultsDir, { recursive: true });
  const control = mkdtempSync(join(tmpdir(), 'pinscope-rig-'));
  try {
    writeFileSync(join(control, 'job'), options.job);
    writeFileSync(join(control, 'env'), environment(options));
    writeFileSync(join(control, 'expose'), exposed(options.expose ?? []));
    const qemu = qemuArguments(options, initramfs, control, resultsDir);
    const status = join(control, 'status');
    const { console, seconds } = await bootAndRun(qemu, options);
    if (!existsSync(status)) throw new VmDied('stopped before its job ended', console);
    const exitCode = Number.parseInt(readFileSync(status, 'utf8'), 10);
    if (!Number.isInteger(exitCode)) throw new VmDied('left no readable exit status', console);
    const bootSeconds = Number(jobStart.exec(console)?.[1] ?? Number.NaN);
    return { exitCode, resultsDir, console, seconds, bootSeconds };
  } finally {
    rmSync(control, { recursive: true, force: true });
  }
}

/**
 * `kvm` where the processor virtualises and this user may open /dev/kvm, else `tcg`; `PINSCOPE_RIG_ACCEL` decides
 * over both. A /dev/kvm without the processor's vmx or svm exists on some cloud machines and stops at the first
 * instruction that it does not emulate ("KVM internal error", the BMI2 code of the kernel's own decompressor).
 */
export function accelerator(): string {
  const wanted = process.env.PINSCOPE_RIG_ACCEL;
  if (wanted) return wanted;
  if (!/^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))) return 'tcg';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return 'kvm';
  } catch {
    return 'tcg';
  }
}

function qemuArguments(options: VmOptions, initramfs: string, control: string, results: string): string[] {
  const share = (id: string, path: string, readonly: boolean) => [
    '-fsdev',
    // security_model=none: no xattrs and no privilege needed; remap: one export spans several file systems.
    `local,id=${id},path=${path.replaceAll(',', ',,')},security_model=none,multidevs=remap${readonly ? ',readonly=on' : ''}`,
    '-device',
    `virtio-9p-pci,fsdev=${id},mount_tag=${id}`,
  ];
  const tcg = ['-accel', 'tcg,thread=multi'];
  const accel = accelerator() === 'kvm' ? ['-accel', 'kvm', ...tcg] : tcg;
  // QEMU 7.2's VPGATHERDD faults on lanes that its mask leaves out, and a window's picture is scaled with it (Skia, AVX2).
  const cpu = accel.includes('kvm') ? 'max' : 'max,-avx2';
  const append = ['console=ttyS0', 'quiet', 'panic=-1', ...(options.append ?? [])];
  return [
    ...[...accel, '-cpu', cpu, '-smp', String(options.cpus ?? 2), '-m', `${options.memoryMiB ?? 4096}M`],
    ...[
      '-display',
      'none',
      '-vga',
      'none',
      '-net',
      'none',
      '-monitor',
      'none',
      '-serial',
      'stdio',
      '-no-reboot',
    ],
    ...['-kernel', options.kernel.bzImage, '-initrd', initramfs, '-append', append.join(' ')],
    ...share(mountTags.root, '/', true),
    ...share(mountTags.control, control, false),
    ...share(mountTags.results, results, false),
    ...(options.qemuArgs ?? []),
  ];
}

/** What the VM prints when it hands over to the job. */
const jobStart = /^rig: job starts at ([\d.]+)/m;
const bootAttempts = 3;
/** Twenty times what a boot takes on two loaded processors. */
const bootLimitSeconds = 120;

/**
 * Threaded TCG now and then runs a half patched instruction while a booting kernel rewrites its own code (jump
 * labels), and the kernel oopses; seen in one of fifty boots of a loaded machine. Nothing of the job has
 * run then, so the boot is repeated. A death after the start of the job is never repeated.
 */
async function bootAndRun(
  qemu: readonly string[],
  options: VmOptions,
): Promise<{ console: string; seconds: number }> {
  for (let attempt = 1; ; attempt++) {
    const started = performance.now();
    try {
      const console = await superviseQemu(qemu, options);
      // A panic reboots, and -no-reboot makes a clean exit of QEMU of that.
      if (/Kernel panic - not syncing/.test(console)) throw new VmDied('panicked', console);
      if (!jobStart.test(console)) throw new VmDied('stopped before its job began', console);
      return { console, seconds: (performance.now() - started) / 1000 };
    } catch (error) {
      if (!(error instanceof VmDied) || jobStart.test(error.console) || attempt === bootAttempts) throw error;
      options.onConsole?.(`\nrig: the VM died while it booted, attempt ${attempt} of ${bootAttempts}\n`);
    }
  }
}

function superviseQemu(args: readonly string[], options: VmOptions): Promise<string> {
  const timeoutSeconds = options.timeoutSeconds ?? 300;
  return new Promise((resolve, reject) => {
    const [program, words] = tied('KILL', 'qemu-system-x86_64', args);
    const child = spawn(program, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let console = '';
    let started = false;
    let late = 0;
    const endAfter = (seconds: number) =>
      setTimeout(() => {
        late = seconds;
        child.kill('SIGKILL');
      }, seconds * 1000);
    const timer = endAfter(timeoutSeconds);
    const bootTimer = endAfter(bootLimitSeconds);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => {
        console += text;
        if (!started && jobStart.test(console)) {
          started = true;
          clearTimeout(bootTimer);
        }
        options.onConsole?.(text);
      });
    }
    child.on('error', error => {
      clearTimeout(timer);
      clearTimeout(bootTimer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearTimeout(bootTimer);
      if (late > 0) reject(new VmDied(`took longer than ${late} s and was ended`, console));
      else if (code !== 0) reject(new VmDied(`ended: QEMU gave ${signal ?? `exit status ${code}`}`, console));
      else resolve(console);
    });
  });
}

function environment(options: VmOptions): string {
  const { kernel } = options;
  const variables: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    RESULTS: inside.results,
    PINSCOPE_ROOT: projectRoot(),
    PINSCOPE_RIG_CACHE: cacheDir(),
    PINSCOPE_RIG_KERNEL: kernel.id,
    PINSCOPE_RIG_BZIMAGE: kernel.bzImage,
    PINSCOPE_RIG_MODULES: kernel.modulesDir ?? '',
    ...options.env,
  };
  // The Node that runs the rig is the one to use inside, wherever it is installed.
  variables.PATH = `${join(process.execPath, '..')}:${variables.PATH}`;
  const quoted = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`;
  return Object.entries(variables)
    .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
    .join('');
}

/** Directories that the VM's own /tmp and /run would hide, one a line. */
function exposed(asked: readonly string[]): string {
  const hidden = [...asked, projectRoot(), cacheDir()]
    .map(path => resolve(path))
    .filter(path => /^\/(tmp|run)\//.test(path));
  for (const path of hidden) {
    if (!existsSync(path)) throw new RigError(`The rig was asked to expose ${path}, which does not exist.`);
  }
  return [...new Set(hidden)].map(path => `${path}\n`).join('');
}
