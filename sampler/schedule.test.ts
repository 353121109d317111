import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { SampleTiming } from '../model/contract.ts';
import { Schedule } from './schedule.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A schedule whose samples take so long each, in turn; then 0. */
function scheduleOf(durations: number[]) {
  const begun: number[] = [];
  const timings: SampleTiming[] = [];
  let atOnce = 0;
  let most = 0;
  const schedule = new Schedule(1000, async timing => {
    begun.push(performance.now());
    most = Math.max(most, ++atOnce);
    await new Promise(resolve => setTimeout(resolve, durations.shift() ?? 0));
    timings.push(timing());
    atOnce--;
  });
  const origin = performance.now();
  return { schedule, timings, most: () => most, begun: () => begun.map(time => Math.round(time - origin)) };
}

test('a sample a period, the first at once', async () => {
  const { schedule, begun, timings } = scheduleOf([100, 200]);
  schedule.start();
  await vi.advanceTimersByTimeAsync(3500);
  expect(begun()).toEqual([0, 1000, 2000, 3000]);
  expect(timings.map(({ taken, skipped }) => [taken, skipped])).toEqual([
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 0],
  ]);
  expect(timings[1]?.wallMs).toBeCloseTo(200, 0);
});

test('what a long sample missed is left out and counted, never queued', async () => {
  const { schedule, begun, timings, most } = scheduleOf([2500, 990, 10]);
  schedule.start();
  await vi.advanceTimersByTimeAsync(6100);
  // Due at 1000 and 2000 while the first ran.
  expect(begun()).toEqual([0, 3000, 4000, 5000, 6000]);
  expect(timings.map(({ skipped }) => skipped)).toEqual([0, 2, 2, 2, 2]);
  expect(most()).toBe(1);
});

test('stop ends it, also in the middle of a sample; start goes on at once and never doubles', async () => {
  const { schedule, begun, most } = scheduleOf([300]);
  schedule.start();
  schedule.start();
  await vi.advanceTimersByTimeAsync(100);
  schedule.stop();
  await vi.advanceTimersByTimeAsync(5000);
  expect(begun()).toEqual([0]);
  schedule.start();
  await vi.advanceTimersByTimeAsync(1500);
  expect(begun()).toEqual([0, 5100, 6100]);
  expect(most()).toBe(1);
});
