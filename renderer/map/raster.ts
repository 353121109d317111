import { FLAG, type MapClass } from '../../model/map/classes.ts';
import type { PageMapModel } from '../../model/map/page-map.ts';
import { TILE_CELLS, type Tile } from '../../model/map/tiles.ts';
import type { MapLayout } from './layout.ts';
import { colourOf, mixed, type Palette, pixel } from './palette.ts';

/** Colours as pixels: of each class where at least half of a cell is held, and where less is. */
export interface PixelTable {
  readonly full: Uint32Array;
  readonly sparse: Uint32Array;
  readonly faint: number;
  readonly disconnected: number;
  /** Tiles in these colours, as long as the model keeps them. */
  readonly drawn: WeakMap<Tile, DrawnTile>;
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
    drawn: new WeakMap(),
  };
}

/** A tile as pixels: one a cell, transparent where nothing is held. */
interface DrawnTile {
  readonly columns: number;
  readonly pixels: Uint32Array;
  /** Bits of `FLAG` that any cell of a row has. */
  readonly rowFlags: Uint8Array;
}

/** A cell with one disconnected page has that colour, whatever else it holds. */
function drawTile({ held, top, flags }: Tile, level: number, columns: number, table: PixelTable): DrawnTile {
  const { full, sparse, faint, disconnected } = table;
  const pixels = new Uint32Array(TILE_CELLS);
  const rowFlags = new Uint8Array(TILE_CELLS / columns);
  const half = 2 ** level / 2;
  for (let row = 0, i = 0; i < TILE_CELLS; row++) {
    let any = 0;
    for (const end = i + columns; i < end; i++) {
      const pages = held[i] as number;
      if (pages === 0) continue;
      const bits = flags[i] as number;
      const cls = top[i] as number;
      any |= bits;
      pixels[i] =
        (bits & FLAG.disconnected) !== 0
          ? disconnected
          : cls === 0
            ? faint
            : ((pages >= half ? full[cls - 1] : sparse[cls - 1]) as number);
    }
    rowFlags[row] = any;
  }
  return { columns, pixels, rowFlags };
}

/**
 * The cells in view as a picture with one pixel a cell. It is kept from frame to frame: what is in view is put together of tiles
 * that were drawn before, and nothing is done where nothing changed.
 */
export class Raster {
  readonly canvas = new OffscreenCanvas(1, 1);
  #image = new ImageData(1, 1);
  #pixels = new Uint32Array(1);
  #rowFlags: Uint8Array = new Uint8Array();
  #of: readonly unknown[] = [];

  /** Draws rows from `first` on into the top of {@link canvas}. Returns the bits of `FLAG` that any cell of each row has. */
  draw(
    model: PageMapModel,
    { columns, level }: MapLayout,
    first: number,
    rows: number,
    table: PixelTable,
  ): Uint8Array {
    const of = [model, table, level, columns, first, rows];
    if (of.every((part, i) => part === this.#of[i])) return this.#rowFlags;
    this.#of = of;
    if (this.#image.width !== columns || this.#image.height < rows) {
      this.#image = new ImageData(columns, rows);
      this.#pixels = new Uint32Array(this.#image.data.buffer);
      this.canvas.width = columns;
      this.canvas.height = rows;
    }
    const rowFlags = new Uint8Array(rows);
    const end = (first + rows) * columns;
    // A tile has a whole number of rows. Those past the end of the space are empty.
    for (let cell = first * columns; cell < end; ) {
      const number = Math.floor(cell / TILE_CELLS);
      const from = cell - number * TILE_CELLS;
      const to = Math.min(TILE_CELLS, end - number * TILE_CELLS);
      const drawn = drawnTile(model.tile(level, number), level, columns, table);
      const at = cell - first * columns;
      this.#pixels.set(drawn.pixels.subarray(from, to), at);
      rowFlags.set(drawn.rowFlags.subarray(from / columns, to / columns), at / columns);
      cell += to - from;
    }
    this.canvas.getContext('2d')?.putImageData(this.#image, 0, 0, 0, 0, columns, rows);
    this.#rowFlags = rowFlags;
    return rowFlags;
  }
}

function drawnTile(tile: Tile, level: number, columns: number, table: PixelTable): DrawnTile {
  const known = table.drawn.get(tile);
  if (known?.columns === columns) return known;
  const drawn = drawTile(tile, level, columns, table);
  table.drawn.set(tile, drawn);
  return drawn;
}
