import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bodyHeight, MAX_BODY_PX, mostDrawn, rowWindow, scrollToRow } from './window.ts';

const ROW = 22;
const rows = fc.integer({ min: 1, max: 2_500_000 });
const view = fc.integer({ min: ROW, max: 1500 });
const share = fc.double({ min: 0, max: 1, noNaN: true });
/** Layout and scrolling round to fractions of a pixel. */
const ROUNDING = 0.01;

/** Top and bottom of a row on the screen, from the top of the view. */
function onScreen(count: number, scrollTop: number, height: number, row: number): [number, number] {
  const { first, top } = rowWindow(count, ROW, scrollTop, height);
  const y = top + (row - first) * ROW - scrollTop;
  return [y, y + ROW];
}
const lastScroll = (count: number, height: number) => Math.max(0, bodyHeight(count, ROW) - height);

describe('rowWindow', () => {
  test('leaves no gap in the view, wherever it is scrolled to', () => {
    fc.assert(
      fc.property(rows, view, share, (count, height, at) => {
        const scrollTop = at * lastScroll(count, height);
        const { first, count: drawn } = rowWindow(count, ROW, scrollTop, height);
        const last = first + drawn - 1;
        const [top] = onScreen(count, scrollTop, height, first);
        const [, bottom] = onScreen(count, scrollTop, height, last);
        expect(first).toBeGreaterThanOrEqual(0);
        expect(last).toBeLessThan(count);
        expect(top).toBeLessThanOrEqual(ROUNDING);
        if (last < count - 1) expect(bottom).toBeGreaterThanOrEqual(height - ROUNDING);
        // A few dozen rows, whatever the table's length.
        expect(drawn).toBeLessThanOrEqual(height / ROW + 15);
      }),
    );
  });

  test('shows the last row, whole, at the end', () => {
    fc.assert(
      fc.property(rows, view, (count, height) => {
        const [top, bottom] = onScreen(count, lastScroll(count, height), height, count - 1);
        expect(top).toBeGreaterThanOrEqual(-ROUNDING);
        expect(bottom).toBeLessThanOrEqual(height + ROUNDING);
      }),
    );
  });

  test('a scroll beyond an end, as when rows went away, shows that end', () => {
    expect(rowWindow(10, ROW, 5000, 110)).toEqual(rowWindow(10, ROW, 110, 110));
    expect(rowWindow(10, ROW, -40, 110)).toEqual(rowWindow(10, ROW, 0, 110));
    expect(rowWindow(0, ROW, 0, 110).count).toBe(0);
  });
});

describe('scrollToRow', () => {
  test('brings every row into view', () => {
    fc.assert(
      fc.property(rows, view, share, share, (count, height, at, which) => {
        const row = Math.min(count - 1, Math.floor(which * count));
        const to = scrollToRow(count, ROW, row, at * lastScroll(count, height), height);
        expect(to).toBeGreaterThanOrEqual(0);
        const [top, bottom] = onScreen(count, to, height, row);
        expect(top).toBeGreaterThanOrEqual(-ROUNDING);
        expect(bottom).toBeLessThanOrEqual(height + ROUNDING);
      }),
    );
  });

  test('does not scroll for a row that is in view', () => {
    fc.assert(
      fc.property(rows, view, share, (count, height, at) => {
        const scrollTop = at * lastScroll(count, height);
        const { first, count: drawn } = rowWindow(count, ROW, scrollTop, height);
        for (let row = first; row < first + drawn; row++) {
          const [top, bottom] = onScreen(count, scrollTop, height, row);
          if (top >= 1 && bottom <= height - 1) {
            expect(scrollToRow(count, ROW, row, scrollTop, height)).toBe(scrollTop);
          }
        }
      }),
    );
  });
});

test('no table is higher than a browser can lay out', () => {
  expect(bodyHeight(2_000_000, ROW)).toBe(MAX_BODY_PX);
  expect(bodyHeight(10_000, ROW)).toBe(220_000);
});

test('no view draws more rows than it is said to', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 3_000_000 }),
      fc.double({ min: 0, max: MAX_BODY_PX, noNaN: true }),
      fc.integer({ min: 0, max: 4000 }),
      (rows, scrollTop, viewHeight) => {
        expect(rowWindow(rows, 22, scrollTop, viewHeight).count).toBeLessThanOrEqual(
          mostDrawn(22, viewHeight),
        );
      },
    ),
  );
});
