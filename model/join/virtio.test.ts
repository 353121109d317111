import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GpuTrace, TracedBuffer } from '../qemu/gpu-trace.ts';
import { joinTrace, type MappedBuffer } from './virtio.ts';

const traced = (resourceId: number, sizeBytes: number, change: Partial<TracedBuffer> = {}): TracedBuffer => ({
  ...{ resourceId, sizeBytes, atMs: null, beforeMs: null, scanout: null },
  ...change,
});
const trace = (buffers: TracedBuffer[], change: Partial<GpuTrace> = {}): GpuTrace => ({
  ...{ whole: true, sinceMs: null, seen: new Set() },
  ...{ buffers, ...change },
});
const buffer = (inode: number, sizeBytes: number | null, createdMs: number | null = 1000): MappedBuffer => ({
  inode,
  sizeBytes,
  createdMs,
});
const join = (mine: MappedBuffer[], of: GpuTrace) => Object.fromEntries(joinTrace(mine, of));

describe('by order and size', () => {
  test('as many as were traced', () => {
    expect(
      join([buffer(8, 100), buffer(7, 100)], trace([traced(1, 100), traced(2, 100, { scanout: 0 })])),
    ).toEqual({
      7: { resourceId: 1, scanout: null },
      8: { resourceId: 2, scanout: 0 },
    });
  });
  test('one of two of a size: the id is not known, that none is shown is', () => {
    expect(join([buffer(7, 100)], trace([traced(1, 100), traced(2, 100)]))).toEqual({
      7: { resourceId: null, scanout: null },
    });
    expect(join([buffer(7, 100)], trace([traced(1, 100), traced(2, 100, { scanout: 0 })]))).toEqual({});
  });
  test('a neighbour tells which', () => {
    const all = trace([traced(1, 100), traced(2, 200), traced(3, 100), traced(4, 300)]);
    expect(join([buffer(7, 200), buffer(8, 100)], all)[8]).toEqual({ resourceId: 3, scanout: null });
  });
  test('the same id twice is one answer', () => {
    expect(join([buffer(7, 100)], trace([traced(1, 100), traced(1, 100)]))).toEqual({
      7: { resourceId: 1, scanout: null },
    });
  });
  test.each([
    ['a size that was not traced', [buffer(7, 100), buffer(8, 200)]],
    ['another order', [buffer(7, 300), buffer(8, 100)]],
    ['a size that is not known', [buffer(7, 100), buffer(8, null)]],
    ['times against inodes', [buffer(7, 100, 2000), buffer(8, 300, 1000)]],
  ])('nothing where it does not fit: %s', (_, mine) => {
    expect(join(mine, trace([traced(1, 100), traced(2, 300)]))).toEqual({});
  });
});

describe('by time', () => {
  const all = trace([
    traced(1, 100, { atMs: 1000.5, beforeMs: 1100 }),
    traced(2, 100, { atMs: 1100, beforeMs: null }),
  ]);
  test('tells those of one size apart, with the kernel’s tick', () => {
    expect(join([buffer(7, 100, 1050)], all)).toEqual({ 7: { resourceId: 1, scanout: null } });
    expect(join([buffer(7, 100, 990)], all)).toEqual({ 7: { resourceId: 1, scanout: null } });
    expect(join([buffer(7, 100, 1200)], all)).toEqual({ 7: { resourceId: 2, scanout: null } });
    expect(join([buffer(7, 100, 1095)], all)).toEqual({ 7: { resourceId: null, scanout: null } });
    expect(join([buffer(7, 100, 900)], all)).toEqual({});
  });
  test('a trace that is not whole tells of what was made since', () => {
    const late = { ...all, whole: false, sinceMs: 1000 };
    expect(join([buffer(5, 100, 500), buffer(6, 999, 999), buffer(7, 100, 1050)], late)).toEqual({
      7: { resourceId: 1, scanout: null },
    });
    expect(join([buffer(7, 100, 1050)], { ...late, sinceMs: null })).toEqual({});
    expect(join([buffer(7, 100, null)], late)).toEqual({});
  });
});

test('whatever had a dma-buf: what is told is true, and all is told where every one had', () => {
  const row = fc.record({ size: fc.integer({ min: 1, max: 3 }), has: fc.boolean(), shown: fc.boolean() });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 12 }), rows => {
      const buffers = rows.map(({ size, shown }, i) => traced(i + 1, size, { scanout: shown ? 0 : null }));
      const mine = rows.flatMap(({ size, has }, i) => (has ? [buffer(i + 100, size)] : []));
      const told = joinTrace(mine, trace(buffers));
      for (const [inode, { resourceId, scanout }] of told) {
        const truth = buffers[inode - 100];
        if (resourceId !== null) expect(resourceId).toBe(truth?.resourceId);
        if (scanout !== 'unknown') expect(scanout).toBe(truth?.scanout);
      }
      if (mine.length === rows.length) expect(told.size).toBe(rows.length);
    }),
  );
});
