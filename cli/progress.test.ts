import { afterEach, describe, expect, test, vi } from 'vitest';
import { Progress } from './progress.ts';

afterEach(() => vi.restoreAllMocks());

/** A progress on a clock of its own; what was written after each update. */
function run(isTTY: boolean, times: readonly number[], total = 10): string[] {
  let now = 1000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const written: string[] = [];
  const progress = new Progress({
    isTTY,
    write: (text: unknown) => {
      written.push(String(text));
      return true;
    },
  });
  for (const [done, time] of times.entries()) {
    now = 1000 + time;
    progress.update({ what: 'looking', done, total });
  }
  progress.end();
  return written;
}

describe('on a terminal', () => {
  test('nothing for half a second, and then nothing to clear', () => {
    expect(run(true, [0, 100, 499])).toEqual([]);
  });
  test('one line, rewritten ten times a second at most, and cleared', () => {
    expect(run(true, [0, 500, 550, 599, 600, 650, 710])).toEqual([
      '\r\x1b[Klooking: 1 of 10',
      '\r\x1b[Klooking: 4 of 10',
      '\r\x1b[Klooking: 6 of 10',
      '\r\x1b[K',
    ]);
  });
});

describe('in a log', () => {
  test('a line now and then, without escapes', () => {
    expect(run(false, [0, 500, 3000, 5400, 5500, 9000, 10600])).toEqual([
      'looking: 1 of 10\n',
      'looking: 4 of 10\n',
      'looking: 6 of 10\n',
    ]);
  });
  test('nothing to count', () => {
    expect(run(false, [600], 0)).toEqual(['looking\n']);
  });
});
