import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withHolder } from '../test/holder.ts';
import { type ByteRanges, type Bytes, loadNative } from './index.ts';

const native = loadNative();
const { EIO, EINVAL } = constants.errno;

const ranges = (...pairs: [offset: number | bigint, length: number][]): ByteRanges => ({
  offset: BigUint64Array.from(pairs, pair => BigInt(pair[0])),
  length: Uint32Array.from(pairs, pair => pair[1]),
});

/** Each range read for itself by Node. */
function naive(fd: number, { offset, length }: ByteRanges): Bytes {
  const parts = Array.from(length, (size, i) => {
    const bytes = Buffer.alloc(size);
    let got = 0;
    for (let more = 1; got < size && more > 0; got += more) {
      more = readSync(fd, bytes, got, size - got, (offset[i] ?? 0n) + BigInt(got));
    }
    return { bytes, got };
  });
  return {
    data: new Uint8Array(Buffer.concat(parts.map(part => part.bytes))),
    read: Uint32Array.from(parts, part => part.got),
    errno: new Int32Array(parts.length),
  };
}

let folder: string;
/** 3 MiB: noise, a hole, noise, and an end that is no multiple of anything. */
let file: number;
const size = 3 * 1024 * 1024 + 123;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pinscope-bytes-'));
  file = openSync(join(folder, 'bytes'), 'w+');
  const noise = Uint8Array.from({ length: 1024 * 1024 }, (_, i) => (i * 2654435761) >>> 13);
  writeSync(file, noise, 0, noise.length, 0);
  writeSync(file, noise, 0, noise.length, 2 * 1024 * 1024);
  ftruncateSync(file, size);
});
afterAll(() => {
  closeSync(file);
  rmSync(folder, { recursive: true });
});

describe('memory of the caller', () => {
  const wanted = ranges([0, 64], [size - 10, 64], [1 << 20, 5000], [size, 100]);
  const total = 64 + 64 + 5000 + 100;

  test('is used where all ranges fit, at its own place in its buffer, and nothing behind it is touched', async () => {
    const buffer = new Uint8Array(total + 24).fill(0xaa);
    const into = buffer.subarray(8, total + 16);
    const result = await native.readBytes(file, wanted, { into });
    expect(result).toEqual(naive(file, wanted));
    expect(result.data.buffer).toBe(buffer.buffer);
    expect(result.data.byteOffset).toBe(8);
    expect([...buffer.subarray(0, 8), ...buffer.subarray(total + 8)]).toEqual(Array(24).fill(0xaa));
  });

  test('is left alone where they do not', async () => {
    const into = new Uint8Array(total - 1).fill(0xaa);
    const result = await native.readBytes(file, wanted, { into });
    expect(result).toEqual(naive(file, wanted));
    expect(into.every(byte => byte === 0xaa)).toBe(true);
  });

  test('must be bytes', async () => {
    const into = new Float64Array(total) as unknown as Uint8Array;
    await expect(native.readBytes(file, wanted, { into })).rejects.toThrow('into: Uint8Array or undefined');
  });
});

