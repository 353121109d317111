import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reserveHugePages } from '../test/bench/huge-pages.ts';
import { withHolder } from '../test/holder.ts';
import { isRoot, lacks } from '../test/need.ts';
import { type EntryRanges, loadNative, type PageRuns, type ValueRuns } from './index.ts';

const native = loadNative();
const frameMask = (1n << 55n) - 1n;
const present = 1n << 63n;
const swapped = 1n << 62n;

const ranges = (...pairs: [first: number, count: number][]): EntryRanges => ({
  first: Float64Array.from(pairs, pair => pair[0]),
  count: Float64Array.from(pairs, pair => pair[1]),
});

/** Entries `first` … of `file`, or fewer where it ends. */
function entriesOf(file: Buffer, first: number, count: number): bigint[] {
  const entries: bigint[] = [];
  for (let at = first * 8; entries.length < count && at + 8 <= file.length; at += 8) {
    entries.push(file.readBigUInt64LE(at));
  }
  return entries;
}

interface Run {
  page: number;
  count: number;
  first: bigint;
}

/** The rule of the contract, written down once more: one entry after the other, no cleverness. */
function naiveRuns(file: Buffer, { first, count }: EntryRanges, goesOn: (run: Run, next: bigint) => boolean) {
  const runs: Run[] = [];
  let missing = 0;
  first.forEach((page, i) => {
    const wanted = count[i] ?? 0;
    const entries = entriesOf(file, page, wanted);
    missing += wanted - entries.length;
    let run: Run | undefined;
    entries.forEach((entry, at) => {
      if (run !== undefined && goesOn(run, entry)) {
        run.count++;
      } else {
        run = { page: page + at, count: 1, first: entry };
        runs.push(run);
      }
    });
  });
  return { runs, missing };
}

function naivePageRuns(file: Buffer, wanted: EntryRanges): PageRuns {
  const { runs, missing } = naiveRuns(file, wanted, (run, next) => {
    if (next >> 55n !== run.first >> 55n) return false;
    const frame = run.first & frameMask;
    const steps = (run.first & present) !== 0n && frame !== 0n;
    return (next & frameMask) === (steps ? frame + BigInt(run.count) : frame);
  });
  return {
    page: Float64Array.from(runs, run => run.page),
    count: Float64Array.from(runs, run => run.count),
    frame: Float64Array.from(runs, run => Number(run.first & frameMask)),
    flags: Uint16Array.from(runs, run => Number(run.first >> 55n)),
    missing,
  };
}

