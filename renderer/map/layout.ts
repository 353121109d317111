/**
 * Pages flow from left to right and from top to bottom. A row holds a power of two of them, and so does a cell, so that
 * what is aligned in memory is aligned on the screen. Sizes are CSS pixels.
 */
export interface MapLayout {
  readonly width: number;
  readonly height: number;
  readonly pages: number;
  /** A row has 2^rowBits pages, a cell 2^level. */
  readonly rowBits: number;
  readonly level: number;
  readonly columns: number;
  readonly rows: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
}

/** The narrowest cell, and the largest height of one. */
const LEAST_WIDTH = 2.5;
const MOST_HEIGHT = 30;
/** A cell that is narrower prints no PFN, so that there is no use in rows of fewer pages. */
const READABLE_WIDTH = 62;

const columnBits = (width: number): number =>
  Math.max(0, Math.floor(Math.log2(Math.max(1, width / LEAST_WIDTH))));

/** Rows of the fewest pages: cells in which a PFN can be read. */
export const leastRowBits = (width: number): number =>
  Math.max(1, Math.floor(Math.log2(Math.max(2, width / READABLE_WIDTH))));

function at(width: number, height: number, pages: number, rowBits: number): MapLayout {
  const bits = Math.min(rowBits, columnBits(width));
  const columns = 2 ** bits;
  const rows = Math.max(1, Math.ceil(pages / 2 ** rowBits));
  const cellWidth = width / columns;
  const natural = Math.min(MOST_HEIGHT, Math.max(3, Math.round(cellWidth)));
  // Where all fits, rows use the room that there is.
  const roomy = height / rows;
  const cellHeight = Math.max(natural, Math.min(roomy, 2 * natural));
  return { width, height, pages, rowBits, level: rowBits - bits, columns, rows, cellWidth, cellHeight };
}

/** The closest view that has all on one screen. */
export function fitRowBits(width: number, height: number, pages: number): number {
  let rowBits = leastRowBits(width);
  for (; rowBits < 40; rowBits++) {
    const { rows, cellHeight } = at(width, height, pages, rowBits);
    if (rows * cellHeight <= height) break;
  }
  return rowBits;
}

/** The layout with rows of 2^rowBits pages; what is too near or too far is moved to the nearest there is. */
export function layoutOf(width: number, height: number, pages: number, rowBits: number): MapLayout {
  const most = fitRowBits(width, height, pages);
  return at(width, height, pages, Math.min(most, Math.max(Math.min(most, leastRowBits(width)), rowBits)));
}

/** Height of all rows. */
export const contentHeight = ({ rows, cellHeight }: MapLayout): number => rows * cellHeight;

/** A scroll position at which the view is full. */
export function clampTop(layout: MapLayout, top: number): number {
  return Math.max(0, Math.min(top, contentHeight(layout) - layout.height));
}

/** Rows that are in view, and the first of them. */
export function rowsInView(layout: MapLayout, top: number): { first: number; count: number } {
  const first = Math.floor(top / layout.cellHeight);
  const end = Math.min(layout.rows, Math.ceil((top + layout.height) / layout.cellHeight));
  return { first, count: Math.max(0, end - first) };
}

/** First page and end of the cell below a point; `null` outside the map. */
export function cellAt(
  layout: MapLayout,
  top: number,
  x: number,
  y: number,
): { start: number; end: number } | null {
  const row = Math.floor((y + top) / layout.cellHeight);
  const column = Math.floor(x / layout.cellWidth);
  if (row < 0 || column < 0 || column >= layout.columns) return null;
  const start = row * 2 ** layout.rowBits + column * 2 ** layout.level;
  if (start >= layout.pages) return null;
  return { start, end: Math.min(layout.pages, start + 2 ** layout.level) };
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Upper left corner of the cell of a page, from the top of the view. */
export function pointOf(layout: MapLayout, top: number, page: number): Point {
  const row = Math.floor(page / 2 ** layout.rowBits);
  const column = Math.floor((page % 2 ** layout.rowBits) / 2 ** layout.level);
  return { x: column * layout.cellWidth, y: row * layout.cellHeight - top };
}

/** The scroll position at which a page is as near to the height `y` of the view as it can be. */
export function topFor(layout: MapLayout, page: number, y: number): number {
  const row = Math.floor(page / 2 ** layout.rowBits);
  return clampTop(layout, (row + 0.5) * layout.cellHeight - y);
}

/** The scroll position nearest to `top` at which pages from `start` up to `end` are in view, with a row to spare. */
export function topToShow(layout: MapLayout, top: number, start: number, end: number): number {
  const { cellHeight, rowBits, height } = layout;
  const first = Math.floor(start / 2 ** rowBits) * cellHeight;
  const last = (Math.floor((end - 1) / 2 ** rowBits) + 1) * cellHeight;
  const spare = Math.min(cellHeight, height / 4);
  if (first >= top && last <= top + height) return clampTop(layout, top);
  if (last - first > height - 2 * spare || first < top) return clampTop(layout, first - spare);
  return clampTop(layout, last + spare - height);
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Pages from `start` up to `end` as at most three boxes: what is left of a first row, whole rows, the beginning of a last one.
 * Only what touches the view. A part of a cell counts as the whole cell; a part of a row at most.
 */
export function boxesOf(layout: MapLayout, top: number, start: number, end: number): Box[] {
  const { rowBits, level, cellWidth, cellHeight, height } = layout;
  const rowPages = 2 ** rowBits;
  const boxes: Box[] = [];
  const add = (row: number, rows: number, from: number, to: number): void => {
    const y = row * cellHeight - top;
    if (rows <= 0 || from >= to || y >= height || y + rows * cellHeight <= 0) return;
    const left = Math.floor(from / 2 ** level) * cellWidth;
    const right = Math.ceil(to / 2 ** level) * cellWidth;
    boxes.push({ x: left, y, width: right - left, height: rows * cellHeight });
  };
  const first = Math.floor(start / rowPages);
  const last = Math.floor((end - 1) / rowPages);
  if (first === last) {
    add(first, 1, start - first * rowPages, end - first * rowPages);
    return boxes;
  }
  const whole = start % rowPages === 0 ? first : first + 1;
  const wholeEnd = end % rowPages === 0 ? last + 1 : last;
  if (whole > first) add(first, 1, start - first * rowPages, rowPages);
  add(whole, wholeEnd - whole, 0, rowPages);
  if (wholeEnd <= last) add(last, 1, 0, end - last * rowPages);
  return boxes;
}
