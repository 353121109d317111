import { ParseError } from '../parse-error.ts';

/** One `key=value` in the order of the text; a repeated key occurs repeatedly, and the last one counts. */
export type OptionPair = readonly [key: string, value: string];

/**
 * QEMU's `key=value,…` syntax. A comma in a value is written `,,`. The first item may be a bare value of `impliedKey`.
 * Any other bare item is a flag: `x` means `x=on`, and `nox` means `x=off` (also where the flag's name happens to
 * begin with "no"; QEMU does not look either).
 *
 * Rests on get_opt_name_value() and get_opt_value() of util/qemu-option.c, 7.2. -machine goes through
 * keyval_parse() of util/keyval.c, which differs only in refusing flags; a running QEMU did not have any there.
 * Every text has a meaning; nothing is thrown.
 */
export function parseOptionPairs(text: string, impliedKey: string | null = null): OptionPair[] {
  const pairs: OptionPair[] = [];
  let implied = impliedKey;
  let at = 0;
  while (at < text.length) {
    let end = at;
    while (end < text.length && text[end] !== '=' && text[end] !== ',') end++;
    if (text[end] === '=') {
      const [value, next] = optionValue(text, end + 1);
      pairs.push([text.slice(at, end), value]);
      at = next;
    } else if (implied !== null) {
      const [value, next] = optionValue(text, at);
      pairs.push([implied, value]);
      at = next;
    } else {
      const flag = text.slice(at, end);
      pairs.push(flag.startsWith('no') ? [flag.slice(2), 'off'] : [flag, 'on']);
      at = end + 1;
    }
    implied = null;
  }
  return pairs;
}

/** The value that starts at `at`, and where the next item starts. */
function optionValue(text: string, at: number): [string, number] {
  let value = '';
  let from = at;
  for (;;) {
    const comma = text.indexOf(',', from);
    if (comma < 0) return [value + text.slice(from), text.length];
    if (text[comma + 1] !== ',') return [value + text.slice(from, comma), comma + 1];
    value += text.slice(from, comma + 1);
    from = comma + 2;
  }
}

/**
 * The JSON form of -object, -device, -netdev and -blockdev, flattened to strings in the way of the other form:
 * nested members are `a.b`, list items `a.0`, true and false are `on` and `off`, null is an empty string.
 * @throws ParseError when it is no JSON object, or nested beyond QEMU's own limit.
 */
export function parseJsonPairs(text: string): OptionPair[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ParseError('QEMU option', 'a JSON object', text, 0);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ParseError('QEMU option', 'a JSON object', text, 0);
  }
  const pairs: OptionPair[] = [];
  const flatten = (path: string, value: unknown, depth: number): void => {
    // MAX_NESTING of qobject/json-streamer.c.
    if (depth > 1024) throw new ParseError('QEMU option', 'at most 1024 levels of JSON', text, 0);
    if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) {
        flatten(path === '' ? key : `${path}.${key}`, inner, depth + 1);
      }
    } else if (typeof value === 'boolean') {
      pairs.push([path, value ? 'on' : 'off']);
    } else if (typeof value === 'number') {
      pairs.push([path, numberText(value, text)]);
    } else {
      pairs.push([path, value === null ? '' : String(value)]);
    }
  };
  flatten('', json, 0);
  return pairs;
}

function numberText(value: number, text: string): string {
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new ParseError('QEMU option', 'a JSON number below 2^53', text, 0);
  }
  return String(value);
}

/** The last value of each key, as QEMU takes it (qemu_opt_find() searches from the end). */
export function lastOf(pairs: readonly OptionPair[]): Record<string, string> {
  return Object.fromEntries(pairs);
}

/** As qapi_bool_parse() of qapi/qapi-util.c, 7.2. @throws ParseError for any other word. */
export function parseBool(text: string): boolean {
  if (['on', 'yes', 'true', 'y'].includes(text)) return true;
  if (['off', 'no', 'false', 'n'].includes(text)) return false;
  throw new ParseError('QEMU option', 'on or off', text, 0);
}

const FACTOR: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
  e: 2 ** 60,
};

/**
 * A size in bytes, as qemu_strtosz() of util/cutils.c, 7.2: decimal, with a fraction if a suffix beyond `B` follows
 * (rounded down), or hexadecimal without one; suffixes B K M G T P E in either case, powers of 1024; no exponent.
 * @param unit the factor of a number without suffix: bytes, except for `-m`.
 * @throws ParseError for any other text, and for 2^53 bytes and more.
 */
export function parseSize(text: string, unit = 1): number {
  const hexadecimal = /^\s*\+?0[xX]([0-9a-fA-F]+)([kKmMgGtTpP]?)$/.exec(text);
  const decimal = /^\s*\+?(\d+(?:\.\d*)?|\.\d+)([bBkKmMgGtTpPeE]?)$/.exec(text);
  const match = hexadecimal ?? decimal;
  if (!match) throw new ParseError('size', 'a number with an optional suffix B, K, M, G, T, P or E', text, 0);
  const digits = hexadecimal ? `0x${match[1] ?? ''}` : (match[1] ?? '');
  const factor = match[2] ? (FACTOR[match[2].toLowerCase()] ?? 1) : unit;
  const value = Number(digits) * factor;
  if (factor === 1 && !Number.isInteger(value))
    throw new ParseError('size', 'a whole number of bytes', text, 0);
  const bytes = Math.floor(value);
  if (!Number.isSafeInteger(bytes)) throw new ParseError('size', 'fewer than 2^53 bytes', text, 0);
  return bytes;
}

/**
 * A list of small numbers in the way of `host-nodes`: `0`, `0-3`, `0-1,4`, blanks allowed; empty is an empty list.
 * Rests on parse_type_int64() of qapi/opts-visitor.c (input) and format_string() of qapi/string-output-visitor.c
 * (`info memdev`), 7.2.
 * @throws ParseError for anything else, and for numbers above 65535 (the members are uint16).
 */
export function parseNumberList(text: string): number[] {
  const numbers = new Set<number>();
  if (text.trim() === '') return [];
  for (const part of text.split(/[,\s]+/).filter(Boolean)) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!match || last > 65535 || first > last) {
      throw new ParseError('number list', 'numbers below 65536 or ranges of them', text, 0);
    }
    for (let n = first; n <= last; n++) numbers.add(n);
  }
  return [...numbers].sort((a, b) => a - b);
}
