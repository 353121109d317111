import stringWidth from 'string-width';

/** A colour of picocolors: the only escape sequences that our own text holds. */
const COLOUR = /(\x1b\[[0-9;]*m)/;
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Cells of a terminal that a text takes; colours take none. Slow for long texts that are not ASCII. */
export function widthOf(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : stringWidth(text);
}

/** Cuts to a width of terminal cells, with `…` for what is left out. Colours end as they would have. */
export function shorten(text: string, width: number): string {
  if (split(text, width).tail === '') return text;
  return width > 0 ? `${split(text, width - 1).head}…` : '';
}

/** Breaks at blanks into lines of at most `cells` cells (at least 2: a character must fit). A longer word is broken too. */
export function wrap(text: string, cells: number): string[] {
  const width = Math.max(2, cells);
  const lines: string[] = [];
  let line: string | undefined;
  let used = 0;
  for (const word of text.split(' ')) {
    if (line !== undefined) {
      const fits = split(word, width - used - 1);
      if (fits.tail === '' && used < width) {
        line += ` ${word}`;
        used += 1 + fits.cells;
        continue;
      }
      lines.push(line);
    }
    let rest = split(word, width);
    while (rest.tail !== '') {
      lines.push(rest.head);
      rest = split(rest.tail, width);
    }
    line = rest.head;
    used = rest.cells;
  }
  return [...lines, line ?? ''];
}

interface Split {
  readonly head: string;
  /** Of `head`. */
  readonly cells: number;
  readonly tail: string;
}

/** Most code units that one cell is given: a letter with accents has a few, and no text may take seconds. */
const UNITS = 32;

/**
 * What fits into a width, and the rest. The head also has the colour codes behind the cut, and so ends as the whole does;
 * the tail has the text alone. Looks no further into a long text than the width needs.
 */
function split(text: string, width: number): Split {
  let head = '';
  let tail = '';
  let left = Math.max(0, width);
  for (const [i, part] of text.split(COLOUR).entries()) {
    if (i % 2 === 1) head += part;
    else if (tail !== '') tail += part;
    else {
      const fits = prefix(part, left);
      head += part.slice(0, fits.units);
      tail = part.slice(fits.units);
      left -= fits.cells;
    }
  }
  return { head, cells: Math.max(0, width) - left, tail };
}

/** How many code units of a text without colours fit, and the cells that they take. */
function prefix(text: string, width: number): { units: number; cells: number } {
  const start = text.slice(0, (width + 1) * UNITS);
  if (/^[\x20-\x7e]*$/.test(start)) {
    const units = Math.min(width, text.length);
    return { units, cells: units };
  }
  let units = 0;
  let cells = 0;
  for (const { segment } of graphemes.segment(start)) {
    const its = stringWidth(segment);
    if (cells + its > width) break;
    units += segment.length;
    cells += its;
  }
  if (units === 0) return partOfGrapheme(start, width);
  // Never through the middle of a character that takes two code units.
  const cut = units === start.length && units < text.length && /[\ud800-\udbff]$/.test(start);
  return { units: cut ? units - 1 : units, cells };
}

/** What fits of a first grapheme that is wider than the width, by code points: a note with stem and flag takes 3 cells. */
function partOfGrapheme(text: string, width: number): { units: number; cells: number } {
  let units = 0;
  let cells = 0;
  for (const character of text) {
    const its = stringWidth(text.slice(0, units + character.length));
    if (its > width) break;
    units += character.length;
    cells = its;
  }
  return { units, cells };
}