function naiveValueRuns(file: Buffer, wanted: EntryRanges): ValueRuns {
  const { runs, missing } = naiveRuns(file, wanted, (run, next) => next === run.first);
  return {
    page: Float64Array.from(runs, run => run.page),
    count: Float64Array.from(runs, run => run.count),
    value: BigUint64Array.from(runs, run => run.first),
    missing,
  };
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pinscope-pages-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function withFile<T>(content: Uint8Array, use: (fd: number) => Promise<T>): Promise<T> {
  const path = join(folder, 'entries');
  writeFileSync(path, content);
  const fd = openSync(path, 'r');
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
}

function fileOf(entries: readonly bigint[], tail = 0): Buffer {
  const file = Buffer.alloc(entries.length * 8 + tail, 0xff);
  entries.forEach((entry, i) => {
    file.writeBigUInt64LE(entry, i * 8);
  });
  return file;
}

const runsOf = (entries: readonly bigint[]) =>
  withFile(fileOf(entries), fd => native.readPageRuns(fd, ranges([0, entries.length])));

describe('the merge rule', () => {
  test.each<[string, bigint[], number[]]>([
    ['present pages whose PFNs rise', [present | 7n, present | 8n, present | 9n], [3]],
    ['present pages whose PFNs fall', [present | 9n, present | 8n], [1, 1]],
    ['present pages of one PFN', [present | 9n, present | 9n], [1, 1]],
    ['hidden PFNs', [present, present, present], [3]],
    ['a hidden PFN and PFN 1', [present, present | 1n], [1, 1]],
    ['holes', [0n, 0n], [2]],
    ['soft-dirty holes', [1n << 55n, 1n << 55n, 0n], [2, 1]],
    ['equal swap entries', [swapped | 5n, swapped | 5n], [2]],
    ['swap entries that rise', [swapped | 5n, swapped | 6n], [1, 1]],
    ['other flags', [present | 7n, present | (1n << 61n) | 8n], [1, 1]],
    ['the carry out of the last PFN', [present | frameMask, (present | frameMask) + 1n], [1, 1]],
    ['the last PFN twice', [present | frameMask, present | frameMask], [1, 1]],
  ])('%s', async (_, entries, counts) => {
    expect(Array.from((await runsOf(entries)).count)).toEqual(counts);
  });

  test('the columns of a run', async () => {
    const result = await runsOf([0n, present | (1n << 61n) | 0x1234n, present | (1n << 61n) | 0x1235n]);
    expect(result).toEqual({
      page: Float64Array.of(0, 1),
      count: Float64Array.of(1, 2),
      frame: Float64Array.of(0, 0x1234),
      flags: Uint16Array.of(0, 0b101000000),
      missing: 0,
    });
  });

  test('no run reaches over two ranges, in any order of them', async () => {
    const entries = Array.from({ length: 100 }, (_, i) => present | BigInt(1000 + i));
    const result = await withFile(fileOf(entries), fd =>
      native.readPageRuns(fd, ranges([0, 10], [10, 10], [22, 5], [5, 10], [5, 0], [90, 20], [200, 3])),
    );
    expect(Array.from(result.page)).toEqual([0, 10, 22, 5, 90]);
    expect(Array.from(result.count)).toEqual([10, 10, 5, 10, 10]);
    expect(Array.from(result.frame)).toEqual([1000, 1010, 1022, 1005, 1090]);
    expect(result.missing).toBe(13);
  });
});

/** Entries as they come in real files and as they never come: runs of all kinds, and noise. */
const entriesArbitrary = fc
  .array(
    fc.record({
      length: fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 1, max: 5 }) },
        { weight: 2, arbitrary: fc.integer({ min: 28, max: 100 }) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 10_000 }) },
      ),
      first: fc.oneof(
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.constantFrom(0n, present, present | 1n, present | (frameMask - 2n), swapped | 3n, 1n << 55n),
        fc.integer({ min: 0, max: 100 }).map(pfn => present | BigInt(pfn)),
      ),
      step: fc.constantFrom(0n, 1n, 1n, 1n, -1n, 2n),
    }),
    { maxLength: 30 },
  )
  .map(parts =>
    parts.flatMap(({ length, first, step }) =>
      Array.from({ length }, (_, i) => BigInt.asUintN(64, first + step * BigInt(i))),
    ),
  );

const rangesArbitrary = fc
  .array(
    fc.tuple(
      fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 60_000 })),
      fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 0, max: 9 }) },
        { weight: 3, arbitrary: fc.integer({ min: 0, max: 300 }) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 20_000 }) },
      ),
      fc.boolean(),
    ),
    { maxLength: 40 },
  )
  .map(parts => {
    // Half of them follow their neighbour, near or at once, as the mappings of a process do.
    let end = 0;
    return ranges(
      ...parts.map(([first, count, follows]): [number, number] => {
        const at = follows ? end + (first % 7) : first;
        end = at + count;
        return [at, count];
      }),
    );
  });

test('random files give the runs that a plain decoder finds', async () => {
  await fc.assert(
    fc.asyncProperty(
      entriesArbitrary,
      rangesArbitrary,
      fc.integer({ min: 0, max: 7 }),
      async (entries, wanted, tail) => {
        const file = fileOf(entries, tail);
        await withFile(file, async fd => {
          const whole = ranges([0, entries.length + 3]);
          expect(await native.readPageRuns(fd, whole)).toEqual(naivePageRuns(file, whole));
          expect(await native.readPageRuns(fd, wanted)).toEqual(naivePageRuns(file, wanted));
          expect(await native.readValueRuns(fd, wanted)).toEqual(naiveValueRuns(file, wanted));
        });
      },
    ),
    { numRuns: 100 },
  );
});

