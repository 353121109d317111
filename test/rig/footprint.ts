/** What watching costs: processor time a sample, and the memory of every process, over many samples of 64 buffers. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openHost } from '../../sampler/access.ts';
import { openKernel, readKernel } from '../../sampler/kernel.ts';
import { Sampler } from '../../sampler/sampler.ts';
import { median } from '../bench/result.ts';
import { timed } from '../bench/timed.ts';
import type { CaseContext } from './case.ts';
import { Desktop, makeUser } from './guest/desktop.ts';
import { Polkit } from './guest/polkit.ts';

const MiB = 2 ** 20;
/** A thousand tell growth; fewer are enough to see that it still runs. */
const SAMPLES = Number(process.env.PINSCOPE_BENCH_SAMPLES ?? 1000);
/** By then code is compiled and caches are full; of few samples, at the half. */
const WARM = Math.min(100, SAMPLES >> 1);

export interface Sampling {
  readonly samples: number;
  readonly pages: number;
  /** Median of the samples behind the warm-up. */
  readonly cpuMs: number;
  /** Only copying the struct pages that a sample must look at. */
  readonly copyCpuMs: number;
  /** What is reachable, heap and buffers, after a collection: behind the warm-up, and at the end. */
  readonly keptWarmMiB: number;
  readonly keptLastMiB: number;
  /** Resident memory of the process, medians of the quarters behind the warm-up. It also has what waits for collection. */
  readonly residentMiB: readonly number[];
}

/** One process that samples as fast as it can, as root. */
export async function measureSampling(pid: number): Promise<Sampling> {
  const host = openHost();
  const kernel = await openKernel(host.files, host.native, readKernel(host.files));
  if (kernel.state !== 'ok') throw new Error(JSON.stringify(kernel));
  const { memory, layout } = kernel.value;
  const sampler = new Sampler(host);
  const scratch = new Uint8Array(32 * MiB);
  const ours: number[] = [];
  const copies: number[] = [];
  const resident: number[] = [];
  const kept: number[] = [];
  let pages = 0;
  for (let i = 0; i < SAMPLES; i++) {
    let runs: { pfn: number; count: number }[] = [];
    const sample = await timed(async () => {
      const reading = await sampler.sample(pid);
      if (reading.state !== 'ok') throw new Error(JSON.stringify(reading));
      const all = reading.value.resources.flatMap(resource => (resource.pages ? [resource.pages] : []));
      pages = all.reduce((sum, { count }) => sum + count, 0);
      runs = all.flatMap(({ runs }) =>
        Array.from(runs.pfn, (pfn, row) => ({ pfn, count: runs.count[row] ?? 0 })),
      );
    });
    if (i + 1 === WARM || i + 1 === SAMPLES) kept.push(keptMiB());
    if (i < WARM) continue;
    resident.push(process.memoryUsage().rss / MiB);
    ours.push(sample.cpu);
    if ((i - WARM) % 50 !== 0) continue;
    const ranges = runs.map(({ pfn, count }) => ({
      address: layout.page.vmemmap + BigInt(pfn * layout.page.bytes),
      bytes: count * layout.page.bytes,
    }));
    copies.push((await timed(() => memory.read(ranges, scratch))).cpu);
  }
  sampler.close();
  memory.close();
  return {
    samples: SAMPLES,
    pages,
    cpuMs: median(ours),
    copyCpuMs: median(copies),
    keptWarmMiB: kept[0] ?? Number.NaN,
    keptLastMiB: kept[1] ?? Number.NaN,
    residentMiB: [0, 1, 2, 3].map(quarter =>
      median(resident.slice((quarter * resident.length) / 4, ((quarter + 1) * resident.length) / 4)),
    ),
  };
}

/** Heap and buffers that are still reachable. */
function keptMiB(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Buffers of dead objects are freed by the second.
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / MiB;
}

export interface WindowFootprint {
  /** What each process keeps resident, MiB, by what it is; what several share is counted at each. */
  readonly resident: Readonly<Record<string, number>>;
  /** Of all together, shared memory counted once (PSS). */
  readonly totalMiB: number;
  /** Processor time of the sampler's process a sample. */
  readonly samplerCpuMs: number;
  readonly samples: number;
}

/** The packaged window of an ordinary user, exact pages granted, sampling once a second. */
export async function measureWindow(t: CaseContext, pid: number): Promise<WindowFootprint> {
  const user = await makeUser(t);
  const polkit = await Polkit.start('installing');
  t.atEnd(() => polkit.stop());
  const desktop = await Desktop.start(t, user);
  const window = await desktop.open('--pid', String(pid));
  await window.grant('Kernel memory');
  await window.page.getByText('Kernel memory granted').first().waitFor();
  await window.resourcesSay('connected');
  await window.page.waitForTimeout(20_000);
  const processes = await programProcesses(t);
  const sampler = processes.find(({ role }) => role === 'sampler')?.pid;
  if (sampler === undefined) throw new Error(`no sampler among ${JSON.stringify(processes)}`);
  const before = { cpu: cpuMs(sampler), samples: await window.samplesTaken() };
  await window.page.waitForTimeout(30_000);
  const samples = (await window.samplesTaken()) - before.samples;
  const samplerCpuMs = (cpuMs(sampler) - before.cpu) / samples;
  const resident: Record<string, number> = {};
  let totalMiB = 0;
  for (const { pid: each, role } of processes) {
    resident[role] = (resident[role] ?? 0) + kibibytes(`/proc/${each}/smaps_rollup`, 'Rss') / 1024;
    totalMiB += kibibytes(`/proc/${each}/smaps_rollup`, 'Pss') / 1024;
  }
  return { resident, totalMiB, samplerCpuMs, samples };
}

/** The window's processes and its broker, with what each is. */
async function programProcesses(t: CaseContext): Promise<{ pid: number; role: string }[]> {
  const lines = (await t.sh("ps -eo pid,comm,args | awk '$2 ~ /^pinscope/'")).trim().split('\n');
  return lines.map(line => {
    const [, pid, args = ''] = /^\s*(\d+)\s+\S+\s+(.*)$/.exec(line) ?? [];
    const type = /--type=([\w-]+)/.exec(args)?.[1];
    const role = /libexec\/pinscope\/pinscope-broker/.test(args)
      ? 'broker'
      : type === undefined
        ? 'main'
        : type === 'renderer'
          ? 'page'
          : args.includes('node.mojom.NodeService')
            ? 'sampler'
            : type === 'utility'
              ? 'network'
              : type === 'gpu-process'
                ? 'drawing'
                : 'zygotes';
    return { pid: Number(pid), role };
  });
}

/** Processor time of a process until now: fields 14 and 15 of its stat, in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function kibibytes(file: string, field: string): number {
  return Number(
    new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(file, 'utf8'))?.[1] ?? Number.NaN,
  );
}
