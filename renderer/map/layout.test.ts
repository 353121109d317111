import fc from 'fast-check';
import { expect, test } from 'vitest';
import { boxesOf, cellAt, clampTop, contentHeight, layoutOf, pointOf, topFor, topToShow } from './layout.ts';

const views = fc.record({
  width: fc.integer({ min: 200, max: 3000 }),
  height: fc.integer({ min: 100, max: 2000 }),
  pages: fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 2 ** 28 })),
  rowBits: fc.integer({ min: -2, max: 40 }),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
});

test('64 GiB are on one screen, and single pages are large enough for their PFN', () => {
  const all = layoutOf(900, 620, 2 ** 24, 99);
  expect(contentHeight(all)).toBeCloseTo(620, 6);
  const near = layoutOf(900, 620, 2 ** 24, 0);
  expect([near.level, near.cellWidth >= 56, near.cellHeight]).toEqual([0, true, 30]);
});

test('a page is in the cell that it is drawn in', () => {
  fc.assert(
    fc.property(views, ({ width, height, pages, rowBits, at }) => {
      const layout = layoutOf(width, height, pages, rowBits);
      const page = Math.min(pages - 1, Math.floor(at * pages));
      const top = topFor(layout, page, height / 2);
      const { x, y } = pointOf(layout, top, page);
      expect(y).toBeGreaterThanOrEqual(-layout.cellHeight);
      expect(y).toBeLessThanOrEqual(height);
      const cell = cellAt(layout, top, x + layout.cellWidth / 2, y + layout.cellHeight / 2);
      expect(cell && cell.start <= page && page < cell.end).toBe(true);
    }),
  );
});

test('what is shown is in view, and what is in view stays where it is', () => {
  fc.assert(
    fc.property(views, fc.integer({ min: 1, max: 5000 }), ({ width, height, pages, rowBits, at }, count) => {
      const layout = layoutOf(width, height, pages, rowBits);
      const start = Math.min(pages - 1, Math.floor(at * pages));
      const end = Math.min(pages, start + count);
      const top = topToShow(layout, clampTop(layout, 1e9 * (1 - at)), start, end);
      expect(top).toBe(clampTop(layout, top));
      const y = pointOf(layout, top, start).y;
      expect(y).toBeGreaterThanOrEqual(-1e-6);
      expect(y).toBeLessThan(height);
      expect(topToShow(layout, top, start, start + 1)).toBe(top);
    }),
  );
});

test('boxes cover exactly the cells of a stretch', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4000 }),
      fc.integer({ min: 3, max: 9 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 900 }),
      (pages, rowBits, at, count) => {
        // Everything is in view.
        const layout = { ...layoutOf(20, 400, pages, rowBits), height: 1e9 };
        const start = Math.min(pages - 1, Math.floor(at * pages));
        const end = Math.min(pages, start + count);
        const boxes = boxesOf(layout, 0, start, end);
        expect(boxes.length).toBeLessThanOrEqual(3);
        for (let cell = 0; cell * 2 ** layout.level < pages; cell++) {
          const first = cell * 2 ** layout.level;
          const { x, y } = pointOf(layout, 0, first);
          const [cx, cy] = [x + layout.cellWidth / 2, y + layout.cellHeight / 2];
          const inside = boxes.filter(
            box => cx > box.x && cx < box.x + box.width && cy > box.y && cy < box.y + box.height,
          );
          expect(inside).toHaveLength(first < end && first + 2 ** layout.level > start ? 1 : 0);
        }
      },
    ),
  );
});
