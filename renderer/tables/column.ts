import type { Expression } from '../../model/filter/ast.ts';

/** How a cell is painted: a meaning, which tokens.css gives a colour. */
export type Tone = 'plain' | 'muted' | 'ok' | 'info' | 'warning' | 'error';

/** A column of a table, told once: for the header, the cells, sorting, and what is copied. */
export interface Column<Row> {
  readonly id: string;
  readonly title: string;
  /** What the header shows where the title does not fit. */
  readonly shortTitle?: string;
  /** What it means, in a sentence: the header's tooltip. */
  readonly hint: string;
  /** Least width in digits of the data face. Fixed, so that no value moves the other columns. */
  readonly width: number;
  /** Its share of the room that is left; without it, none. */
  readonly grow?: number;
  readonly align?: 'right';
  /** Numbers and addresses are set in the monospaced face. */
  readonly face?: 'data';
  /** What the cell says. Made safe to print by the column where it comes from outside. */
  readonly text: (row: Row) => string;
  readonly tone?: (row: Row) => Tone;
  /** The value behind the text, for JSON: bytes, pages, milliseconds; `null`: unknown. Without it, the text is the value. */
  readonly value?: (row: Row) => Raw;
  /** The filter that chooses what has this cell's value; `null`: none does. Without it, no cell of the column is a filter. */
  readonly clause?: (row: Row) => Expression | null;
  /** By what it sorts; `null` (unknown) always comes last. Without it the column does not sort. */
  readonly sortBy?: (row: Row) => number | string | null;
}

export type Raw = string | number | boolean | null | readonly Raw[] | { readonly [key: string]: Raw };

/** What JSON gets for a cell. A number that is none (a column of runs has NaN for unknown) is unknown. */
export function rawValue<Row>(column: Column<Row>, row: Row): Raw {
  const value = column.value === undefined ? column.text(row) : column.value(row);
  return typeof value === 'number' && !Number.isFinite(value) ? null : value;
}

export interface Sorting {
  readonly column: string;
  readonly descending: boolean;
}

/** The rows in the order of a column; rows that are equal in it keep their order. An unknown column changes nothing. */
export function sorted<Row>(rows: readonly Row[], columns: readonly Column<Row>[], sorting: Sorting): Row[] {
  const key = columns.find(({ id }) => id === sorting.column)?.sortBy;
  if (key === undefined) return [...rows];
  const sign = sorting.descending ? -1 : 1;
  return rows
    .map(row => ({ row, key: key(row) }))
    .sort((a, b) => {
      if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null);
      return a.key < b.key ? -sign : a.key > b.key ? sign : 0;
    })
    .map(({ row }) => row);
}

/** The order after a click on a header: first up, then down. */
export function nextSorting(sorting: Sorting | null, column: string): Sorting {
  return { column, descending: sorting?.column === column && !sorting.descending };
}
