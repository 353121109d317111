/** The rows of a long table that are drawn. */
export interface RowWindow {
  readonly first: number;
  readonly count: number;
  /** Top of the first drawn row in the scrolled body, pixels. */
  readonly top: number;
}

/** No browser lays out more than about 33 million pixels; two million rows are more. */
export const MAX_BODY_PX = 16_000_000;
/** Rows drawn beyond each edge, so that a fast scroll shows no gap before the next frame. */
const BEYOND = 6;

/** Height of the scrolled body for so many rows, pixels. Beyond the limit one pixel of it stands for more than one. */
export function bodyHeight(rows: number, rowHeight: number): number {
  return Math.min(rows * rowHeight, MAX_BODY_PX);
}

/**
 * The rows to draw where the body is scrolled by `scrollTop` in a view of `viewHeight` pixels. The last scroll position
 * always shows the last row.
 */
export function rowWindow(rows: number, rowHeight: number, scrollTop: number, viewHeight: number): RowWindow {
  const full = rows * rowHeight;
  const body = bodyHeight(rows, rowHeight);
  const scrollable = Math.max(1, body - viewHeight);
  const at = Math.min(Math.max(0, scrollTop), scrollable);
  const scale = full > body ? (full - viewHeight) / scrollable : 1;
  const top = at * scale;
  const first = Math.max(0, Math.floor(top / rowHeight) - BEYOND);
  const last = Math.min(rows, Math.ceil((top + viewHeight) / rowHeight) + BEYOND);
  return { first, count: Math.max(0, last - first), top: at + (first * rowHeight - top) };
}

/** At most so many rows are drawn in a view of `viewHeight` pixels. */
export function mostDrawn(rowHeight: number, viewHeight: number): number {
  return Math.ceil(viewHeight / rowHeight) + 1 + 2 * BEYOND;
}

/** The scroll position nearest to `scrollTop` at which row `row` is in view, pixels. */
export function scrollToRow(
  rows: number,
  rowHeight: number,
  row: number,
  scrollTop: number,
  viewHeight: number,
): number {
  const full = rows * rowHeight;
  const body = bodyHeight(rows, rowHeight);
  const scale = full > body ? (full - viewHeight) / Math.max(1, body - viewHeight) : 1;
  const top = scrollTop * scale;
  const wanted = Math.min(Math.max(top, (row + 1) * rowHeight - viewHeight), row * rowHeight);
  // Unmoved stays exact: there and back through the scale would shift it by a fraction.
  return wanted === top ? scrollTop : wanted / scale;
}
