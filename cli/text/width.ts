import stringWidth from 'string-width';

/** A colour of picocolors: the only escape sequences that our own text holds. */
const COLOUR = /(\x1b\[[0-9;]*m)/;
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Cells of a terminal that a text takes; colours take none. */
export function widthOf(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : stringWidth(text);
}

/** Cuts to a width of terminal cells, with `…` for what is left out. Colours end as they would have. */
export function shorten(text: string, width: number): string {
  return widthOf(text) <= width ? text : `${split(text, width - 1)[0]}${width > 0 ? '…' : ''}`;
}

/** Breaks at blanks into lines of at most `cells` cells (at least 2: a character must fit). A longer word is broken too. */
export function wrap(text: string, cells: number): string[] {
  const width = Math.max(2, cells);
  const lines: string[] = [];
  let line: string | undefined;
  for (const word of text.split(' ')) {
    if (line !== undefined && widthOf(line) + 1 + widthOf(word) <= width) {
      line += ` ${word}`;
      continue;
    }
    if (line !== undefined) lines.push(line);
    line = word;
    while (widthOf(line) > width) {
      const [head, tail]: [string, string] = split(line, width);
      lines.push(head);
      line = tail;
    }
  }
  return [...lines, line ?? ''];
}

/**
 * What fits into a width, and the rest. The head also has the colour codes behind the cut, and so ends as the whole does;
 * the tail has the text alone.
 */
function split(text: string, width: number): [string, string] {
  let head = '';
  let tail = '';
  let left = width;
  for (const [i, part] of text.split(COLOUR).entries()) {
    if (i % 2 === 1) {
      head += part;
      continue;
    }
    for (const { segment } of graphemes.segment(part)) {
      const cells = widthOf(segment);
      if (tail === '' && cells <= left) {
        head += segment;
        left -= cells;
      } else tail += segment;
    }
  }
  return [head, tail];
}
