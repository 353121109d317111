import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { someResource } from '../../test/snapshots.ts';
import { fromPageRuns, type SampledResource } from '../run-columns.ts';
import { Lives } from './lives.ts';
import { Series } from './series.ts';

const of = (values: Record<string, number>) => new Map(Object.entries(values));

describe('series', () => {
  test('keep the extremes and the last of any number of samples, and never more than the buckets', () => {
    const values = fc.array(fc.option(fc.nat(1000), { freq: 8 }), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(values, fc.constantFrom(2, 8, 32), (of1, capacity) => {
        const series = new Series('a', capacity);
        for (const [i, value] of of1.entries()) series.add(i * 1000, of({ a: value ?? Number.NaN }));
        expect(series.buckets).toBeLessThanOrEqual(capacity);
        expect(series.perBucket).toBeLessThanOrEqual(Math.max(1, (2 * of1.length) / capacity));
        // Each sample is in the bucket that its time leads to.
        of1.forEach((value, i) => {
          const at = series.at('a', i * 1000);
          if (value === null) return;
          expect(at?.min).toBeLessThanOrEqual(value);
          expect(at?.max).toBeGreaterThanOrEqual(value);
        });
        const known = of1.filter(value => value !== null);
        const drawn = (series.draw(0, of1.length * 1000, []).y.get('a') ?? []).filter(v => v !== null);
        if (known.length > 0) {
          expect([Math.min(...drawn), Math.max(...drawn)]).toEqual([Math.min(...known), Math.max(...known)]);
        }
        expect(series.newest('a')).toBe(of1.at(-1));
      }),
    );
  });

  test('a quantity that comes later was 0 where its whole was known, and is unknown where that was', () => {
    const series = new Series('whole', 8);
    series.add(0, of({ whole: 5 }));
    series.add(1, of({ whole: Number.NaN }));
    series.add(2, of({ whole: 7, part: 7 }));
    series.add(3, of({ whole: 1 }));
    series.add(4, of({ whole: Number.NaN }));
    expect(series.draw(0, 4, []).y.get('part')).toEqual([0, null, 7, 0, null]);
    expect([series.at('part', 1), series.at('part', -1), series.at('other', 0)]).toEqual([null, null, null]);
  });

  test('lines break in a gap, also in one inside a bucket', () => {
    const series = new Series('a', 2);
    for (const time of [0, 1, 10, 11]) series.add(time, of({ a: time }));
    // Two buckets: 0 to 1 and 10 to 11.
    expect(series.draw(0, 11, [{ from: 1, to: 10 }])).toEqual({
      x: Float64Array.from([0, 0, 1, 5.5, 10, 10, 11]),
      y: new Map([['a', [0, 1, 1, null, 10, 11, 11]]]),
    });
    series.add(12, of({ a: 12 }));
    expect(series.buckets).toBe(2);
    const { x, y } = series.draw(0, 12, [{ from: 1, to: 10 }]);
    expect([...x]).toEqual([0, 0, 5.5, 11, 12]);
    expect(y.get('a')).toEqual([0, 11, null, 11, 12]);
  });

  test('only what is in view is drawn, with one bucket beyond', () => {
    const series = new Series('a', 64);
    for (let time = 0; time < 64; time++) series.add(time, of({ a: 1 }));
    expect([...series.draw(10, 12, []).x]).toEqual([9, 10, 11, 12, 13]);
  });

  test('a day at one sample a second keeps its one spike, in some hundred kilobytes', () => {
    const series = new Series('held');
    for (let i = 0; i < 86400; i++) series.add(i * 1000, of({ held: i === 43210 ? 9 : 1, size: 1 }));
    expect(series.buckets).toBeLessThanOrEqual(8192);
    expect(series.at('held', 43210_000)).toEqual({ min: 1, max: 9 });
    expect(series.at('held', 50000_000)).toEqual({ min: 1, max: 1 });
  });
});

describe('lives', () => {
  const buffer = (inode: number, createdAt: string | null = null): SampledResource => {
    const { pages, ...rest } = someResource({ inode, createdAt });
    return { ...rest, pages: pages && { ...pages, runs: fromPageRuns(pages.runs) } };
  };
  const none = () => 0;

  test('begin with the first sample that has the buffer and end with the first that has not', () => {
    const lives = new Lives();
    lives.observe(1, [buffer(7)], none);
    lives.observe(2, [buffer(7), buffer(8)], none);
    lives.observe(3, [buffer(8)], none);
    lives.observe(4, [buffer(7), buffer(8)], none);
    const told = lives
      .all()
      .map(({ inode, firstSeen, lastSeen, gone }) => [inode, firstSeen, lastSeen, gone]);
    expect(told).toEqual([
      [7, 1, 2, 3],
      [8, 2, 4, null],
      [7, 4, 4, null],
    ]);
    expect([lives.alive, lives.ended]).toEqual([2, 1]);
  });

  test('an inode that comes back with another time of creation is another buffer', () => {
    const lives = new Lives();
    lives.observe(1, [buffer(7, '2026-01-01T00:00:00.000Z')], none);
    lives.observe(2, [buffer(7, '2026-01-01T00:00:01.000Z')], none);
    expect(lives.all().map(({ gone, createdAt }) => [gone, createdAt])).toEqual([
      [2, Date.UTC(2026, 0, 1)],
      [null, Date.UTC(2026, 0, 1, 0, 0, 1)],
    ]);
  });

  test('have a state for each change, and past the limit still the worst', () => {
    const lives = new Lives();
    const seen = [0, 0, 3, null, 3];
    for (const [i, value] of seen.entries()) lives.observe(i, [buffer(7)], () => value);
    expect(lives.all()[0]?.states).toEqual([
      { at: 0, disconnected: 0 },
      { at: 2, disconnected: 3 },
      { at: 3, disconnected: null },
      { at: 4, disconnected: 3 },
    ]);
    for (let i = 5; i < 500; i++) lives.observe(i, [buffer(7)], () => (i === 400 ? 99 : i % 2));
    const states = lives.all()[0]?.states ?? [];
    expect(states).toHaveLength(64);
    expect(states.at(-1)?.disconnected).toBe(99);
  });

  test('of those that ended only so many are kept, and it is said how many are not', () => {
    const lives = new Lives(100);
    for (let i = 0; i < 1000; i++) lives.observe(i, [buffer(i)], none);
    expect(lives.ended).toBeLessThanOrEqual(125);
    expect(lives.ended + lives.dropped + lives.alive).toBe(1000);
    expect(lives.all().at(-1)?.inode).toBe(999);
  });
});
