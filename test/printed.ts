import stringWidth from 'string-width';
import { expect } from 'vitest';

/** What every text of the terminal program must be: newline-ended, at most 100 cells wide, and without control characters. */
export function expectPrintable(text: string): void {
  expect(text.endsWith('\n')).toBe(true);
  const lines = text.slice(0, -1).split('\n');
  expect(lines.filter(line => /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(line))).toEqual([]);
  expect(lines.filter(line => line !== line.trimEnd())).toEqual([]);
  expect(lines.filter(line => stringWidth(line) > 100)).toEqual([]);
}
