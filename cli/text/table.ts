import stringWidth from 'string-width';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Longest cell; longer ones end in `…`. */
  readonly max?: number;
}

/** Rows under a heading, aligned, two blanks between columns. Cells are plain text without control characters. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  indent = '',
): string[] {
  const cells = [columns.map(({ title }) => title), ...rows].map(row =>
    columns.map(({ max }, i) => shorten(row[i] ?? '', max ?? Number.POSITIVE_INFINITY)),
  );
  const widths = columns.map((_, i) => Math.max(...cells.map(row => stringWidth(row[i] ?? ''))));
  return cells.map(row =>
    (
      indent +
      row
        .map((cell, i) => {
          const padding = ' '.repeat((widths[i] ?? 0) - stringWidth(cell));
          return columns[i]?.align === 'right' ? padding + cell : cell + padding;
        })
        .join('  ')
    ).trimEnd(),
  );
}

/** Cuts to a width of terminal cells. */
export function shorten(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let cut = '';
  for (const character of text) {
    if (stringWidth(cut + character) > width - 1) break;
    cut += character;
  }
  return `${cut}…`;
}
