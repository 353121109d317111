import { capital } from '../../model/format.ts';
import { printable } from '../../model/text.ts';

/** A detail from another process as a sentence of its own: safe to print, begun with a capital, ended with a full stop. */
export function sentence(detail: string): string {
  const text = printable(detail.trim());
  if (text === '') return '';
  // A path or an identifier keeps its first letter.
  const begun = /^[a-z]+[ ,]/.test(text) ? capital(text) : text;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
