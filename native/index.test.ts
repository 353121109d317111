import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'rolldown';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isNativeError, loadNative, type Native } from './index.ts';

const native = loadNative();
const binary = process.env.PINSCOPE_ADDON || fileURLToPath(new URL('./build/pinscope.node', import.meta.url));
const one = { first: Float64Array.of(0), count: Float64Array.of(1) };
/** Holes mostly: seconds of work if nothing ends it. */
const long = { first: Float64Array.of(0), count: Float64Array.of(2 ** 35) };

let pagemap: number;
beforeEach(() => {
  pagemap = openSync('/proc/self/pagemap', 'r');
});
afterEach(() => closeSync(pagemap));

const openFds = () => readdirSync('/proc/self/fd').length;

describe('arguments', () => {
  const floats = (...values: number[]) => Float64Array.from(values);
  // What a caller without types might pass.
  const readPageRuns = native.readPageRuns as (...args: unknown[]) => Promise<unknown>;
  const readBytes = native.readBytes as (...args: unknown[]) => Promise<unknown>;

  test.each<[string, unknown, unknown]>([
    ['a negative fd', -1, one],
    ['a fraction as fd', 1.5, one],
    ['an fd past 2^31', 2 ** 31, one],
    ['a string as fd', '3', one],
    ['no ranges', 0, undefined],
    ['plain arrays', 0, { first: [0], count: [1] }],
    ['other typed arrays', 0, { first: new Float32Array(1), count: new Float32Array(1) }],
    ['unequal lengths', 0, { first: floats(1, 2), count: floats(1) }],
    ['a negative count', 0, { first: floats(0), count: floats(-1) }],
    ['NaN', 0, { first: floats(0), count: floats(Number.NaN) }],
    ['infinity', 0, { first: floats(0), count: floats(Number.POSITIVE_INFINITY) }],
    ['a fraction', 0, { first: floats(0.5), count: floats(1) }],
    ['2^53', 0, { first: floats(2 ** 53), count: floats(1) }],
  ])('%s', async (_, fd, ranges) => {
    await expect(readPageRuns(fd, ranges)).rejects.toThrow(TypeError);
  });

  test.each<[string, Float64Array, Float64Array]>([
    ['a sum past 2^53', floats(0, 0), floats(2 ** 52, 2 ** 52 + 1)],
    ['an end past 2^53', floats(2 ** 53 - 1), floats(1)],
  ])('%s', async (_, first, count) => {
    await expect(native.readPageRuns(pagemap, { first, count })).rejects.toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
    });
  });

  test('byte ranges, directories, pids', async () => {
    const offset = new BigUint64Array(1);
    await expect(readBytes(0, { offset, length: new Uint32Array(2) })).rejects.toThrow(TypeError);
    await expect(readBytes(0, { offset: new Float64Array(1), length: new Uint32Array(1) })).rejects.toThrow(
      TypeError,
    );
    await expect(native.listFds('/proc/self\0/fd', [])).rejects.toThrow(TypeError);
    await expect(native.listFds('/proc', [3 as unknown as string])).rejects.toThrow(TypeError);
    await expect(native.pidfdOpen(0)).rejects.toThrow(TypeError);
    await expect(native.pidfdOpen(Number.NaN)).rejects.toThrow(TypeError);
    await expect(native.pidfdGetfd(-1, 0)).rejects.toThrow(TypeError);
    await expect(native.pidfdGetfd(0, 1.5)).rejects.toThrow(TypeError);
  });

  test('the exports check for themselves, without the wrapper', () => {
    const raw = createRequire(import.meta.url)(binary);
    // It takes none.
    for (const name of Object.keys(raw).filter(name => name !== 'socketPair')) {
      expect(() => raw[name]()).toThrow(TypeError);
      expect(() => raw[name]({}, {}, {}, {}, {})).toThrow(TypeError);
    }
    expect(() => raw.readPageRuns(0, one.first, one.count, 'id')).toThrow(TypeError);
    expect(() => raw.readPageRuns(0, one.first, one.count, 1, 'progress')).toThrow(TypeError);
    expect(raw.cancel(12345)).toBeUndefined();
  });
});