test('no range and no entry give empty columns', async () => {
  for (const wanted of [ranges(), ranges([5, 0])]) {
    const result = await withFile(fileOf([1n]), fd => native.readPageRuns(fd, wanted));
    expect(result.page).toEqual(new Float64Array());
    expect(result.flags).toEqual(new Uint16Array());
    expect(result.missing).toBe(0);
  }
});

/** The writable private mappings of this process, from /proc/self/maps, as ranges of pages. */
function ownMemory(): EntryRanges {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return ranges(
    ...lines
      .filter(line => / rw-p /.test(line))
      .map((line): [number, number] => {
        const [start = 0, end = 0] = (line.split(' ')[0] ?? '')
          .split('-')
          .map(hex => Number.parseInt(hex, 16) / 4096);
        return [start, end - start];
      }),
  );
}

function pagemapOf(pid: number | 'self', first: number, count: number): Buffer {
  const fd = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    const entries = Buffer.alloc(count * 8);
    const got = readSync(fd, entries, 0, entries.length, first * 8);
    return entries.subarray(0, got);
  } finally {
    closeSync(fd);
  }
}

describe('the pagemap of a live process', () => {
  test('pages that were touched are present, as a plain decoder sees them', async () => {
    await withHolder('shmem', 8 << 20, async ({ pid, address }) => {
      const fd = openSync(`/proc/${pid}/pagemap`, 'r');
      const first = address / 4096;
      const count = (8 << 20) / 4096;
      const result = await native.readPageRuns(fd, ranges([first, count]));
      closeSync(fd);
      const expected = naivePageRuns(pagemapOf(pid, first, count), ranges([0, count]));
      expect(result).toEqual({ ...expected, page: expected.page.map(page => page + first) });
      expect(result.count.reduce((sum, n) => sum + n, 0)).toBe(count);
      expect(result.flags.every(flags => flags >> 8 === 1)).toBe(true);
      if (isRoot) expect(result.frame.every(frame => frame > 0)).toBe(true);
    });
  });

  test('memory that this process touches is present in one piece', async () => {
    const touched = Buffer.alloc(128 << 20, 1);
    const fd = openSync('/proc/self/pagemap', 'r');
    const { page, count, flags } = await native.readPageRuns(fd, ownMemory());
    closeSync(fd);
    let longest = 0;
    let end = 0;
    let length = 0;
    page.forEach((first, run) => {
      if ((flags[run] ?? 0) >> 8 === 0) return;
      length = (first === end ? length : 0) + (count[run] ?? 0);
      end = first + (count[run] ?? 0);
      longest = Math.max(longest, length);
    });
    // V8's own heap comes in small pieces.
    expect(longest).toBeGreaterThanOrEqual(touched.length / 4096);
  });

  test('entries past the address space are missing', async () => {
    const fd = openSync('/proc/self/pagemap', 'r');
    const past = await native.readPageRuns(fd, ranges([2 ** 52, 100], [2 ** 53 - 11, 10], [0, 1]));
    closeSync(fd);
    expect(past.missing).toBe(110);
    expect(Array.from(past.page)).toEqual([0]);
  });

  test('a process that is gone has no entries', async () => {
    let fd = -1;
    await withHolder('shmem', 4096, async ({ pid }) => {
      fd = openSync(`/proc/${pid}/pagemap`, 'r');
    });
    const result = await native.readPageRuns(fd, ranges([0, 1000]));
    closeSync(fd);
    expect(result.missing).toBe(1000);
    expect(result.page.length).toBe(0);
  });

  test('a process that ends in the middle of a scan', async () => {
    let fd = -1;
    let scan: Promise<PageRuns> | undefined;
    const count = 2 ** 34;
    await withHolder('shmem', 4096, async ({ pid }) => {
      fd = openSync(`/proc/${pid}/pagemap`, 'r');
      await new Promise<void>(resolve => {
        scan = native.readPageRuns(fd, ranges([0, count]), { onProgress: () => resolve() });
      });
    });
    const result = await scan;
    closeSync(fd);
    if (result === undefined) throw new Error('no scan');
    expect(result.count.reduce((sum, n) => sum + n, 0) + result.missing).toBe(count);
  });
});

