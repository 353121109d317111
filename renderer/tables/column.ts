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
  /** By what it sorts; `null` (unknown) always comes last. Without it the column does not sort. */
  readonly sortBy?: (row: Row) => number | string | null;
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

/** Rows as tab-separated values with a line of headings, as spreadsheets and mails take them. */
export function toTsv<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cell = (text: string) => text.replace(/[\t\n\r]/g, ' ');
  const lines = [columns.map(({ title }) => title), ...rows.map(row => columns.map(({ text }) => text(row)))];
  return `${lines.map(line => line.map(cell).join('\t')).join('\n')}\n`;
}
