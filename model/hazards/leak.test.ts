import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { someResource, someSnapshot } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import { evaluate } from './index.ts';
import { growth, LEAK_BUFFERS, LEAK_MS, LEAK_SAMPLES, leakRules } from './leak.ts';
import { Past } from './past.ts';

const start = Date.parse('2026-03-04T05:06:07.000Z');
const sample = (seconds: number, buffers: number, change: { exporter?: string; sizeBytes?: number } = {}) =>
  fromSnapshot(
    someSnapshot({
      takenAt: new Date(start + seconds * 1000).toISOString(),
      resources: Array.from({ length: buffers }, (_, inode) => someResource({ inode, ...change })),
    }),
  );
/** Samples every `step` seconds of so many buffers; the last is judged. */
function watch(counts: readonly number[], step = 10, change = {}) {
  const past = new Past();
  const samples = counts.map((count, i) => sample(i * step, count, change));
  for (const each of samples.slice(0, -1)) past.observe(each);
  return evaluate(samples.at(-1) ?? sample(0, 0), past, leakRules);
}
const silent = { findings: [], notChecked: [] };

describe('leak', () => {
  test('growth in every quarter of more than a minute', () => {
    expect(watch([2, 4, 6, 8, 10, 12, 14, 16]).findings).toMatchObject([
      {
        severity: 'warning',
        resource: null,
        title: '2 buffers became 16 in 1 min 10 s, and never fewer',
        evidence: [{ value: '2 → 16, 2 MiB → 16 MiB' }],
      },
    ]);
  });
  test('after a flat time it is seen as well', () => {
    expect(watch([9, 9, 9, 9, 9, 9, 9, 9, 12, 15, 18, 21, 24, 27, 30]).findings).toHaveLength(1);
  });
  test('bytes alone, where buffers grow and do not become more', () => {
    const past = new Past();
    for (let i = 0; i < 8; i++) past.observe(sample(i * 10, 16, { sizeBytes: 4096 * 2 ** i }));
    const { findings } = evaluate(sample(80, 16, { sizeBytes: 4096 * 2 ** 8 }), past, leakRules);
    expect(findings[0]?.title).toMatch(/^64 KiB of buffers became 16 MiB in 1 min 20 s/);
  });
  test.each([
    ['a start that is over', [0, 16, 32, 64, 64, 64, 64, 64, 64, 64]],
    ['made and closed in turn', [8, 16, 8, 16, 8, 16, 8, 16, 8, 16]],
    ['less than twice as many', [20, 22, 24, 26, 28, 30, 32, 34]],
    ['few', [1, 3, 5, 7, 9, 11, 13, 15]],
    ['a fall at the end', [2, 6, 10, 14, 18, 22, 26, 8]],
  ])('%s: silent', (_, counts) => {
    expect(watch(counts)).toEqual(silent);
  });
  test('buffers of another driver are not counted', () => {
    expect(watch([2, 6, 10, 14, 18, 22, 26, 30], 10, { exporter: 'i915' })).toEqual(silent);
  });
  test('too few samples, or too little time, is not checked, unless there are few buffers', () => {
    const because = (result: ReturnType<typeof watch>) => result.notChecked[0]?.because;
    expect(because(watch([16]))).toBe(
      'growth takes time to see: 1 sample over 0.0 s so far, of 8 over 1 min that it needs',
    );
    expect(because(watch([2, 6, 10, 14, 18, 22, 26, 30], 2))).toContain('8 samples over 14 s');
    expect(watch([LEAK_BUFFERS - 1])).toEqual(silent);
    expect(evaluate(sample(0, 16), null, leakRules).notChecked).toHaveLength(1);
  });
  test('any growth that is found is one', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 30_000 }), fc.integer({ min: -2, max: 6 })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(steps, each => {
        let [time, buffers] = [0, 3];
        const points = each.map(([more, step]) => {
          time += more;
          buffers = Math.max(0, buffers + step);
          return { time, buffers, bytes: 0 };
        });
        const grown = growth(points, point => point.buffers);
        if (!grown) return;
        const inside = points.slice(-grown.samples);
        expect(inside.length).toBeGreaterThanOrEqual(LEAK_SAMPLES);
        expect([inside[0], inside.at(-1)]).toEqual([grown.from, grown.to]);
        expect(grown.to.time - grown.from.time).toBeGreaterThanOrEqual(LEAK_MS);
        expect(grown.to.buffers).toBeGreaterThanOrEqual(2 * grown.from.buffers);
        for (const [i, point] of inside.entries())
          expect(point.buffers).toBeGreaterThanOrEqual(inside[i - 1]?.buffers ?? 0);
      }),
    );
  });
});

describe('what is kept of earlier samples', () => {
  test('stays bounded, with the first and the time of all', () => {
    const past = new Past();
    for (let i = 0; i < 3000; i++) past.observe(sample(i, 1));
    expect(past.samples).toBe(3000);
    expect(past.points.length).toBeLessThanOrEqual(256);
    expect(past.points[0]?.time).toBe(start);
    expect(past.points.at(-1)?.time).toBeGreaterThan(start + 2900 * 1000);
  });
  test('another process, or a clock that was set back, begins anew', () => {
    const past = new Past();
    past.observe(sample(100, 1));
    past.observe(sample(50, 1));
    expect(past.points.map(({ time }) => time)).toEqual([start + 50_000]);
    const other = fromSnapshot(someSnapshot({ target: { startTime: '2' } }));
    expect(past.isOf(other)).toBe(false);
    past.observe(other);
    expect([past.samples, past.isOf(other)]).toEqual([1, true]);
  });
});
