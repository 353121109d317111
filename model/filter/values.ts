import type { Value } from './ast.ts';
import type { Field } from './fields.ts';

const SIZES: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  m: 2 ** 20,
  mib: 2 ** 20,
  g: 2 ** 30,
  gib: 2 ** 30,
  t: 2 ** 40,
  tib: 2 ** 40,
};
const SPANS: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** How a value of a field is written, for messages. */
export function valueWords(field: Field): string {
  switch (field.type) {
    case 'count':
      return 'a whole number such as 42 or 0x2a';
    case 'size':
      return 'a size such as 4096, 4KiB, 2MiB or 1GiB';
    case 'duration':
      return 'a duration with its unit, such as 500ms, 10s, 5min, 2h or 1d';
    case 'address':
      return field.id === 'gpa'
        ? 'an address such as 0x100003000 or 4GiB'
        : 'a page frame number such as 0x10bbf0';
    case 'text':
      return 'a word, or a text in quotes';
    case 'word':
      return field.words ? field.words.join(', ') : 'a word';
  }
}

/**
 * A number or range of the field's type as it was typed; `null`: it is none. A size with a decimal point stands for all
 * sizes that round to it, because that is what the tables show: it is a range of bytes.
 */
export function numberValue(field: Field, text: string): Value | null {
  const dots = text.indexOf('..');
  if (dots >= 0) {
    const first = single(field, text.slice(0, dots));
    const last = single(field, text.slice(dots + 2));
    return first === null || last === null ? null : { kind: 'range', first: first.low, last: last.high };
  }
  const found = single(field, text);
  if (found === null) return null;
  return found.low === found.high
    ? { kind: 'number', number: found.low }
    : { kind: 'range', first: found.low, last: found.high };
}

interface Span {
  readonly low: number;
  readonly high: number;
}

function single(field: Field, text: string): Span | null {
  const plain = wholeNumber(text);
  switch (field.type) {
    case 'count':
      return plain;
    case 'address':
      return plain ?? (field.id === 'gpa' ? size(text) : null);
    case 'size':
      return plain ?? size(text);
    case 'duration':
      return span(text);
    default:
      return null;
  }
}

const exact = (number: number): Span | null =>
  Number.isSafeInteger(number) ? { low: number, high: number } : null;

function wholeNumber(text: string): Span | null {
  return /^(?:\d{1,17}|0x[0-9a-f]{1,14})$/i.test(text) ? exact(Number(text)) : null;
}

function size(text: string): Span | null {
  const [, number = '', unit = ''] = /^(\d{1,17}(?:\.\d{1,6})?)([a-z]{1,3})$/i.exec(text) ?? [];
  const bytes = Object.hasOwn(SIZES, unit.toLowerCase()) ? SIZES[unit.toLowerCase()] : undefined;
  if (number === '' || bytes === undefined) return null;
  const decimals = number.includes('.') ? number.length - number.indexOf('.') - 1 : 0;
  if (decimals === 0) return exact(Number(number) * bytes);
  const half = 0.5 / 10 ** decimals;
  const low = Math.ceil((Number(number) - half) * bytes);
  const high = Math.floor((Number(number) + half) * bytes);
  // Finer than a byte: the nearest one.
  if (low >= high) return exact(Math.round(Number(number) * bytes));
  return low >= 0 && Number.isSafeInteger(high) ? { low, high } : null;
}

/** `5min`, `1h30min`, `1.5s`. */
function span(text: string): Span | null {
  if (!/^(?:\d{1,16}(?:\.\d{1,6})?(?:ms|s|min|h|d)){1,5}$/i.test(text)) return null;
  let milliseconds = 0;
  for (const [, number, unit = ''] of text.matchAll(/([\d.]+)([a-z]+)/gi)) {
    milliseconds += Number(number) * (SPANS[unit.toLowerCase()] ?? Number.NaN);
  }
  return exact(Math.round(milliseconds));
}

/** Whether a word goes on with the number before it: `7.91 MiB`, `2 min 5 s`, as the tables print them. */
export function continues(field: Field, before: string, next: string): boolean {
  if (field.type !== 'size' && field.type !== 'duration') return false;
  if (/[a-z]$/i.test(before)) return field.type === 'duration' && /^\d[\d.]*(?:ms|s|min|h|d)?$/i.test(next);
  return /\d$/.test(before) && Object.hasOwn(field.type === 'size' ? SIZES : SPANS, next.toLowerCase());
}

/** A number as {@link numberValue} reads it again, in the largest unit that is exact. */
export function numberText(field: Field, number: number): string {
  if (field.type === 'address') return `0x${number.toString(16)}`;
  if (field.type === 'count') return String(number);
  const units: readonly (readonly [string, number])[] =
    field.type === 'size'
      ? [
          ['TiB', 2 ** 40],
          ['GiB', 2 ** 30],
          ['MiB', 2 ** 20],
          ['KiB', 2 ** 10],
        ]
      : Object.entries(SPANS).reverse();
  const unit = number === 0 ? undefined : units.find(([, factor]) => number % factor === 0);
  if (unit === undefined) return field.type === 'size' ? String(number) : `${number}ms`;
  return `${number / unit[1]}${unit[0]}`;
}
