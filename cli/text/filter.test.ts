import { expect, test } from 'vitest';
import { FilterError } from '../../model/filter/error.ts';
import { parseFilter } from '../../model/filter/parser.ts';
import { expectPrintable } from '../../test/printed.ts';
import { hostileTexts } from '../../test/snapshots.ts';
import { coloursFor } from './colours.ts';
import { filterLines, filterProblem } from './filter.ts';
import { widthOf } from './width.ts';

function problem(text: string): string[] {
  try {
    parseFilter(text);
  } catch (error) {
    if (error instanceof FilterError) return filterProblem(text, error);
    throw error;
  }
  throw new Error(`${text} was understood`);
}

test('the caret stands under what is wrong', () => {
  expect(problem('zone == DMA && migratetpye == CMA')).toEqual([
    '  zone == DMA && migratetpye == CMA',
    '                 ^~~~~~~~~~~',
  ]);
  expect(problem('zone ==')).toEqual(['  zone ==', '         ^']);
  // Two cells a character, and an escape of four.
  expect(problem('"日本\x1b" && a = b')).toEqual(['  "日本\\x1b" && a = b', '                  ^']);
});

test('a long filter is shown around it, in 100 columns', () => {
  for (const text of [...hostileTexts, 'x'.repeat(200)]) {
    for (const filter of [`"${text}" = ${text}`, `${text} =`, text.repeat(3000)]) {
      try {
        parseFilter(filter);
      } catch (error) {
        if (!(error instanceof FilterError)) throw error;
        const [line = '', marks = ''] = filterProblem(filter, error);
        expectPrintable(`${line}\n${marks}\n`);
        expect(marks).toMatch(/^ +\^~*$/);
        expect(widthOf(marks)).toBeLessThanOrEqual(Math.max(widthOf(line), 4) + 1);
      }
    }
  }
});

test('what is not decidable is said beside what is shown', () => {
  const none = coloursFor({});
  const result = { text: 'zone == DMA', shown: 12, of: 64, undecided: 0, findingsLeftOut: 0 };
  expect(filterLines(result, none)).toEqual(['filter   zone == DMA', '         12 of 64 dma-bufs shown', '']);
  expect(filterLines({ ...result, shown: 0, of: 1, undecided: 1, findingsLeftOut: 2 }, none)).toEqual([
    'filter   zone == DMA',
    '         0 of 1 dma-buf shown, 1 not decidable: what the filter asks for was not read of them; 2',
    '         findings about others left out',
    '',
  ]);
  for (const text of hostileTexts) {
    const lines = filterLines({ ...result, text }, none).map(line => line.trimEnd());
    expectPrintable(lines.join('\n'));
  }
});
