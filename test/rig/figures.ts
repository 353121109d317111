/** What `npm run bench` measures inside the VM, where there is a real /dev/udmabuf. */
import { spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import type { Snapshot } from '../../model/snapshot.ts';
import { openHost } from '../../sampler/access.ts';
import { openKernel, readKernel } from '../../sampler/kernel.ts';
import { Sampler } from '../../sampler/sampler.ts';
import { median } from '../bench/result.ts';
import { timed } from '../bench/timed.ts';
import type { CaseContext } from './case.ts';
import { measureSampling, measureWindow, type Sampling, type WindowFootprint } from './footprint.ts';
import { Buffers } from './guest/buffers.ts';

export interface RigFigures {
  readonly coldStart: { readonly ms: number; readonly bareNodeMs: number; readonly pages: number };
  readonly snapshot: { readonly cpuMs: number; readonly copyCpuMs: number; readonly pages: number };
  readonly sampling: Sampling;
  readonly window: WindowFootprint;
}

const ROUNDS = 7;

/** @param t a context with a directory of its own */
export async function measureFigures(t: CaseContext): Promise<RigFigures> {
  const buffers = (megabytes: number) =>
    Buffers.start(
      [t.helper],
      ['--memfd', `shmem,${megabytes * 64}M`, '--count', '64', '--buffer', `0,${megabytes}M`],
    );
  const small = await buffers(4);
  const first = { coldStart: await coldStart(t.root, small.pid), snapshot: await warmSnapshot(small.pid) };
  await small.quit();
  // 64 buffers, 1 GiB together.
  const large = await buffers(16);
  const sampling = await measureSampling(large.pid);
  const window = await measureWindow(t, large.pid);
  await large.quit();
  return { ...first, sampling, window };
}

async function coldStart(root: string, pid: number): Promise<RigFigures['coldStart']> {
  // Started from the VM's own memory: the file system by which the VM sees the host is the rig's, and slow.
  const local = '/tmp/pinscope';
  for (const path of ['package.json', 'dist/cli', 'native/build/pinscope.node']) {
    cpSync(`${root}/${path}`, `${local}/${path}`, { recursive: true });
  }
  const program = [`${local}/dist/cli/pinscope.js`, 'snapshot', '--pid', String(pid), '--json'];
  const bare: number[] = [];
  const ours: number[] = [];
  let pages = 0;
  // One unmeasured round: the first start reads the programs through the VM's file system.
  for (let round = -1; round < ROUNDS; round++) {
    const bareRun = await run(['-e', '0']);
    const ourRun = await run(program);
    pages = pagesIn(JSON.parse(ourRun.stdout) as Snapshot);
    if (round < 0) continue;
    bare.push(bareRun.ms);
    ours.push(ourRun.ms);
  }
  return { ms: median(ours), bareNodeMs: median(bare), pages };
}

function run(args: readonly string[]): Promise<{ ms: number; stdout: string }> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.once('error', reject);
    child.once('close', code =>
      code === 0
        ? resolve({ ms: performance.now() - started, stdout: Buffer.concat(chunks).toString('utf8') })
        : reject(new Error(`${args[0]} ended with ${code}`)),
    );
  });
}

const pagesIn = ({ resources }: Snapshot): number =>
  resources.reduce((sum, { pages }) => sum + (pages?.count ?? 0), 0);

async function warmSnapshot(pid: number): Promise<RigFigures['snapshot']> {
  const host = openHost();
  const kernel = await openKernel(host.files, host.native, readKernel(host.files));
  if (kernel.state !== 'ok') throw new Error(JSON.stringify(kernel));
  const { memory, layout } = kernel.value;
  const sampler = new Sampler(host);
  const ours: number[] = [];
  const copies: number[] = [];
  let pages = 0;
  for (let round = -3; round < ROUNDS; round++) {
    let runs: (readonly [pfn: number, count: number])[] = [];
    const snapshot = await timed(async () => {
      const reading = await sampler.snapshot(pid);
      if (reading.state !== 'ok') throw new Error(JSON.stringify(reading));
      pages = pagesIn(reading.value);
      runs = reading.value.resources.flatMap(
        r => r.pages?.runs.map(({ pfn, count }) => [pfn, count] as const) ?? [],
      );
    });
    const copy = await timed(() =>
      memory.read(
        runs.map(([pfn, count]) => ({
          address: layout.page.vmemmap + BigInt(pfn * layout.page.bytes),
          bytes: count * layout.page.bytes,
        })),
      ),
    );
    if (round < 0) continue;
    ours.push(snapshot.cpu);
    copies.push(copy.cpu);
  }
  sampler.close();
  memory.close();
  return { cpuMs: median(ours), copyCpuMs: median(copies), pages };
}
