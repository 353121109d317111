import type { TableHandle } from '../state/tables.svelte.ts';
import type { Column } from './column.ts';
import { MOST_ROWS, type Rows, single, toJson, toMarkdown, toTsv } from './copy.ts';

/** Where a table is now; asked again every time. */
export interface TableSource<Row> {
  readonly label: () => string;
  /** Those that are shown. */
  readonly columns: () => readonly Column<Row>[];
  readonly rows: () => Rows<Row>;
  /** Number of the chosen row, -1: none. */
  readonly row: () => number;
  /** Number of the chosen column, -1: the whole row. */
  readonly column: () => number;
}

/** What commands and the menu of a cell do with a table. */
export function tableHandle<Row>({ label, columns, rows, row, column }: TableSource<Row>): TableHandle {
  const chosen = (): { readonly row: Row } | null => {
    const { count, rowAt } = rows();
    return row() >= 0 && row() < count ? { row: rowAt(row()) } : null;
  };
  return {
    get label() {
      return label();
    },
    get rows() {
      const all = rows().count;
      return { all, copied: Math.min(all, MOST_ROWS) };
    },
    copy(form) {
      const at = chosen();
      switch (form) {
        case 'cell': {
          const of = columns()[column()];
          return at === null || of === undefined ? null : of.text(at.row);
        }
        case 'row':
          return at === null ? null : toTsv(columns(), single(at.row));
        case 'tsv':
          return toTsv(columns(), rows());
        case 'json':
          return toJson(columns(), rows());
        case 'markdown':
          return toMarkdown(columns(), rows());
      }
    },
    clause() {
      const at = chosen();
      return at === null ? null : (columns()[column()]?.clause?.(at.row) ?? null);
    },
  };
}
