import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printable } from './text.ts';

test.each([
  ['memory-backend-memfd', 'memory-backend-memfd'],
  ['größe 日本 🦀', 'größe 日本 🦀'],
  ['a\nb\tc\rd', 'a\\nb\\tc\\rd'],
  ['C:\\n', 'C:\\\\n'],
  ['\x1b[2J\x07\0\x7f', '\\x1b[2J\\x07\\x00\\x7f'],
  ['\x9b31m', '\\x9b31m'],
  ['safe\u202egnp.exe', 'safe\\u202egnp.exe'],
  ['\u2066a\u2069\u200f\u061c', '\\u2066a\\u2069\\u200f\\u061c'],
  ['a\u200bb\ufeffc\xadd\u2060', 'a\\u200bb\\ufeffc\\xadd\\u2060'],
  ['\u2028\u2029', '\\u2028\\u2029'],
  ['\ud800x', '\\ud800x'],
  ['\u{e0041}', '\\u{e0041}'],
  ['\u3164', '\\u3164'],
])('%j is shown as %s', (text, shown) => {
  expect(printable(text)).toBe(shown);
});

/** Reads the escapes back. */
const undo = (text: string): string =>
  text.replace(/\\(?:x(..)|u\{(.*?)\}|u(....)|(.))/gs, (_, x, long, u, c) =>
    c !== undefined
      ? ({ n: '\n', r: '\r', t: '\t' }[c as string] ?? c)
      : String.fromCodePoint(Number.parseInt(x ?? long ?? u, 16)),
  );

test('nothing that moves the cursor or hides text comes through, and the input can be told', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), text => {
      const shown = printable(text);
      expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
      expect(undo(shown)).toBe(text);
    }),
  );
});
