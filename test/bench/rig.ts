import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RigFigures } from '../rig/figures.ts';
import { projectRoot, RigError } from '../rig/host.ts';
import { ensureKernel } from '../rig/kernels.ts';
import { runVm } from '../rig/vm.ts';
import { type Bench, type BenchResult, Skip } from './result.ts';

/** All rig benches look at one boot. */
let figures: Promise<RigFigures> | undefined;

/** Boots 6.12 and measures inside it: 64 live buffers of 4 MiB, 65,536 pages, and of 16 MiB. */
async function measure(): Promise<RigFigures> {
  const results = mkdtempSync(join(tmpdir(), 'pinscope-bench-'));
  const samples = process.env.PINSCOPE_BENCH_SAMPLES;
  try {
    const { exitCode, console } = await runVm({
      kernel: await ensureKernel('6.12', line => process.stderr.write(`${line}\n`)),
      job: `exec '${process.execPath}' '${projectRoot()}/dist/rig/inside.js' figures`,
      resultsDir: results,
      env: samples === undefined ? {} : { PINSCOPE_BENCH_SAMPLES: samples },
      timeoutSeconds: 1800,
    });
    if (exitCode !== 0) throw new Error(`the rig's job ended with ${exitCode}:\n${console.slice(-2000)}`);
    return JSON.parse(readFileSync(join(results, 'figures.json'), 'utf8')) as RigFigures;
  } catch (error) {
    if (error instanceof RigError) throw new Skip(error.message);
    throw error;
  } finally {
    rmSync(results, { recursive: true, force: true });
  }
}

const rigBench = (name: string, pick: (all: RigFigures) => Omit<BenchResult, 'name' | 'ratio'>): Bench => ({
  name,
  async run() {
    figures ??= measure();
    const result = pick(await figures);
    const { value, baseline } = result;
    return { name, ...result, ratio: value === null || baseline === null ? null : value / baseline };
  },
});

/** The whole program from exec to the last byte of JSON, against the bare start of Node in the same VM, in turn. */
export const coldStart = rigBench('cold-start-64-buffers', ({ coldStart: { ms, bareNodeMs, pages } }) => ({
  unit: 'ms',
  value: ms,
  baseline: bareNodeMs,
  details: { pages },
}));

/** Processor time of one of 1,000 samples of 64 buffers, 1 GiB together, and what the process keeps resident meanwhile. */
export const sampleGigabyte = rigBench('sample-64-buffers-1g', ({ sampling }) => {
  const { cpuMs, copyCpuMs, residentMiB, ...counts } = sampling;
  const quarters = residentMiB.map((median, i) => [`resident${i + 1}MiB`, median] as const);
  const details = { ...counts, ...Object.fromEntries(quarters) };
  return { unit: 'ms', value: cpuMs, baseline: copyCpuMs, details };
});

/** Memory of the window that watches them: warmed up against nothing, so there is no ratio. */
export const windowMemory = rigBench('window-memory', ({ window }) => ({
  unit: 'MiB',
  value: window.totalMiB,
  baseline: null,
  details: { ...window.resident, samplerCpuMs: window.samplerCpuMs, samples: window.samples },
}));

/** Processor time of a warm snapshot in a running sampler, against only copying the kernel memory that it must look at. */
export const snapshotCpu = rigBench('snapshot-cpu', ({ snapshot: { cpuMs, copyCpuMs, pages } }) => ({
  unit: 'ms',
  value: cpuMs,
  baseline: copyCpuMs,
  details: { pages },
}));
