import { FLAG } from '../../model/map/classes.ts';
import { stretchesOf } from '../../model/map/held.ts';
import type { PageMapModel } from '../../model/map/page-map.ts';
import type { Spot } from '../../model/map/walk.ts';
import { drawCellMarks, drawPfns } from './cells.ts';
import { type Box, boxesOf, type MapLayout, pointOf, rowsInView } from './layout.ts';
import type { Palette } from './palette.ts';
import type { PixelTable, Raster } from './raster.ts';
import { addressText, holeText, rowStep } from './words.ts';

/** Left of the cells, CSS pixels: names of regions, addresses of rows, marks of rows. */
export const NAMES_WIDTH = 18;
export const ADDRESS_WIDTH = 84;
export const MARKS_WIDTH = 12;
export const LEFT = NAMES_WIDTH + ADDRESS_WIDTH + MARKS_WIDTH;

/** The outline of the cell below the pointer is at least so wide and high. */
const LEAST_OUTLINE = 3;

export interface Scene {
  readonly model: PageMapModel;
  readonly layout: MapLayout;
  readonly top: number;
  readonly spot: Spot | null;
  readonly hover: { readonly start: number; readonly end: number } | null;
  readonly focused: boolean;
  readonly table: PixelTable;
  readonly palette: Palette;
  readonly raster: Raster;
  readonly patterns: Patterns;
}

export interface Patterns {
  readonly hole: CanvasPattern | null;
  readonly unknown: CanvasPattern | null;
}

/** Lines for holes, dots for what is not known to be memory. */
export function patternsOf(context: CanvasRenderingContext2D, palette: Palette): Patterns {
  const make = (draw: (on: OffscreenCanvasRenderingContext2D) => void): CanvasPattern | null => {
    const canvas = new OffscreenCanvas(8, 8);
    const on = canvas.getContext('2d');
    if (on === null) return null;
    on.fillStyle = palette.surface;
    on.fillRect(0, 0, 8, 8);
    draw(on);
    return context.createPattern(canvas, 'repeat');
  };
  return {
    hole: make(on => {
      on.strokeStyle = palette.hatch;
      on.lineWidth = 1;
      for (const at of [-8, 0, 8]) {
        on.moveTo(at, 8);
        on.lineTo(at + 8, 0);
      }
      on.stroke();
    }),
    unknown: make(on => {
      on.fillStyle = palette.hatch;
      on.fillRect(1, 1, 2, 2);
      on.fillRect(5, 5, 2, 2);
    }),
  };
}

/**
 * Draws a frame. The context is scaled to CSS pixels; `height` is the layout's.
 * @param only all that changed since the frame before: cells of the map, the same but for their outline; `null`: anything may have
 */
export function paint(
  on: CanvasRenderingContext2D,
  scene: Scene,
  only: readonly Scene['hover'][] | null,
): void {
  const { layout, palette } = scene;
  on.save();
  if (only !== null) clipTo(on, scene, only);
  on.fillStyle = palette.surface;
  on.fillRect(0, 0, LEFT + layout.width, layout.height);
  on.save();
  on.beginPath();
  on.rect(LEFT, 0, layout.width, layout.height);
  on.clip();
  on.translate(LEFT, 0);
  drawGround(on, scene);
  const rowFlags = drawCells(on, scene);
  drawLines(on, scene);
  drawCellMarks(on, scene);
  drawPfns(on, scene);
  drawHoles(on, scene);
  drawSelection(on, scene);
  on.restore();
  drawNames(on, scene);
  drawAddresses(on, scene);
  drawRowMarks(on, scene, rowFlags);
  on.restore();
}

/** Leaves what is not around these cells as it is. Whole pixels of the canvas, so that no edge is drawn twice. */
function clipTo(
  on: CanvasRenderingContext2D,
  { layout, top }: Scene,
  cells: readonly Scene['hover'][],
): void {
  const scaled = on.getTransform();
  on.resetTransform();
  on.beginPath();
  for (const cell of cells) {
    if (cell === null) continue;
    for (const box of boxesOf(layout, top, cell.start, cell.end)) {
      const x = Math.floor((LEFT + box.x - 1) * scaled.a);
      const y = Math.floor((box.y - 1) * scaled.d);
      const right = Math.ceil((LEFT + box.x + Math.max(LEAST_OUTLINE, box.width) + 1) * scaled.a);
      const bottom = Math.ceil((box.y + Math.max(LEAST_OUTLINE, box.height) + 1) * scaled.d);
      on.rect(x, y, right - x, bottom - y);
    }
  }
  on.clip();
  on.setTransform(scaled);
}

