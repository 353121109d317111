import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyFilter } from '../../test/filters.ts';
import { damaged } from '../../test/mutate.ts';
import { FilterError } from './error.ts';
import { FIELDS } from './fields.ts';
import { MAX_LENGTH } from './lexer.ts';
import { parseFilter } from './parser.ts';
import { printFilter } from './print.ts';

/** The text in the program's own form. */
const normal = (text: string): string => {
  const expression = parseFilter(text);
  return expression === null ? '' : printFilter(expression);
};
const refused = (text: string): FilterError => {
  try {
    parseFilter(text);
  } catch (error) {
    if (error instanceof FilterError) return error;
    throw error;
  }
  throw new Error(`${text} was understood`);
};

test.each([
  ['', ''],
  [' \t\n', ''],
  ['zone == Movable && node != 0 && age > 10s', 'zone == Movable && node != 0 && age > 10s'],
  ['ZONE==Movable', 'zone == Movable'],
  ['a || b && c', 'a || b && c'],
  ['(a or b) AND c', '(a || b) && c'],
  ['a && (b && c)', 'a && (b && c)'],
  ['not a and !b', '!a && !b'],
  ['!zone == DMA', '!(zone == DMA)'],
  ['!!a', '!!a'],
  ['((a))', 'a'],
  ['weston', 'weston'],
  ['zone', 'zone'],
  ['"zone" && "a b"', 'zone && "a b"'],
  ["name == 'it\\'s \\x1b \\u{1f600}'", 'name == "it\'s \\x1b 😀"'],
  ['name == "unknown"', 'name == "unknown"'],
  ['name == unknown or name == NONE', 'name == unknown || name == none'],
  ['"and"', '"and"'],
  ['device ~ 0000:00:02.0', 'device ~ 0000:00:02.0'],
  ['size == 4096', 'size == 4KiB'],
  ['size < 2M || size > 3gib', 'size < 2MiB || size > 3GiB'],
  ['size == 8294400', 'size == 8100KiB'],
  ['folio == 0x1000', 'folio == 4KiB'],
  ['age >= 90s', 'age >= 90s'],
  ['age < 1h30min', 'age < 90min'],
  ['age < 2 min 5 s && x', 'age < 125s && x'],
  ['age > 1.5s', 'age > 1500ms'],
  ['pfn == 0x10..0x1f', 'pfn == 0x10..0x1f'],
  ['gpa >= 4GiB', 'gpa >= 0x100000000'],
  ['pages == 0x10', 'pages == 16'],
  ['severity >= Warning', 'severity >= warning'],
  ['mapped == YES', 'mapped == yes'],
])('%j is %j', (text, printed) => {
  expect(normal(text)).toBe(printed);
});

test('a size with a decimal point is every size that is shown so', () => {
  expect(parseFilter('size == 7.91 MiB')).toEqual(parseFilter('size == 7.91MiB'));
  const parsed = parseFilter('size == 7.91MiB');
  if (parsed?.kind !== 'compare' || parsed.value.kind !== 'range') throw new Error('no range');
  expect(parsed.value.first).toBeLessThanOrEqual(8_294_400);
  expect(parsed.value.last).toBeGreaterThanOrEqual(8_294_400);
  expect(parsed.value.last - parsed.value.first).toBeLessThan(0.011 * 2 ** 20);
});

