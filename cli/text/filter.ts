import type { FilterError } from '../../model/filter/error.ts';
import { plural } from '../../model/format.ts';
import { printable } from '../../model/text.ts';
import type { Colours } from './colours.ts';
import { WIDTH } from './table.ts';
import { shorten, widthOf, wrap } from './width.ts';

/** What a filter left of a sample. */
export interface FilterResult {
  /** As it was typed. */
  readonly text: string;
  readonly shown: number;
  readonly of: number;
  /** Not shown, because something that the filter asks for was not read. */
  readonly undecided: number;
  /** Findings about dma-bufs that are not shown. */
  readonly findingsLeftOut: number;
}

/** How many dma-bufs are shown, above their table. */
export function filterLines(result: FilterResult, colours: Colours): string[] {
  const { text, shown, of, undecided, findingsLeftOut } = result;
  const parts = [
    `filter   ${shorten(printable(text), WIDTH - 9)}`,
    ...wrap(
      [
        `${shown} of ${plural(of, 'dma-buf')} shown`,
        undecided > 0 ? `, ${undecided} not decidable: what the filter asks for was not read of them` : '',
        findingsLeftOut > 0 ? `; ${plural(findingsLeftOut, 'finding')} about others left out` : '',
      ].join(''),
      WIDTH - 9,
    ).map(line => `         ${undecided > 0 ? colours.warn(line) : line}`),
  ];
  return [...parts, ''];
}

/** Cells of the filter that are shown around what is wrong in it. */
const AROUND = WIDTH - 4;

/** The filter with a caret under what is wrong with it: two lines. */
export function filterProblem(text: string, { at, length }: FilterError): string[] {
  // Of a long filter the end of what is before it, and the beginning of what is behind: no more is ever looked at.
  const start = Math.max(0, at - 2 * AROUND);
  const characters = [...printable(text.slice(start, at))];
  let cells = characters.reduce((sum, character) => sum + widthOf(character), 0);
  const cut = start > 0 || cells > AROUND / 2;
  while (cells > AROUND / 2) cells -= widthOf(characters.shift() ?? '');
  const lead = `${cut ? '…' : ''}${characters.join('')}`;
  const wrong = printable(text.slice(at, Math.min(at + length, at + AROUND)));
  const line = shorten(`${lead}${wrong}${printable(text.slice(at + length, at + length + AROUND))}`, AROUND);
  const room = Math.max(1, widthOf(line) - widthOf(lead));
  const marks = '~'.repeat(Math.min(room, Math.max(1, widthOf(wrong))) - 1);
  return [`  ${line.trimEnd()}`, `  ${' '.repeat(widthOf(lead))}^${marks}`];
}
