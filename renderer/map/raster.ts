import { FLAG, type MapClass } from '../../model/map/classes.ts';
import type { PageMapModel } from '../../model/map/page-map.ts';
import { TILE_CELLS } from '../../model/map/tiles.ts';
import type { MapLayout } from './layout.ts';
import { colourOf, mixed, type Palette, pixel } from './palette.ts';

/** Colours as pixels: of each class where at least half of a cell is held, and where less is. */
export interface PixelTable {
  readonly full: Uint32Array;
  readonly sparse: Uint32Array;
  readonly faint: number;
  readonly disconnected: number;
}

/** So much of a colour is left where less than half of a cell is held. */
const SPARSE = 0.62;

export function pixelTable(palette: Palette, classes: readonly MapClass[]): PixelTable {
  const free = pixel(palette.free);
  const full = Uint32Array.from(classes, ({ paint }) => pixel(colourOf(palette, paint)));
  return {
    full,
    sparse: full.map(colour => mixed(colour, free, SPARSE)),
    faint: pixel(palette.faint),
    disconnected: pixel(palette.disconnected),
  };
}

export interface Raster {
  /** One pixel a cell, row by row; transparent where nothing is held. */
  readonly pixels: Uint32Array;
  /** Bits of `FLAG` that any cell of a row has. */
  readonly rowFlags: Uint8Array;
}

/** Rows of cells as pixels. A cell with one disconnected page has that colour, whatever else it holds. */
export function raster(
  model: PageMapModel,
  { columns, level }: MapLayout,
  firstRow: number,
  rows: number,
  table: PixelTable,
): Raster {
  const pixels = new Uint32Array(columns * rows);
  const rowFlags = new Uint8Array(rows);
  const half = 2 ** level / 2;
  const lastCell = Math.ceil(model.space.pages / 2 ** level);
  for (let row = 0; row < rows; row++) {
    // A row has a power of two of cells, at most those of a tile: it lies in one.
    const first = (firstRow + row) * columns;
    if (first >= lastCell) break;
    const { held, top, flags } = model.tile(level, Math.floor(first / TILE_CELLS));
    const at = first % TILE_CELLS;
    let any = 0;
    for (let i = 0; i < columns; i++) {
      const pages = held[at + i] as number;
      if (pages === 0) continue;
      const bits = flags[at + i] as number;
      const cls = top[at + i] as number;
      any |= bits;
      pixels[row * columns + i] =
        (bits & FLAG.disconnected) !== 0
          ? table.disconnected
          : cls === 0
            ? table.faint
            : ((pages >= half ? table.full[cls - 1] : table.sparse[cls - 1]) as number);
    }
    rowFlags[row] = any;
  }
  return { pixels, rowFlags };
}
