import { FLAG } from '../../model/map/classes.ts';
import { segmentAt } from '../../model/map/space.ts';
import { TILE_CELLS } from '../../model/map/tiles.ts';
import { rowsInView } from './layout.ts';
import type { Scene } from './paint.ts';
import { colourOf, inkOn } from './palette.ts';
import { pageText } from './words.ts';

/** A cell with room for a cross, and one with room for a PFN. */
const CROSS = 7;
const TEXT_WIDTH = 54;
const TEXT_HEIGHT = 16;

/** Calls back for every cell in view that holds pages. */
function eachHeld(
  scene: Scene,
  each: (start: number, x: number, y: number, top: number, flags: number) => void,
): void {
  const { model, layout } = scene;
  const { first, count } = rowsInView(layout, scene.top);
  const cells = Math.ceil(model.space.pages / 2 ** layout.level);
  for (let row = first; row < first + count; row++) {
    const begin = row * layout.columns;
    if (begin >= cells) break;
    const tile = model.tile(layout.level, Math.floor(begin / TILE_CELLS));
    for (let i = 0; i < layout.columns; i++) {
      const at = (begin % TILE_CELLS) + i;
      if ((tile.held[at] ?? 0) === 0) continue;
      const x = i * layout.cellWidth;
      const y = row * layout.cellHeight - scene.top;
      each((begin + i) * 2 ** layout.level, x, y, tile.top[at] ?? 0, tile.flags[at] ?? 0);
    }
  }
}

/** A cross over each cell with a disconnected page, a corner on each with a page that is held more than once. */
export function drawCellMarks(on: CanvasRenderingContext2D, scene: Scene): void {
  const { cellWidth, cellHeight } = scene.layout;
  if (cellWidth < CROSS) return;
  const side = Math.min(cellWidth, cellHeight) * 0.25;
  const crosses = new Path2D();
  const corners = new Path2D();
  const hasText = cellWidth >= TEXT_WIDTH && cellHeight >= TEXT_HEIGHT;
  eachHeld(scene, (_, x, y, __, flags) => {
    if ((flags & FLAG.disconnected) !== 0) {
      // Beside the PFN where there is one.
      const [cx, cy] = [x + (hasText ? 6 : cellWidth / 2), y + cellHeight / 2];
      const arm = hasText ? 3 : side;
      crosses.moveTo(cx - arm, cy - arm);
      crosses.lineTo(cx + arm, cy + arm);
      crosses.moveTo(cx + arm, cy - arm);
      crosses.lineTo(cx - arm, cy + arm);
    }
    if ((flags & FLAG.repeated) !== 0) {
      const corner = Math.max(3, side);
      corners.moveTo(x + cellWidth, y + 1);
      corners.lineTo(x + cellWidth, y + 1 + corner);
      corners.lineTo(x + cellWidth - corner, y + 1);
      corners.closePath();
    }
  });
  on.strokeStyle = inkOn(scene.palette, scene.palette.disconnected);
  on.lineWidth = cellWidth >= 12 ? 2 : 1;
  on.stroke(crosses);
  on.fillStyle = scene.palette.text;
  on.fill(corners);
}

/** PFN, guest page or page of the memfd in every cell that stands for one page and has the room. */
export function drawPfns(on: CanvasRenderingContext2D, scene: Scene): void {
  const { layout, model, palette } = scene;
  if (layout.level > 0 || layout.cellWidth < TEXT_WIDTH || layout.cellHeight < TEXT_HEIGHT) return;
  on.font = `11px ${palette.font}`;
  on.textAlign = 'center';
  on.textBaseline = 'middle';
  const inks = model.classes.classes.map(({ paint }) => inkOn(palette, colourOf(palette, paint)));
  const disconnected = inkOn(palette, palette.disconnected);
  const faint = inkOn(palette, palette.faint);
  const held = new Map<number, string>();
  eachHeld(scene, (start, _, __, top, flags) => {
    const ink = (flags & FLAG.disconnected) !== 0 ? disconnected : top === 0 ? faint : inks[top - 1];
    held.set(start, ink ?? palette.text);
  });
  const { first, count } = rowsInView(layout, scene.top);
  const from = first * layout.columns;
  const end = Math.min(model.space.pages, from + count * layout.columns);
  for (let page = from; page < end; page++) {
    const segment = segmentAt(model.space, page);
    if (segment === undefined || (segment.presence === 'hole' && !held.has(page))) continue;
    on.fillStyle = held.get(page) ?? palette.muted;
    const x = ((page % layout.columns) + 0.5) * layout.cellWidth;
    const y = (Math.floor(page / layout.columns) + 0.5) * layout.cellHeight - scene.top;
    on.fillText(pageText(model.space, page), x, y);
  }
}