describe('failures', () => {
  test('a descriptor that is closed', async () => {
    const fd = openSync('/dev/null', 'r');
    closeSync(fd);
    const error = await native.readPageRuns(fd, one).catch(error => error);
    expect(error).toMatchObject({
      code: 'EBADF',
      errno: constants.errno.EBADF,
      syscall: 'fcntl',
      path: `fd ${fd}`,
    });
    expect(isNativeError(error)).toBe(true);
    expect(isNativeError(new TypeError())).toBe(false);
  });

  test('a file that cannot be read', async () => {
    const directory = openSync('/', 'r');
    await expect(native.readPageRuns(directory, one)).rejects.toMatchObject({
      code: 'EISDIR',
      syscall: 'read',
      path: `fd ${directory}`,
    });
    // Not a rejection here: each range has its errno.
    const bytes = await native.readBytes(directory, {
      offset: new BigUint64Array(2),
      length: Uint32Array.of(8, 8),
    });
    expect(Array.from(bytes.errno)).toEqual([constants.errno.EISDIR, constants.errno.EISDIR]);
    closeSync(directory);
  });

  test('a descriptor that JS closes while the work runs', async () => {
    const fd = openSync('/proc/self/pagemap', 'r');
    const scan = native.readPageRuns(fd, { first: Float64Array.of(0), count: Float64Array.of(1e6) });
    closeSync(fd);
    const { count, missing } = await scan;
    expect(count.reduce((sum, n) => sum + n, 0) + missing).toBe(1e6);
  });
});

