import fc from 'fast-check';
import stringWidth from 'string-width';
import { describe, expect, test } from 'vitest';
import { coloursFor } from './colours.ts';
import { shorten, widthOf, wrap } from './width.ts';

const RED = '\x1b[31m';
const END = '\x1b[39m';
const plain = (text: string): string => text.replace(/\x1b\[[0-9;]*m/g, '');

test.each([
  ['abc', 3],
  ['', 0],
  ['日本', 4],
  ['e\u0301e', 2],
  ['👩\u200d👩\u200d👧', 2],
  [`${RED}ab${END}`, 2],
  ['…“”×', 4],
])('width of %j', (text, width) => {
  expect(widthOf(text)).toBe(width);
});

describe('shorten', () => {
  test.each([
    ['abcdef', 6, 'abcdef'],
    ['abcdef', 5, 'abcd…'],
    ['abcdef', 1, '…'],
    ['abcdef', 0, ''],
    ['日本語', 6, '日本語'],
    ['日本語', 5, '日本…'],
    ['日本語', 4, '日…'],
    ['e\u0301e\u0301e\u0301', 2, 'e\u0301…'],
    [`${RED}abcdef${END}`, 4, `${RED}abc${END}…`],
    [`ab${RED}cd${END}ef`, 4, `ab${RED}c${END}…`],
  ])('%j to %i', (text, width, expected) => {
    expect(shorten(text, width)).toBe(expected);
  });

  test('never cuts through a colour, and ends every one', () => {
    const text = `${RED}a${END}b${RED}c${END}d${RED}efgh${END}`;
    for (let width = 0; width < 10; width++) {
      const cut = shorten(text, width);
      expect(plain(cut)).not.toContain('\x1b');
      expect(cut.split(RED)).toHaveLength(cut.split(END).length);
    }
  });
});

describe('wrap', () => {
  test.each([
    ['', 10, ['']],
    ['a b c', 10, ['a b c']],
    ['aaa bbb ccc', 7, ['aaa bbb', 'ccc']],
    ['aaa bbb ccc', 6, ['aaa', 'bbb', 'ccc']],
    ['abcdefghij k', 4, ['abcd', 'efgh', 'ij k']],
    ['日本語日本語 x', 5, ['日本', '語日', '本語', 'x']],
    ['a  b', 2, ['a ', 'b']],
    ['日x', -5, ['日', 'x']],
    // One grapheme of three cells: it must end, and lose nothing.
    ['\u{1d158}\u{1d165}\u{1d16e}', 2, ['\u{1d158}\u{1d165}', '\u{1d16e}']],
  ])('%j at %i', (text, width, lines) => {
    expect(wrap(text, width)).toEqual(lines);
  });

  test('no line is wider, and nothing is lost', () => {
    const words = fc.array(
      fc.oneof(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.constant('日'.repeat(20))),
    );
    fc.assert(
      fc.property(words, fc.integer({ min: 2, max: 20 }), (parts, width) => {
        const text = parts.join(' ').replace(/[\p{Cc}\p{Cf}]/gu, '');
        const lines = wrap(text, width);
        for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(width);
        expect(lines.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
      }),
    );
  });

  test('a long text takes no long time', () => {
    expect(wrap('x'.repeat(20_000), 100)).toHaveLength(200);
  });
});

describe('colours', () => {
  const set = (env: Record<string, string>, use: () => void) => {
    const { NO_COLOR, TERM } = process.env;
    delete process.env.NO_COLOR;
    process.env.TERM = 'xterm';
    Object.assign(process.env, env);
    try {
      use();
    } finally {
      delete process.env.NO_COLOR;
      if (NO_COLOR !== undefined) process.env.NO_COLOR = NO_COLOR;
      delete process.env.TERM;
      if (TERM !== undefined) process.env.TERM = TERM;
    }
  };
  test.each([
    ['a terminal', { isTTY: true }, {}, true],
    ['a pipe', {}, {}, false],
    ['NO_COLOR', { isTTY: true }, { NO_COLOR: '1' }, false],
    ['an empty NO_COLOR is none', { isTTY: true }, { NO_COLOR: '' }, true],
    ['a dumb terminal', { isTTY: true }, { TERM: 'dumb' }, false],
  ])('%s', (_, stream, env, coloured) => {
    set(env, () => expect(coloursFor(stream).bad('x') !== 'x').toBe(coloured));
  });
});
