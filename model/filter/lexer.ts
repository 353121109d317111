import { FilterError, quoted } from './error.ts';
import { OPERATORS, type Operator } from './fields.ts';

export type Token = {
  /** Where it begins and ends in the text, UTF-16 units. */
  readonly at: number;
  readonly end: number;
} & (
  | { readonly kind: 'word'; readonly text: string }
  /** `text` without quotes and escapes. */
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'operator'; readonly operator: Operator }
  | { readonly kind: 'and' | 'or' | 'not' | 'open' | 'close' }
  | { readonly kind: 'end' }
);

/** No filter that a person types is longer; a pasted file shall not be looked through. */
export const MAX_LENGTH = 4096;

const SPACE = /\s/u;
/** Ends a word. Everything else, `-` `:` `.` `/` too, is part of names that occur. */
const STOP = /[\s"'()=!<>~&|]/u;
const WORDS: Readonly<Record<string, 'and' | 'or' | 'not'>> = { and: 'and', or: 'or', not: 'not' };

/** Whether a text can stand as a word, without quotes. */
export function isPlainWord(text: string): boolean {
  return text !== '' && !STOP.test(text) && WORDS[text.toLowerCase()] === undefined;
}

/** The tokens of a filter, the last one `end`. Throws a FilterError. */
export function tokens(text: string): Token[] {
  if (text.length > MAX_LENGTH) {
    throw new FilterError(
      MAX_LENGTH,
      text.length - MAX_LENGTH,
      `A filter has at most ${MAX_LENGTH} characters.`,
    );
  }
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const c = text.charAt(at);
    if (SPACE.test(c)) {
      at++;
      continue;
    }
    const token = c === '"' || c === "'" ? stringAt(text, at) : (symbolAt(text, at) ?? wordAt(text, at));
    found.push(token);
    at = token.end;
  }
  found.push({ kind: 'end', at: text.length, end: text.length });
  return found;
}

function symbolAt(text: string, at: number): Token | undefined {
  const two = text.slice(at, at + 2);
  if (two === '&&') return { kind: 'and', at, end: at + 2 };
  if (two === '||') return { kind: 'or', at, end: at + 2 };
  const operator = OPERATORS.find(one => text.startsWith(one, at));
  if (operator !== undefined) return { kind: 'operator', operator, at, end: at + operator.length };
  const c = text.charAt(at);
  if (c === '!') return { kind: 'not', at, end: at + 1 };
  if (c === '(') return { kind: 'open', at, end: at + 1 };
  if (c === ')') return { kind: 'close', at, end: at + 1 };
  const double = { '=': '==', '&': '&&', '|': '||' }[c];
  if (double === undefined) return undefined;
  throw new FilterError(at, 1, `A single ${quoted(c)} means nothing here.`, null, double);
}

function wordAt(text: string, at: number): Token {
  let end = at;
  while (end < text.length && !STOP.test(text.charAt(end))) end++;
  const word = text.slice(at, end);
  const kind = Object.hasOwn(WORDS, word.toLowerCase()) ? WORDS[word.toLowerCase()] : undefined;
  return kind === undefined ? { kind: 'word', text: word, at, end } : { kind, at, end };
}

const ESCAPE = /\\(?:([nrt\\"'])|x([0-9a-f]{2})|u([0-9a-f]{4})|u\{([0-9a-f]{1,6})\})/iy;
const SHORT: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** A text in quotes, with the escapes that `printable` writes. */
function stringAt(text: string, at: number): Token {
  const quote = text.charAt(at);
  let value = '';
  let i = at + 1;
  while (i < text.length) {
    const c = text.charAt(i);
    if (c === quote) return { kind: 'string', text: value, at, end: i + 1 };
    if (c !== '\\') {
      value += c;
      i++;
      continue;
    }
    ESCAPE.lastIndex = i;
    const [whole, short, x, u, braces] = ESCAPE.exec(text) ?? [];
    const code = Number.parseInt(x ?? u ?? braces ?? '0', 16);
    if (whole === undefined || code > 0x10ffff) {
      throw new FilterError(
        i,
        Math.min(2, text.length - i),
        'This is no escape.',
        '\\\\ for a backslash, or \\" \\n \\t \\x1b \\u{1f600}',
      );
    }
    value += short === undefined ? String.fromCodePoint(code) : (SHORT[short] ?? short);
    i += whole.length;
  }
  throw new FilterError(at, text.length - at, 'The text in quotes does not end.', `a closing ${quote}`);
}
