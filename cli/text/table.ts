import { shorten, widthOf } from './width.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Words, not a number: may be cut to this many cells, with `…`, when the rows would be too wide. */
  readonly min?: number;
}

export interface TableOptions {
  readonly indent?: string;
  /** Cells of a row. */
  readonly width?: number;
}

/** What a terminal of an old hand shows, and a mail keeps in one line. */
export const WIDTH = 100;

/**
 * Rows under a heading, aligned, two blanks between columns. Cells are plain text without control characters. Too wide rows
 * lose words first, then a blank between columns, and only then their end.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { indent = '', width = WIDTH }: TableOptions = {},
): string[] {
  const room = width - indent.length;
  const cells = [columns.map(({ title }) => title), ...rows].map(row =>
    columns.map((_, i) => shorten(row[i] ?? '', room)),
  );
  const natural = columns.map((_, i) =>
    cells.reduce((most, row) => Math.max(most, widthOf(row[i] ?? '')), 0),
  );
  const widths = fitted(columns, natural, room - 2 * (columns.length - 1));
  const gap = sum(widths) + 2 * (columns.length - 1) > room ? ' ' : '  ';
  return cells.map(row => {
    const line = row
      .map((whole, i) => {
        const cell = shorten(whole, widths[i] ?? 0);
        const padding = ' '.repeat((widths[i] ?? 0) - widthOf(cell));
        return columns[i]?.align === 'right' ? padding + cell : cell + padding;
      })
      .join(gap);
    return shorten((indent + line).trimEnd(), width);
  });
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Takes cells from the widest columns of words, until all fit or none can give more. */
function fitted(columns: readonly Column[], natural: readonly number[], room: number): number[] {
  const widths = [...natural];
  for (let over = sum(widths) - room; over > 0; over--) {
    let widest: number | undefined;
    for (const [i, { min }] of columns.entries()) {
      const width = widths[i] ?? 0;
      if (min !== undefined && width > min && (widest === undefined || width > (widths[widest] ?? 0)))
        widest = i;
    }
    if (widest === undefined) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}
