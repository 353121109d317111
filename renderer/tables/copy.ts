import { type Column, type Raw, rawValue } from './column.ts';

/** No more rows are copied at once: a clipboard takes a few dozen megabytes, and then the desktop stands still. */
export const MOST_ROWS = 100_000;

/** Rows that are asked for by number, so that two million of them need not exist. */
export interface Rows<Row> {
  readonly count: number;
  readonly rowAt: (index: number) => Row;
}

function* taken<Row>({ count, rowAt }: Rows<Row>): Generator<Row> {
  for (let i = 0; i < Math.min(count, MOST_ROWS); i++) yield rowAt(i);
}

/** One row for the functions of this file. */
export const single = <Row>(row: Row): Rows<Row> => ({ count: 1, rowAt: () => row });

const oneLine = (text: string): string => text.replace(/[\t\n\r]/g, ' ');

/** Rows as tab-separated values with a line of headings, as spreadsheets and mails take them. */
export function toTsv<Row>(columns: readonly Column<Row>[], rows: Rows<Row>): string {
  const lines = [columns.map(({ title }) => oneLine(title)).join('\t')];
  for (const row of taken(rows)) lines.push(columns.map(({ text }) => oneLine(text(row))).join('\t'));
  return `${lines.join('\n')}\n`;
}

/**
 * Rows as JSON: an array of objects, an object a line, keyed by the ids of columns. Values are raw: numbers are numbers of bytes,
 * pages, milliseconds; what is unknown is `null`; a column without raw values gives its text.
 */
export function toJson<Row>(columns: readonly Column<Row>[], rows: Rows<Row>): string {
  const lines: string[] = [];
  for (const row of taken(rows)) {
    const object: Record<string, Raw> = {};
    for (const column of columns) object[column.id] = rawValue(column, row);
    lines.push(`  ${JSON.stringify(object)}`);
  }
  return lines.length === 0 ? '[]\n' : `[\n${lines.join(',\n')}\n]\n`;
}

/** Characters that Markdown would take for itself in a cell. Names come from outside and may hold any. */
const MARKDOWN = /[\\`*_[\]<>|~#]/g;

function markdownCell(text: string): string {
  return oneLine(text).replace(MARKDOWN, c => `\\${c}`);
}

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** Scripts whose characters take two cells in faces of one width (Unicode's East Asian Width, wide), and emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** Cells that a text takes in a face of one width. */
function cellsOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let cells = 0;
  for (const { segment } of graphemes.segment(text)) cells += WIDE.test(segment) ? 2 : 1;
  return cells;
}

/** What a mail shows of a line before it is wrapped. */
const MAIL = 100;

/**
 * Rows as a Markdown table, columns aligned so that it also reads well as plain text. Where blanks beside the bars would make it
 * wider than a mail, it has none.
 */
export function toMarkdown<Row>(columns: readonly Column<Row>[], rows: Rows<Row>): string {
  const cells = [columns.map(({ shortTitle, title }) => markdownCell(shortTitle ?? title))];
  for (const row of taken(rows)) cells.push(columns.map(({ text }) => markdownCell(text(row))));
  const widths = columns.map((_, i) => cells.reduce((most, row) => Math.max(most, cellsOf(row[i] ?? '')), 3));
  const wide = widths.reduce((sum, width) => sum + width + 3, 1) > MAIL;
  const joined = (row: readonly string[]) => (wide ? `|${row.join('|')}|` : `| ${row.join(' | ')} |`);
  const line = (row: readonly string[]) =>
    joined(
      row.map((cell, i) => {
        const room = ' '.repeat(Math.max(0, (widths[i] ?? 0) - cellsOf(cell)));
        return columns[i]?.align === 'right' ? room + cell : cell + room;
      }),
    );
  const rule = columns.map(({ align }, i) => {
    const dashes = '-'.repeat((widths[i] ?? 3) - 1);
    return align === 'right' ? `${dashes}:` : `-${dashes}`;
  });
  const [head = [], ...body] = cells;
  return `${[line(head), joined(rule), ...body.map(line)].join('\n')}\n`;
}
