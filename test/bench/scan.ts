import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { loadNative } from '../../native/index.ts';
import { reserveHugePages } from './huge-pages.ts';
import { alternate, type Bench, type BenchResult, Skip } from './result.ts';
import { onEnd } from './undo.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const pageSize = 4 * KiB;

/** The chunk that is best for the bare loop: of 16 KiB … 4 MiB, measured on 6.18 with both kinds of memory. */
const baselineChunk = 64 * KiB;

/** Beside the bundle. */
const helper = fileURLToPath(new URL('./scan-loop', import.meta.url));

/** `scan-loop` with these arguments, asked by lines. */
class Helper {
  readonly pid: number;
  readonly end: () => void;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(...args: (string | number)[]) {
    const child = spawn(helper, args.map(String), { stdio: ['pipe', 'pipe', 'inherit'] });
    child.on('error', error => process.stderr.write(`${error.message}\n`));
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.pid = child.pid ?? -1;
    this.end = onEnd(() => child.kill('SIGKILL'));
  }

  ask(): void {
    this.#child.stdin?.write('\n');
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${helper} ended early`);
    return value;
  }

  /** Ends it and waits until its memory is free again. */
  async close(): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const exited = new Promise(resolve => child.once('exit', resolve));
      this.end();
      await exited;
    }
  }
}

/** Scans the memory of a process that holds `bytes` of `kind` by one call, against a bare pread loop in C. */
async function scan(
  name: string,
  kind: 'shmem' | 'hugetlb',
  bytes: number,
  pairs: number,
): Promise<BenchResult> {
  const native = loadNative();
  const pages = bytes / pageSize;
  const holder = new Helper('hold', kind, bytes);
  let loop: Helper | undefined;
  let fd: number | undefined;
  try {
    const address = Number(await holder.line());
    const bare = new Helper('scan', holder.pid, address, bytes, baselineChunk);
    loop = bare;
    const pagemap = openSync(`/proc/${holder.pid}/pagemap`, 'r');
    fd = pagemap;
    const ranges = { first: Float64Array.of(address / pageSize), count: Float64Array.of(pages) };
    let runs = 0;

    const { bestRatio, cpuRatio, ...times } = await alternate(
      pairs,
      async () => {
        bare.ask();
        const [clock, cpu] = (await bare.line()).split(' ').map(ns => Number(ns) / 1e6);
        return { clock: clock ?? Number.NaN, cpu: cpu ?? Number.NaN };
      },
      async () => {
        const cpu = process.cpuUsage();
        const begin = process.hrtime.bigint();
        const result = await native.readPageRuns(pagemap, ranges);
        const clock = Number(process.hrtime.bigint() - begin) / 1e6;
        const { user, system } = process.cpuUsage(cpu);
        runs = result.page.length;
        const present = result.count.reduce(
          (sum, count, run) => sum + ((result.flags[run] ?? 0) >> 8) * count,
          0,
        );
        if (present !== pages) throw new Error(`${name}: ${present} of ${pages} pages are present`);
        return { clock, cpu: (user + system) / 1e3 };
      },
    );
    return {
      name,
      unit: 'ms',
      ...times,
      details: {
        pages,
        pagesPerSecond: Math.round(pages / (times.value / 1e3)),
        runs,
        pairs,
        bestRatio,
        cpuRatio,
      },
    };
  } finally {
    if (fd !== undefined) closeSync(fd);
    await loop?.close();
    await holder.close();
  }
}

export const scanShmem4k: Bench = {
  name: 'scan-shmem-4k',
  run: () => scan('scan-shmem-4k', 'shmem', 4 * GiB, 31),
};

export const scanHugetlb2m: Bench = {
  name: 'scan-hugetlb-2m',
  async run() {
    const giveBack = reserveHugePages(GiB / (2 * MiB));
    if (typeof giveBack === 'string') throw new Skip(giveBack);
    try {
      // A scan takes less than a millisecond: more pairs cost nothing.
      return await scan('scan-hugetlb-2m', 'hugetlb', GiB, 101);
    } finally {
      giveBack();
    }
  },
};
