import fc from 'fast-check';
import { ParseError } from '../model/parse-error.ts';

/**
 * Damage for recorded texts. An edit is data, so that a failing case shrinks to the one or two edits that matter
 * and prints readably. Positions are taken modulo what is there, so every edit fits every text.
 */
export type Edit =
  | { readonly op: 'delete-line' | 'duplicate-line' | 'empty-line' | 'join-lines'; readonly line: number }
  | { readonly op: 'swap-lines'; readonly line: number; readonly other: number }
  | { readonly op: 'insert-line' | 'append-to-line'; readonly line: number; readonly text: string }
  | { readonly op: 'replace-token' | 'replace-number'; readonly nth: number; readonly text: string }
  | { readonly op: 'delete-token'; readonly nth: number }
  | { readonly op: 'insert' | 'overwrite'; readonly at: number; readonly text: string }
  | { readonly op: 'delete'; readonly at: number; readonly length: number }
  | { readonly op: 'truncate'; readonly at: number }
  | { readonly op: 'crlf' | 'tabs-to-spaces' | 'no-final-newline' | 'repeat' };

const HOSTILE_NUMBERS = [
  '0',
  '-0',
  '-1',
  '+1',
  '00',
  '1.5',
  '1e3',
  '1e999',
  '0x10',
  '0b1',
  'NaN',
  'Infinity',
  '-Infinity',
  'null',
  'unlimited',
  '4294967296',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '9223372036854775807',
  '18446744073709551612',
  '18446744073709551615',
  '18446744073709551616',
  'ffffffffffffffff',
  '10000000000000000',
  '>100000',
  '1_000',
  '１２',
  '٣',
  '1,000',
  `1${'0'.repeat(400)}`,
  '9'.repeat(3000),
];
const HOSTILE_TEXT = [
  '',
  ' ',
  '\t',
  '\n',
  '\n\n',
  '\r',
  '\r\n',
  '\0',
  '\x1b[2J',
  '\x1b]0;x\x07',
  '\u202e',
  '\u2066',
  '\u2028',
  '\ufeff',
  '\ufffd',
  '\ud800',
  '\udc00',
  '🦀',
  '\\',
  '\\012',
  '\\0',
  '\\400',
  '%s%n',
  '"',
  "'",
  '{',
  '}',
  '[',
  ']',
  '(',
  ')',
  ':',
  ',',
  '=',
  '-',
  '/',
  ' (deleted)',
  '__proto__',
  'constructor',
  'toString',
  'a'.repeat(5000),
  ' '.repeat(5000),
  '\n'.repeat(300),
];

const hostile: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...HOSTILE_NUMBERS),
  fc.constantFrom(...HOSTILE_TEXT),
  fc.string({ maxLength: 12 }),
  fc.string({ maxLength: 6, unit: 'binary' }),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 65n }).map(String),
);
const nth = fc.nat({ max: 1_000_000 });

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ op: fc.constantFrom('delete-line', 'duplicate-line', 'empty-line', 'join-lines'), line: nth }),
  fc.record({ op: fc.constant('swap-lines'), line: nth, other: nth }),
  fc.record({ op: fc.constantFrom('insert-line', 'append-to-line'), line: nth, text: hostile }),
  fc.record({ op: fc.constantFrom('replace-token', 'replace-number'), nth, text: hostile }),
  fc.record({ op: fc.constant('replace-number'), nth, text: fc.constantFrom(...HOSTILE_NUMBERS) }),
  fc.record({ op: fc.constant('delete-token'), nth }),
  fc.record({ op: fc.constantFrom('insert', 'overwrite'), at: nth, text: hostile }),
  fc.record({ op: fc.constant('delete'), at: nth, length: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ op: fc.constant('truncate'), at: nth }),
  fc.record({ op: fc.constantFrom('crlf', 'tabs-to-spaces', 'no-final-newline', 'repeat') }),
) as fc.Arbitrary<Edit>;

const onLines = (text: string, f: (lines: string[]) => void): string => {
  const lines = text.split('\n');
  f(lines);
  return lines.join('\n');
};
const onNth = (text: string, pattern: RegExp, n: number, replacement: string): string => {
  const matches = [...text.matchAll(pattern)];
  const match = matches[n % Math.max(1, matches.length)];
  if (!match) return text + replacement;
  return text.slice(0, match.index) + replacement + text.slice(match.index + match[0].length);
};