describe('a regular file', () => {
  test('small and large ranges, in the hole, over the end and past it', async () => {
    const wanted = ranges(
      [0, 64],
      [64, 64],
      [1000, 10],
      [1 << 20, 5000],
      [100, 2 << 20],
      [size - 10, 64],
      [size, 1],
      [size + 5, 0],
      [2 ** 50, 64],
      [3, 0],
      [0, size + 1000],
    );
    const result = await native.readBytes(file, wanted);
    expect(Buffer.compare(result.data, naive(file, wanted).data)).toBe(0);
    expect(Array.from(result.read)).toEqual([64, 64, 10, 5000, 2 << 20, 10, 0, 0, 0, 0, size]);
    expect(result.errno.every(errno => errno === 0)).toBe(true);
  });

  test('random ranges give what reading each alone gives', async () => {
    const near = fc.array(fc.tuple(fc.integer({ min: -40, max: 1200 }), fc.integer({ min: 0, max: 300 })), {
      maxLength: 600,
    });
    await fc.assert(
      fc.asyncProperty(
        near,
        fc.constantFrom(0, 1024 * 1024 - 2000, 2 * 1024 * 1024 - 3000, size - 20_000),
        fc.array(fc.tuple(fc.integer({ min: 0, max: size + 10 }), fc.integer({ min: 0, max: 200_000 })), {
          maxLength: 4,
        }),
        async (steps, start, far) => {
          let at = start;
          const pairs = steps.map(([gap, length]): [number, number] => {
            const offset = Math.max(0, at + gap);
            at = offset + length;
            return [offset, length];
          });
          const wanted = ranges(...pairs, ...far);
          const [ours, theirs] = [await native.readBytes(file, wanted), naive(file, wanted)];
          expect(Buffer.compare(ours.data, theirs.data)).toBe(0);
          expect(ours.read).toEqual(theirs.read);
          expect(ours.errno).toEqual(theirs.errno);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('no ranges', async () => {
    expect(await native.readBytes(file, ranges())).toEqual({
      data: new Uint8Array(),
      read: new Uint32Array(),
      errno: new Int32Array(),
    });
  });

  test('offsets that no file has', async () => {
    const wanted = ranges([2n ** 63n, 8], [2n ** 64n - 1n, 8], [2n ** 63n - 4n, 8], [2n ** 63n, 0], [0, 8]);
    const result = await native.readBytes(file, wanted);
    expect(Array.from(result.errno)).toEqual([EINVAL, EINVAL, EINVAL, 0, 0]);
    expect(Array.from(result.read)).toEqual([0, 0, 0, 0, 8]);
  });

  test('more than 2^30 bytes are refused before anything is allocated', async () => {
    await expect(native.readBytes(file, ranges([0, 2 ** 29], [0, 2 ** 29], [0, 1]))).rejects.toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
    });
  });
});

describe('memory of a process, whose unmapped pages cannot be read', () => {
  test('each range has its own end and errno, also when its neighbours were read with it', async () => {
    await withHolder('shmem', 2 << 20, async ({ pid, address }) => {
      const memory = openSync(`/proc/${pid}/mem`, 'r');
      try {
        // The page after the mapping belongs to something else, or to nothing: page 0 always to nothing.
        const bytes = await native.readBytes(
          memory,
          ranges(
            [address, 2],
            [address + 4096, 64],
            [0, 64],
            [100, 64],
            [address + 8192, 3],
            [address, 2 << 20],
          ),
        );
        expect(Array.from(bytes.errno)).toEqual([0, 0, EIO, EIO, 0, 0]);
        expect(Array.from(bytes.read)).toEqual([2, 64, 0, 0, 3, 2 << 20]);
        expect(Array.from(bytes.data.subarray(0, 3))).toEqual([1, 0, 1]);
        expect(bytes.data.subarray(66, 66 + 128).every(byte => byte === 0)).toBe(true);
        expect(bytes.data.at(-4096)).toBe(1);
      } finally {
        closeSync(memory);
      }
    });
  });

  test('a range that begins in mapped memory and leaves it', async () => {
    await withHolder('shmem', 4096, async ({ pid }) => {
      const memory = openSync(`/proc/${pid}/mem`, 'r');
      const maps = openSync(`/proc/${pid}/maps`, 'r');
      const text = Buffer.alloc(1 << 20);
      const lines = text.toString('latin1', 0, readSync(maps, text, 0, text.length, 0)).split('\n');
      closeSync(maps);
      // The last mapping below the stack's gap that nothing follows.
      const areas = lines
        .filter(line => / rw/.test(line))
        .map(
          line =>
            line
              .split(' ')[0]
              ?.split('-')
              .map(hex => BigInt(`0x${hex}`)) ?? [],
        );
      const starts = new Set(lines.map(line => BigInt(`0x${line.split('-')[0] || '0'}`)));
      const end = areas.find(([, end]) => end !== undefined && !starts.has(end))?.[1];
      if (end === undefined) throw new Error('no mapping with nothing after it');
      try {
        const result = await native.readBytes(
          memory,
          ranges([end - 100n, 3 << 20], [end - 200n, 64], [end - 136n, 64], [end - 72n, 64], [end - 8n, 64]),
        );
        expect(Array.from(result.errno)).toEqual([EIO, 0, 0, 0, EIO]);
        expect(Array.from(result.read)).toEqual([100, 64, 64, 64, 8]);
        expect(result.data.subarray(100, 3 << 20).every(byte => byte === 0)).toBe(true);
      } finally {
        closeSync(memory);
      }
    });
  });
});