test.each([
  ['zone == Movable node == 1', 16, 4, 'Two conditions follow one another. Expected && or || between them.'],
  ['migratetpye == CMA', 0, 11, 'There is no field “migratetpye”. Did you mean migratetype?'],
  ['migr == CMA', 0, 4, 'There is no field “migr”. Did you mean migratetype?'],
  ['count > 2', 0, 5, 'There is no field “count”. Did you mean refs?'],
  ['frobnicate == 1', 0, 10, 'There is no field “frobnicate”. Expected a field such as zone, size or age.'],
  ['constructor == 1', 0, 11, 'There is no field “constructor”. Expected a field such as zone, size or age.'],
  ['zone = DMA', 5, 1, 'A single “=” means nothing here. Did you mean ==?'],
  ['a & b', 2, 1, 'A single “&” means nothing here. Did you mean &&?'],
  ['zone < DMA', 5, 1, 'zone does not compare with <. Expected one of == != ~ !~.'],
  ['zone ==', 7, 0, 'zone == needs a value. Expected a word.'],
  [
    'age > 10',
    6,
    2,
    '“10” is no value of age. Expected a duration with its unit, such as 500ms, 10s, 5min, 2h or 1d.',
  ],
  ['size > 4MB', 7, 3, '“4MB” is no value of size. Expected a size such as 4096, 4KiB, 2MiB or 1GiB.'],
  [
    'inode == 9007199254740993',
    9,
    16,
    '“9007199254740993” is no value of inode. Expected a whole number such as 42 or 0x2a.',
  ],
  [
    'severity == eror',
    12,
    4,
    'severity is never “eror”. Expected none, info, warning, error or unknown. Did you mean error?',
  ],
  ['pfn > 1..2', 6, 4, 'A range has no >. Expected == or != before it.'],
  ['pfn == 2..1', 7, 4, 'This range ends before it begins.'],
  ['age < unknown', 6, 7, 'unknown has no order and no letters. Expected == or != before it.'],
  ['(a', 2, 0, 'The “(” at character 1 is not closed. Expected &&, || or ).'],
  ['a)', 1, 1, 'There is no “(” for this “)”.'],
  ['a &&', 4, 0, 'The filter ends too early. Expected a field or a word.'],
  ['== 3', 0, 2, 'Nothing stands before ==. Expected a field.'],
  ['name == "abc', 8, 4, 'The text in quotes does not end. Expected a closing ".'],
  ['"\\q"', 1, 2, 'This is no escape. Expected \\\\ for a backslash, or \\" \\n \\t \\x1b \\u{1f600}.'],
  ['\u202e == 1', 0, 1, 'There is no field “\\u202e”. Expected a field such as zone, size or age.'],
])('%j is refused at %i', (text, at, length, message) => {
  const error = refused(text);
  expect([error.at, error.length, error.message]).toEqual([at, length, message]);
});

test('what is too long or too deep is refused, not tried', () => {
  expect(refused('a'.repeat(MAX_LENGTH + 1)).at).toBe(MAX_LENGTH);
  expect(refused('('.repeat(4000)).problem).toContain('More than 100 levels');
  expect(refused('!'.repeat(4000)).problem).toContain('More than 100 levels');
  // Wide is not deep: what is built to the left costs the evaluator a call each, and that is bounded by the length.
  expect(normal(Array(800).fill('a').join(' && '))).toHaveLength(800 + 4 * 799);
});

test('an expression that is printed and parsed is the same', () => {
  fc.assert(
    fc.property(anyFilter, expression => {
      const text = printFilter(expression);
      expect(text).not.toMatch(/\p{Cc}/u);
      if (text.length <= MAX_LENGTH) expect(parseFilter(text)).toEqual(expression);
    }),
    { numRuns: 3000 },
  );
});

test('a damaged text is understood or refused with a place in it, and never anything else', () => {
  const texts = FIELDS.map(({ example }) => example);
  const whole = `${texts.slice(0, 12).join(' && ')} || !(${texts.slice(12).join(' or ')}) && "a \\x1b" && b`;
  fc.assert(
    fc.property(fc.oneof(damaged(whole, ...texts), fc.string({ unit: 'binary' })), text => {
      try {
        const expression = parseFilter(text);
        if (expression !== null) expect(parseFilter(printFilter(expression))).toEqual(expression);
      } catch (error) {
        if (!(error instanceof FilterError)) throw error;
        expect(error.at).toBeGreaterThanOrEqual(0);
        expect(error.length).toBeGreaterThanOrEqual(0);
        expect(error.at + error.length).toBeLessThanOrEqual(text.length);
        expect(error.message).not.toMatch(/\p{Cc}|\n/u);
      }
    }),
    { numRuns: 3000 },
  );
});

test('every example of the field table is understood, and is about its field', () => {
  for (const { id, example } of FIELDS)
    expect(parseFilter(example)).toMatchObject({ kind: 'compare', field: id });
});