export function applyEdit(text: string, e: Edit): string {
  switch (e.op) {
    case 'delete-line':
      return onLines(text, lines => lines.splice(e.line % lines.length, 1));
    case 'duplicate-line':
      return onLines(text, lines =>
        lines.splice(e.line % lines.length, 0, lines[e.line % lines.length] ?? ''),
      );
    case 'empty-line':
      return onLines(text, lines => lines.splice(e.line % lines.length, 1, ''));
    case 'join-lines':
      return onLines(text, lines => {
        const at = e.line % lines.length;
        lines.splice(at, 2, (lines[at] ?? '') + (lines[at + 1] ?? ''));
      });
    case 'swap-lines':
      return onLines(text, lines => {
        const a = e.line % lines.length;
        const b = e.other % lines.length;
        [lines[a], lines[b]] = [lines[b] ?? '', lines[a] ?? ''];
      });
    case 'insert-line':
      return onLines(text, lines => lines.splice(e.line % lines.length, 0, e.text));
    case 'append-to-line':
      return onLines(text, lines =>
        lines.splice(e.line % lines.length, 1, (lines[e.line % lines.length] ?? '') + e.text),
      );
    case 'replace-token':
      return onNth(text, /\S+/g, e.nth, e.text);
    case 'replace-number':
      return onNth(text, /\d+/g, e.nth, e.text);
    case 'delete-token':
      return onNth(text, /\S+\s?/g, e.nth, '');
    case 'insert': {
      const at = e.at % (text.length + 1);
      return text.slice(0, at) + e.text + text.slice(at);
    }
    case 'overwrite': {
      const at = e.at % (text.length + 1);
      return text.slice(0, at) + e.text + text.slice(at + e.text.length);
    }
    case 'delete': {
      const at = e.at % (text.length + 1);
      return text.slice(0, at) + text.slice(at + e.length);
    }
    case 'truncate':
      return text.slice(0, e.at % (text.length + 1));
    case 'crlf':
      return text.replaceAll('\n', '\r\n');
    case 'tabs-to-spaces':
      return text.replaceAll('\t', ' ');
    case 'no-final-newline':
      return text.replace(/\n$/, '');
    case 'repeat':
      return text.length < 200_000 ? text + text : text;
  }
}

/** One of `texts` with one to six edits. */
export function damaged(...texts: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...texts), fc.array(edit, { minLength: 1, maxLength: 6 }))
    .map(([text, edits]) => edits.reduce(applyEdit, text));
}

/**
 * The path of the first number in `value` that is not a safe integer (NaN, infinite, rounded), else `undefined`.
 * Looks into arrays, maps, sets and plain objects; bigint columns and typed arrays cannot hold such numbers and are skipped,
 * floating-point columns are looked at.
 */
export function dishonestNumber(value: unknown, path = '$'): string | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? undefined : `${path} = ${value}`;
  if (typeof value !== 'object' || value === null) return undefined;
  const entries: Iterable<readonly [unknown, unknown]> =
    value instanceof Map || value instanceof Set || Array.isArray(value) || value instanceof Float64Array
      ? value.entries()
      : ArrayBuffer.isView(value)
        ? []
        : Object.entries(value);
  for (const [key, inner] of entries) {
    const found = dishonestNumber(inner, `${path}.${String(key)}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * The promise of every parser: whatever the text, it returns a value whose numbers are exact and for which `invariant`
 * holds (it may throw an assertion), or it throws a `ParseError`. Anything else, a `TypeError` or a `RangeError`, fails.
 */
export function parsesOrRefuses<T>(
  parse: (text: string) => T,
  texts: readonly string[],
  invariant: (value: T, text: string) => void = () => {},
  runs = 300,
): void {
  fc.assert(
    fc.property(damaged(...texts), text => checkOne(parse, text, invariant)),
    { numRuns: runs },
  );
  // Every prefix of a short text, some of a long one: a read that stopped early.
  for (const text of texts) {
    const step = Math.max(1, Math.floor(text.length / 200));
    for (let end = 0; end < text.length; end += step) checkOne(parse, text.slice(0, end), invariant);
  }
}

function checkOne<T>(
  parse: (text: string) => T,
  text: string,
  invariant: (value: T, text: string) => void,
): void {
  let value: T;
  try {
    value = parse(text);
  } catch (error) {
    if (error instanceof ParseError) return;
    throw error;
  }
  const wrong = dishonestNumber(value);
  if (wrong !== undefined) throw new Error(`inexact number ${wrong}`);
  invariant(value, text);
}
