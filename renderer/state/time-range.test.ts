import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LEAST_MS, panned, TimeRange, wholeSpan, zoomed } from './time-range.svelte.ts';

const WHOLE = { from: 1000, to: 11000 };

test('any zoom and pan stays inside what there is, and never turns around', () => {
  const step = fc.record({
    zoom: fc.boolean(),
    by: fc.double({ min: -2, max: 2, noNaN: true }),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      let span = WHOLE;
      for (const { zoom, by, at } of steps) {
        const around = span.from + at * (span.to - span.from);
        span = zoom ? zoomed(span, WHOLE, 2 ** by, around) : panned(span, WHOLE, by);
        expect(span.from).toBeGreaterThanOrEqual(WHOLE.from - 1e-6);
        expect(span.to).toBeLessThanOrEqual(WHOLE.to + 1e-6);
        expect(span.to - span.from).toBeGreaterThanOrEqual(LEAST_MS - 1e-6);
      }
    }),
  );
});

test('zooming keeps the time around which it zooms in its place', () => {
  expect(zoomed(WHOLE, WHOLE, 0.5, 3500)).toEqual({ from: 2250, to: 7250 });
});

test('a view of the newest goes along with new samples, a view of the past stays', () => {
  const later = { from: 1000, to: 21000 };
  const range = new TimeRange();
  expect(range.span(later)).toEqual(later);
  range.zoom(0.5, WHOLE, null);
  expect(range.span(WHOLE)).toEqual({ from: 6000, to: 11000 });
  expect(range.span(later)).toEqual({ from: 16000, to: 21000 });
  range.pan(-0.5, WHOLE);
  expect(range.span(WHOLE)).toEqual(range.span(later));
  range.zoom(8, WHOLE, null);
  expect(range.whole).toBe(true);
});

test('what is older than the first sample is shown for a while, not for days', () => {
  expect(wholeSpan(100_000, 200_000, 100_000)).toEqual({ from: 98_000, to: 202_000 });
  const { from } = wholeSpan(100_000, 200_000, 0);
  expect(from).toBeGreaterThan(70_000);
  const one = wholeSpan(100_000, 100_000, 100_000);
  expect(one.to - one.from).toBeGreaterThanOrEqual(LEAST_MS);
});