describe.skipIf(lacks('root, for /proc/kpageflags', isRoot))('the files of physical pages', () => {
  test.each(['kpageflags', 'kpagecount'])('%s of the pages of a process', async name => {
    await withHolder('shmem', 8 << 20, async ({ pid, address }) => {
      const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
      const pages = await native.readPageRuns(pagemap, ranges([address / 4096, 2048]));
      closeSync(pagemap);
      const wanted: EntryRanges = { first: pages.frame, count: pages.count };
      const fd = openSync(`/proc/${name}`, 'r');
      const result = await native.readValueRuns(fd, wanted);
      const values: bigint[] = [];
      const entry = Buffer.alloc(8);
      pages.frame.forEach((frame, i) => {
        for (let pfn = frame; pfn < frame + (pages.count[i] ?? 0); pfn++) {
          expect(readSync(fd, entry, 0, 8, pfn * 8)).toBe(8);
          values.push(entry.readBigUInt64LE());
        }
      });
      closeSync(fd);
      const ours = Array.from(result.value).flatMap((value, i) =>
        Array<bigint>(result.count[i] ?? 0).fill(value),
      );
      // Bits of the pages' place in the LRU lists may change between the two readings: MMAP and SWAPBACKED stay.
      const steady = name === 'kpageflags' ? (1n << 11n) | (1n << 14n) : (1n << 64n) - 1n;
      expect(ours.map(value => value & steady)).toEqual(values.map(value => value & steady));
      expect(ours.length).toBe(2048);
      if (name === 'kpagecount') expect(values.every(value => value === 1n)).toBe(true);
      else expect(ours.every(value => (value & steady) === steady)).toBe(true);
    });
  });

  test('PFNs past the last one are missing', async () => {
    const fd = openSync('/proc/kpageflags', 'r');
    const result = await native.readValueRuns(fd, ranges([2 ** 45, 7]));
    closeSync(fd);
    expect(result).toMatchObject({ missing: 7, value: new BigUint64Array() });
  });

  test('a huge page is one run of its PFNs', async () => {
    const giveBack = reserveHugePages(4);
    if (lacks('4 huge pages of 2 MiB', typeof giveBack !== 'string') || typeof giveBack === 'string') return;
    try {
      await withHolder('hugetlb', 8 << 20, async ({ pid, address }) => {
        const fd = openSync(`/proc/${pid}/pagemap`, 'r');
        const first = address / 4096;
        const result = await native.readPageRuns(
          fd,
          ranges(...[0, 1, 2, 3].map((i): [number, number] => [first + i * 512, 512])),
        );
        closeSync(fd);
        expect(Array.from(result.count)).toEqual([512, 512, 512, 512]);
        expect(result.frame.every(frame => frame > 0 && frame % 512 === 0)).toBe(true);
        const flags = openSync('/proc/kpageflags', 'r');
        const values = await native.readValueRuns(flags, ranges([result.frame[0] ?? 0, 512]));
        closeSync(flags);
        // HUGE is set on head and tails alike; HEAD on the first, TAIL on the others.
        expect(values.value.every(value => ((value >> 17n) & 1n) === 1n)).toBe(true);
        expect([values.count[0], ((values.value[0] ?? 0n) >> 15n) & 1n]).toEqual([1, 1n]);
      });
    } finally {
      giveBack();
    }
  });
});
