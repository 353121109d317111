import { expect, test } from 'vitest';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import type { Resource } from '../../model/snapshot.ts';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { HELD, History, placeKey, placeOf, SIZE } from './history.svelte.ts';

const START = Date.parse('2026-03-04T05:06:07.000Z');
const at = (seconds: number, change: Parameters<typeof someSnapshot>[0] = {}): Sample =>
  fromSnapshot(someSnapshot({ takenAt: new Date(START + seconds * 1000).toISOString(), ...change }));
const withRuns = (inode: number, ...runs: ReturnType<typeof someRun>[]): Resource => {
  const { pages } = someResource();
  return someResource({ inode, pages: pages && { ...pages, runs } });
};
function fed(...samples: readonly Sample[]): History {
  const history = new History();
  for (const sample of samples) history.observe(sample, 'live', 1000);
  return history;
}

test('bytes are told by place, a page of two buffers once', () => {
  const normal = someRun({ pfn: 512, count: 2 });
  const movable = someRun({ pfn: 1024, count: 4, node: 1, zone: 'Movable' });
  const history = fed(
    at(0, { resources: [withRuns(1, normal), withRuns(2, normal, movable)] }),
    at(1, { resources: [withRuns(1, normal)] }),
  );
  const told = (key: string, second: number) => history.series.at(key, START + second * 1000)?.max;
  expect([told(HELD, 0), told(HELD, 1), told(SIZE, 0)]).toEqual([6 * 4096, 2 * 4096, 2 ** 21]);
  expect([
    told(placeKey(0, 'Normal'), 0),
    told(placeKey(1, 'Movable'), 0),
    told(placeKey(1, 'Movable'), 1),
  ]).toEqual([8192, 16384, 0]);
  expect(placeOf(placeKey(null, 'Movable'))).toEqual({ node: null, zone: 'Movable' });
});

test('what one buffer hides makes the sum unknown, not smaller', () => {
  const history = fed(at(0), at(1, { resources: [someResource(), someResource({ inode: 8, pages: null })] }));
  expect(history.series.newest(HELD)).toBeNull();
  expect(history.series.newest(placeKey(0, 'Normal'))).toBeNull();
  expect(history.series.newest(SIZE)).toBe(2 ** 21);
});

test('buffers that this user may no longer see did not end', () => {
  const denied = [someSource('maps', { state: 'denied' })];
  const history = fed(at(0), at(1, { resources: [], sources: denied }), at(2));
  expect(history.lives.all().map(({ gone }) => gone)).toEqual([null]);
  expect(history.series.at(SIZE, START + 1000)).toBeNull();
  const ended = fed(at(0), at(1, { resources: [] }));
  expect(ended.lives.all().map(({ gone }) => gone)).toEqual([START + 1000]);
});

test('a pause is a gap, a slower pace is not for long', () => {
  expect(fed(at(0), at(1), at(2), at(3.2)).gaps).toEqual([]);
  expect(fed(at(0), at(60), at(61)).gaps).toEqual([{ from: START, to: START + 60000 }]);
  expect(fed(at(0), at(1), at(3), at(4)).gaps).toEqual([{ from: START + 1000, to: START + 3000 }]);
  const slow = fed(...Array.from({ length: 40 }, (_, i) => at(i < 20 ? i : 19 + (i - 19) * 5)));
  expect(slow.gaps.length).toBeLessThan(10);
  // A recording tells its own pace.
  const recording = new History();
  for (const second of [0, 10, 20, 30, 90]) recording.observe(at(second), 'recording 1', 10_000);
  expect(recording.gaps).toEqual([{ from: START + 30000, to: START + 90000 }]);
});

test('another process, another source and a clock that was set back begin anew; what was seen before changes nothing', () => {
  const history = fed(at(0), at(1));
  history.observe(at(0), 'live', 1000);
  history.observe(at(1), 'live', 1000);
  expect(history.samples).toBe(2);
  history.observe(at(2), 'recording 1', 1000);
  expect([history.samples, history.start]).toEqual([1, START + 2000]);
  history.observe(at(1), 'recording 1', 1000);
  expect(history.samples).toBe(1);
  history.observe(at(3, { target: { startTime: '9' } }), 'recording 1', 1000);
  expect([history.samples, history.lives.ended]).toEqual([1, 0]);
  const live = fed(at(100), at(101));
  live.observe(at(50), 'live', 1000);
  expect([live.samples, live.end]).toEqual([1, START + 50000]);
});

test('a live sample waits, one at most, and none is left out or taken twice', () => {
  const waiting: (() => void)[] = [];
  const history = new History(work => waiting.push(work));
  history.observe(at(0), 'live', 1000);
  expect(history.samples).toBe(0);
  history.observe(at(1), 'live', 1000);
  expect([history.samples, history.end]).toEqual([1, START]);
  for (const work of waiting.splice(0)) work();
  expect([history.samples, history.end]).toEqual([2, START + 1000]);
  history.observe(at(2), 'live', 1000);
  history.observe(at(5), 'recording 1', 1000);
  history.observe(at(6), 'recording 1', 1000);
  for (const work of waiting.splice(0)) work();
  expect([history.samples, history.start, history.end]).toEqual([2, START + 5000, START + 6000]);
});

test('any number of gaps is kept within bounds, and none is lost', () => {
  const history = fed(...Array.from({ length: 2400 }, (_, i) => at(i + Math.floor(i / 4) * 5)));
  expect(history.gaps.length).toBeLessThanOrEqual(512);
  for (let gap = 1; gap < 600; gap++) {
    const time = START + (gap * 9 - 2) * 1000;
    expect(history.gaps.some(({ from, to }) => from <= time && time <= to)).toBe(true);
  }
});