/** Memory, holes, and what is not known, below the cells. */
function drawGround(on: CanvasRenderingContext2D, { model, layout, top, palette, patterns }: Scene): void {
  for (const { start, pages, presence } of model.space.segments) {
    on.fillStyle =
      (presence === 'present' ? null : presence === 'hole' ? patterns.hole : patterns.unknown) ??
      palette.free;
    for (const { x, y, width, height } of boxesOf(layout, top, start, start + pages)) {
      on.fillRect(x, y, width, height);
    }
  }
}

function drawCells(on: CanvasRenderingContext2D, scene: Scene): Uint8Array {
  const { model, layout, top, table, raster } = scene;
  const { first, count } = rowsInView(layout, top);
  if (count === 0) return new Uint8Array();
  const rowFlags = raster.draw(model, layout, first, count, table);
  on.imageSmoothingEnabled = false;
  const y = first * layout.cellHeight - top;
  on.drawImage(raster.canvas, 0, 0, layout.columns, count, 0, y, layout.width, count * layout.cellHeight);
  return rowFlags;
}

/** Borders: between cells where they are large, of memory blocks, and of regions. */
function drawLines(on: CanvasRenderingContext2D, scene: Scene): void {
  const { model, layout, top, palette } = scene;
  const { first, count } = rowsInView(layout, top);
  const { cellWidth, cellHeight, columns, rowBits, height } = layout;
  if (cellWidth >= 7) {
    on.fillStyle = palette.surface;
    for (let row = first; row <= first + count; row++)
      on.fillRect(0, row * cellHeight - top, layout.width, 1);
    for (let column = 1; column < columns; column++) on.fillRect(column * cellWidth, 0, 1, height);
  }
  on.fillStyle = palette.hatch;
  const rowPages = 2 ** rowBits;
  const { blockPages } = model.space;
  if (blockPages !== null) {
    const blockRows = blockPages / rowPages;
    if (blockRows >= 1 && blockRows * cellHeight >= 24) {
      const begin = Math.ceil(first / blockRows) * blockRows;
      for (let row = begin; row <= first + count; row += blockRows) {
        on.fillRect(0, row * cellHeight - top, layout.width, 1);
      }
    } else if (blockRows < 1 && layout.width * blockRows >= 24) {
      for (let at = layout.width * blockRows; at < layout.width - 1; at += layout.width * blockRows) {
        on.fillRect(Math.round(at), 0, 1, Math.min(height, layout.rows * cellHeight - top));
      }
    }
  }
  on.fillStyle = palette.text;
  for (const { start } of model.space.segments) if (start > 0) drawBorder(on, scene, start);
}

/** The border before a page: above its row from it on, below the row before up to it, and between the two. */
function drawBorder(on: CanvasRenderingContext2D, { layout, top }: Scene, page: number): void {
  const { x, y } = pointOf(layout, top, page);
  if (y < -layout.cellHeight || y > layout.height) return;
  on.fillRect(x, y, layout.width - x, 1);
  if (x > 0) {
    on.fillRect(x, y, 1, layout.cellHeight);
    on.fillRect(0, y + layout.cellHeight, x, 1);
  }
}

/** What a hole is, in its middle, where it has the room. */
function drawHoles(on: CanvasRenderingContext2D, { model, layout, top, palette }: Scene): void {
  on.font = `11px ${palette.font}`;
  on.textAlign = 'center';
  on.textBaseline = 'middle';
  for (const segment of model.space.segments) {
    if (segment.presence !== 'hole') continue;
    const box = boxesOf(layout, top, segment.start, segment.start + segment.pages).find(
      ({ width, height }) => width === layout.width && height >= 22,
    );
    if (box === undefined) continue;
    const y0 = Math.max(0, box.y);
    const y1 = Math.min(layout.height, box.y + box.height);
    if (y1 - y0 < 22) continue;
    const text = holeText(segment);
    const wide = on.measureText(text).width + 12;
    on.fillStyle = palette.surface;
    on.fillRect((layout.width - wide) / 2, (y0 + y1) / 2 - 9, wide, 18);
    on.fillStyle = palette.muted;
    on.fillText(text, layout.width / 2, (y0 + y1) / 2);
  }
}

