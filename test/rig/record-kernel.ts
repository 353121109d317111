/**
 * Records one part of the hosts `test/fixtures/linux-<kernel>` alone: `kernel/`, which `guest/record-kernel.ts` makes inside, or
 * `pools/`, by `guest/record-pools.ts`.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from './host.ts';
import type { Kernel } from './kernels.ts';
import { recordingBoot, recordingMemoryMiB } from './record.ts';
import { runVm } from './vm.ts';

/**
 * Replaces recorded kernel memory of one kernel.
 * @param insideCommand shell command that, inside, calls `recordKernel("$RESULTS/kernel", …)`, or the other with `pools`
 * @returns the directory
 */
export async function recordKernelFixtures(
  kernel: Kernel,
  part: 'kernel' | 'pools',
  insideCommand: string,
): Promise<string> {
  const results = mkdtempSync(join(tmpdir(), 'pinscope-record-'));
  try {
    const { exitCode, console } = await runVm({
      kernel,
      job: `modprobe vgem 2>/dev/null\n${insideCommand}\n`,
      append: recordingBoot,
      memoryMiB: recordingMemoryMiB,
      resultsDir: results,
      timeoutSeconds: 900,
    });
    if (exitCode !== 0) throw new Error(`the recording on ${kernel.id} failed:\n${console}`);
    const target = join(projectRoot(), 'test/fixtures', `linux-${kernel.id}`, part);
    rmSync(target, { recursive: true, force: true });
    cpSync(join(results, part), target, { recursive: true });
    return target;
  } finally {
    rmSync(results, { recursive: true, force: true });
  }
}
