/**
 * Records the hosts `test/fixtures/linux-<kernel>` that the unit tests read: boots the kernel with zones, pools and
 * areas that stock settings lack, and keeps what `guest/record.ts` copies inside.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from './host.ts';
import type { Kernel } from './kernels.ts';
import { runVm, type VmOptions } from './vm.ts';

/** A movable zone, both sizes of huge pages, and a CMA area where the kernel has CMA. */
export const recordingBoot: readonly string[] = [
  'default_hugepagesz=2M',
  'hugepagesz=1G',
  'hugepages=1',
  'hugepagesz=2M',
  'hugepages=200',
  'movablecore=1G',
  'cma=256M',
];

/** In less than 6 GiB, 6.1 finds no whole GiB at boot: its initramfs ends at 2 GiB, its page structures at 5 GiB. */
export const recordingMemoryMiB = 6144;

/** Runs a recording in the VM, and takes what it needs of its results before they are removed. */
async function recorded<T>(options: Omit<VmOptions, 'resultsDir'>, take: (results: string) => T): Promise<T> {
  const results = mkdtempSync(join(tmpdir(), 'pinscope-record-'));
  try {
    const { exitCode, console } = await runVm({ append: recordingBoot, ...options, resultsDir: results });
    if (exitCode !== 0) throw new Error(`the recording on ${options.kernel.id} failed:\n${console}`);
    return take(results);
  } finally {
    rmSync(results, { recursive: true, force: true });
  }
}

/**
 * Replaces the snapshot that the program shows where nothing uses udmabuf.
 * @param insideCommand shell command that, inside, writes `$RESULTS/snapshot.json`
 * @returns the file
 */
export function recordBundledSnapshot(kernel: Kernel, insideCommand: string): Promise<string> {
  return recorded({ kernel, job: insideCommand }, results => {
    const target = join(projectRoot(), 'model/recorded-snapshot.json');
    cpSync(join(results, 'snapshot.json'), target);
    return target;
  });
}

/**
 * Records samples of a QEMU to which something happens.
 * @param insideCommand shell command that, inside, writes `$RESULTS/session.jsonl`
 * @returns its lines
 */
export function recordSessionLines(kernel: Kernel, insideCommand: string): Promise<string> {
  return recorded({ kernel, job: insideCommand, timeoutSeconds: 900 }, results =>
    readFileSync(join(results, 'session.jsonl'), 'utf8'),
  );
}

/**
 * Replaces the traces of QEMU.
 * @param insideCommand shell command that, inside, writes to `$RESULTS/trace`
 * @returns the directory
 */
export function recordTraces(kernel: Kernel, insideCommand: string): Promise<string> {
  return recorded({ kernel, job: insideCommand }, results => {
    const target = join(projectRoot(), 'test/fixtures/qemu-7.2/trace');
    cpSync(join(results, 'trace'), target, { recursive: true });
    return target;
  });
}

/**
 * Replaces the recording of one kernel.
 * @param insideCommand shell command that, inside, calls `recordMachine("$RESULTS/host", …)`
 * @param expose as in VmOptions
 * @returns the fixture's directory
 */
export function recordFixtures(
  kernel: Kernel,
  insideCommand: string,
  expose: readonly string[] = [],
): Promise<string> {
  const job = `modprobe vgem 2>/dev/null\n${insideCommand}\n`;
  return recorded({ kernel, job, memoryMiB: recordingMemoryMiB, expose }, results => {
    const target = join(projectRoot(), 'test/fixtures', `linux-${kernel.id}`);
    rmSync(target, { recursive: true, force: true });
    cpSync(join(results, 'host'), target, { recursive: true, verbatimSymlinks: true });
    const notes = join(target, 'COMMANDS.md');
    const origin = kernel.modulesDir === null ? 'built from Debian’s linux-source-6.1' : 'Debian’s own';
    writeFileSync(
      notes,
      [
        `# linux-${kernel.id}`,
        '',
        `Linux ${kernel.release} (${kernel.packageVersion}, ${origin}) in a VM of the rig: 2 CPUs, ${recordingMemoryMiB / 1024} GiB, command line`,
        `\`${recordingBoot.join(' ')}\`. Made by \`node dist/rig/rig.js record ${kernel.id}\`; pids are replaced by names.`,
        '',
        readFileSync(notes, 'utf8'),
      ].join('\n'),
    );
    return target;
  });
}