function drawSelection(on: CanvasRenderingContext2D, scene: Scene): void {
  const { model, layout, top, spot, hover, palette, focused } = scene;
  if (hover !== null) {
    on.strokeStyle = palette.text;
    on.lineWidth = 1;
    for (const box of boxesOf(layout, top, hover.start, hover.end)) {
      const [width, height] = [Math.max(LEAST_OUTLINE, box.width), Math.max(LEAST_OUTLINE, box.height)];
      on.strokeRect(box.x + 0.5, box.y + 0.5, width - 1, height - 1);
    }
  }
  const runs = spot?.entry.resource.pages?.runs;
  if (spot === null || runs === undefined) return;
  const boxes: Box[] = stretchesOf(model.space, runs, spot.entry.row).flatMap(({ start, pages }) =>
    boxesOf(layout, top, start, start + pages),
  );
  // Two lines, so that it is seen on every colour. Around the run, so that a small one stays visible itself.
  outline(on, boxes, 2.5, palette.surface, 4);
  outline(on, boxes, 2.5, focused ? palette.focus : palette.text, 2);
  if (layout.cellWidth >= 5) {
    outline(on, boxesOf(layout, top, spot.position, spot.position + 1), -1, palette.surface, 3);
    outline(on, boxesOf(layout, top, spot.position, spot.position + 1), -1, palette.focus, 1.5);
  }
}

function outline(
  on: CanvasRenderingContext2D,
  boxes: readonly Box[],
  out: number,
  colour: string,
  width: number,
): void {
  on.strokeStyle = colour;
  on.lineWidth = width;
  for (const box of boxes) {
    on.strokeRect(box.x - out, box.y - out, box.width + 2 * out, box.height + 2 * out);
  }
}

/** Names of regions along their height; one that is too small for its name has none. */
function drawNames(on: CanvasRenderingContext2D, { model, layout, top, palette }: Scene): void {
  on.save();
  on.font = `11px ${palette.font}`;
  on.textAlign = 'center';
  on.textBaseline = 'middle';
  model.space.regions.forEach(({ label, start, pages }, i) => {
    const y0 = Math.max(0, pointOf(layout, top, start).y);
    const y1 = Math.min(layout.height, pointOf(layout, top, start + pages - 1).y + layout.cellHeight);
    if (pages === 0 || y1 - y0 < 2) return;
    on.fillStyle = i % 2 === 0 ? palette.line : palette.free;
    on.fillRect(1, y0, NAMES_WIDTH - 3, y1 - y0 - 1);
    if (on.measureText(label).width + 4 > y1 - y0) return;
    on.save();
    on.translate(NAMES_WIDTH / 2, (y0 + y1) / 2);
    on.rotate(-Math.PI / 2);
    on.fillStyle = palette.text;
    on.fillText(label, 0, 0);
    on.restore();
  });
  on.restore();
}

/** The address of the first page of rows that are a round number apart. */
function drawAddresses(on: CanvasRenderingContext2D, scene: Scene): void {
  const { model, layout, top, palette } = scene;
  const { first, count } = rowsInView(layout, top);
  const step = rowStep(layout.cellHeight);
  on.font = `11px ${palette.font}`;
  on.textAlign = 'right';
  on.textBaseline = 'middle';
  on.fillStyle = palette.muted;
  const x = NAMES_WIDTH + ADDRESS_WIDTH - 4;
  for (let row = Math.ceil(first / step) * step; row < first + count; row += step) {
    const y = row * layout.cellHeight - top + layout.cellHeight / 2;
    if (y < 6 || y > layout.height - 5) continue;
    on.fillText(addressText(model.space, row * 2 ** layout.rowBits), x, y);
  }
}

/** Rows with a disconnected page have a filled wedge, rows with pages of a buffer with a finding a hollow one. */
function drawRowMarks(on: CanvasRenderingContext2D, scene: Scene, rowFlags: Uint8Array): void {
  const { layout, top, palette } = scene;
  const { first } = rowsInView(layout, top);
  const wedge = (y: number): void => {
    on.beginPath();
    on.moveTo(LEFT - 2, y);
    on.lineTo(LEFT - MARKS_WIDTH + 1, y - 4.5);
    on.lineTo(LEFT - MARKS_WIDTH + 1, y + 4.5);
    on.closePath();
  };
  // One a few pixels: wedges on top of one another would be a bar.
  const drawn = { filled: Number.NEGATIVE_INFINITY, hollow: Number.NEGATIVE_INFINITY };
  for (const [flag, kind] of [
    [FLAG.error | FLAG.warning, 'hollow'],
    [FLAG.disconnected, 'filled'],
  ] as const) {
    rowFlags.forEach((bits, i) => {
      const y = (first + i + 0.5) * layout.cellHeight - top;
      if ((bits & flag) === 0 || y - drawn[kind] < (kind === 'filled' ? 4 : 14)) return;
      drawn[kind] = y;
      wedge(y);
      if (kind === 'filled') {
        on.fillStyle = palette.disconnected;
        on.fill();
      } else {
        on.strokeStyle = (bits & FLAG.error) !== 0 ? palette.error : palette.warning;
        on.lineWidth = 1;
        on.stroke();
      }
    });
  }
}