describe('abort', () => {
  const calls: [string, (options: { signal: AbortSignal }) => Promise<unknown>][] = [
    ['readPageRuns', options => native.readPageRuns(pagemap, one, options)],
    ['readValueRuns', options => native.readValueRuns(pagemap, one, options)],
    [
      'readBytes',
      options =>
        native.readBytes(pagemap, { offset: new BigUint64Array(1), length: Uint32Array.of(8) }, options),
    ],
    ['listFds', options => native.listFds('/proc/self/fd', [], options)],
  ];

  test.each(calls)('%s before it starts', async (_, call) => {
    await expect(call({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ECANCELED',
      errno: constants.errno.ECANCELED,
    });
  });

  test.each(calls)('%s right after it started', async (_, call) => {
    const controller = new AbortController();
    const promise = call({ signal: controller.signal });
    controller.abort();
    await expect(promise).rejects.toMatchObject({ code: 'ECANCELED' });
  });

  test('in the middle of a scan, and the next scan is not touched', async () => {
    const controller = new AbortController();
    const scan = native.readPageRuns(pagemap, long, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(scan).rejects.toMatchObject({ code: 'ECANCELED', syscall: 'read', path: `fd ${pagemap}` });
    expect((await native.readPageRuns(pagemap, one)).count).toEqual(Float64Array.of(1));
  });

  test('after the end does nothing', async () => {
    const controller = new AbortController();
    await native.readPageRuns(pagemap, one, { signal: controller.signal });
    controller.abort();
  });

  test('arguments are checked first', async () => {
    await expect(native.readPageRuns(-1, one, { signal: AbortSignal.abort() })).rejects.toThrow(TypeError);
  });
});

describe('progress', () => {
  test('grows and ends at the total, before the promise resolves, and is silent after', async () => {
    const total = 5e7;
    const seen: number[] = [];
    await native.readPageRuns(
      pagemap,
      { first: Float64Array.of(0, 0), count: Float64Array.of(total - 10, 10) },
      {
        onProgress: (done, of) => {
          expect(of).toBe(total);
          seen.push(done);
        },
      },
    );
    expect(seen.at(-1)).toBe(total);
    expect(seen.every((done, i) => i === 0 || done > (seen[i - 1] ?? 0))).toBe(true);
    expect(seen.length).toBeLessThan(300);
    const before = seen.length;
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(seen.length).toBe(before);
  });

  test('of bytes and descriptors', async () => {
    let last = [0, 0];
    const onProgress = (done: number, total: number) => {
      last = [done, total];
    };
    await native.readBytes(
      pagemap,
      { offset: new BigUint64Array(2), length: Uint32Array.of(8, 16) },
      { onProgress },
    );
    expect(last).toEqual([24, 24]);
    const { fd } = await native.listFds('/proc/self/fd', [], { onProgress });
    expect(last).toEqual([fd.length, fd.length]);
  });

  test('what it throws is what the call rejects with', async () => {
    const mistake = new Error('mistake');
    const onProgress = () => {
      throw mistake;
    };
    await expect(native.readPageRuns(pagemap, long, { onProgress })).rejects.toBe(mistake);
    await expect(native.readPageRuns(pagemap, one, { onProgress })).rejects.toBe(mistake);
  });
});

test('no call leaves a descriptor behind', async () => {
  const calls: (() => Promise<unknown>)[] = [
    () => native.readPageRuns(pagemap, one),
    () => native.readPageRuns(pagemap, one, { signal: AbortSignal.abort() }),
    () => native.readPageRuns(pagemap, one, { onProgress: () => {} }),
    () => native.readValueRuns(pagemap, { first: Float64Array.of(0), count: Float64Array.of(-1) }),
    () => native.readBytes(pagemap, { offset: new BigUint64Array(1), length: Uint32Array.of(8) }),
    () => native.readBytes(pagemap, { offset: new BigUint64Array(1), length: Uint32Array.of(2 ** 31) }),
    () => native.listFds('/proc/self/fd', []),
    () => native.listFds('/proc/self/fdx', []),
    async () => closeSync(await native.pidfdOpen(process.pid)),
    () => native.pidfdGetfd(pagemap, 0),
  ];
  await Promise.allSettled(calls.map(call => call()));
  const before = openFds();
  for (let i = 0; i < 100; i++) await Promise.allSettled(calls.map(call => call()));
  expect(openFds()).toBe(before);
});

test('many calls at once', async () => {
  const results = await Promise.all(
    Array.from({ length: 500 }, (_, i) =>
      native.readPageRuns(
        pagemap,
        { first: Float64Array.of(i), count: Float64Array.of(i) },
        { onProgress: () => {} },
      ),
    ),
  );
  results.forEach(({ count, missing }, i) => {
    expect(count.reduce((sum, n) => sum + n, 0) + missing).toBe(i);
  });
});

test('a thread, and a program, that end in the middle of a scan', async () => {
  const scan = `
    const native = require(${JSON.stringify(binary)});
    const fd = require('node:fs').openSync('/proc/self/pagemap', 'r');
    native.readPageRuns(fd, Float64Array.of(0), Float64Array.of(3e8), 1, () => process.exit(7));
  `;
  const worker = new Worker(scan, { eval: true });
  expect(await new Promise(resolve => worker.once('exit', resolve))).toBe(7);
  expect(() => execFileSync(process.execPath, ['-e', scan])).toThrow(expect.objectContaining({ status: 7 }));
});

describe('finding the file', () => {
  let project: string;
  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'pinscope-load-'));
    writeFileSync(
      join(project, 'main.ts'),
      `import { loadNative } from ${JSON.stringify(fileURLToPath(new URL('./index.ts', import.meta.url)))};
       try { console.log(typeof loadNative().readPageRuns); } catch (error) { console.log(error.message); }`,
    );
    for (const [file, format] of [
      ['dist/cli/x.js', 'esm'],
      ['dist/app/main.cjs', 'cjs'],
    ] as const) {
      const output = { file: join(project, file), format };
      await build({ input: join(project, 'main.ts'), platform: 'node', logLevel: 'silent', output });
    }
    writeFileSync(join(project, 'package.json'), '{"type":"module"}');
  });
  afterAll(() => rmSync(project, { recursive: true }));

  const run = (file: string, env: NodeJS.ProcessEnv = {}) =>
    execFileSync(process.execPath, [join(project, file)], {
      env: { ...process.env, PINSCOPE_ADDON: '', ...env },
      encoding: 'utf8',
    }).trim();

  test.each(['dist/cli/x.js', 'dist/app/main.cjs'])('by a bundle: %s', file => {
    expect(run(file)).toMatch(/^The native addon is not built \(.*\): run npm run setup\.$/);
    expect(run(file, { PINSCOPE_ADDON: binary })).toBe('function');
    for (const place of ['native/build', 'dist/native']) {
      mkdirSync(join(project, place), { recursive: true });
      copyFileSync(binary, join(project, place, 'pinscope.node'));
      expect(run(file)).toBe('function');
      writeFileSync(join(project, place, 'pinscope.node'), 'no library');
      expect(run(file)).toMatch(/pinscope\.node: (file too short|invalid ELF header)/);
      rmSync(join(project, place), { recursive: true });
    }
  });
});

test('the contract and the exports are the same', () => {
  const names: (keyof Native)[] = [
    'readPageRuns',
    'readValueRuns',
    'readBytes',
    'listFds',
    'pidfdOpen',
    'pidfdGetfd',
    'getSeals',
    'socketPair',
    'sendPacket',
    'receivePacket',
  ];
  expect(Object.keys(native)).toEqual(names);
});
