import { printable } from '../text.ts';
import type { Expression, Value } from './ast.ts';
import { type Field, fieldOf } from './fields.ts';
import { isPlainWord } from './lexer.ts';
import { numberText } from './values.ts';

/** The text of an expression; parsing it gives the same expression. Printable, whatever names are in it. */
export function printFilter(expression: Expression): string {
  return print(expression, 0);
}

/** @param level how tightly the place binds: 0 anything, 1 a side of `&&` or the right of `||`, 2 what `!` stands before */
function print(expression: Expression, level: 0 | 1 | 2 | 3): string {
  switch (expression.kind) {
    case 'or': {
      const text = `${print(expression.left, 0)} || ${print(expression.right, 1)}`;
      return level > 0 ? `(${text})` : text;
    }
    case 'and': {
      const text = `${print(expression.left, 1)} && ${print(expression.right, 2)}`;
      return level > 1 ? `(${text})` : text;
    }
    case 'not': {
      // `!zone == DMA` is right and reads wrong.
      const { term } = expression;
      return term.kind === 'not' || term.kind === 'search' ? `!${print(term, 3)}` : `!(${print(term, 0)})`;
    }
    case 'search':
      return textOf(expression.text);
    case 'compare': {
      const field = fieldOf(expression.field);
      if (field === undefined) throw new RangeError(`no field ${expression.field}`);
      return `${field.id} ${expression.operator} ${valueText(field, expression.value)}`;
    }
  }
}

/** A value as it stands behind an operator. */
export function valueText(field: Field, value: Value): string {
  switch (value.kind) {
    case 'unknown':
    case 'none':
      return value.kind;
    case 'number':
      return numberText(field, value.number);
    case 'range':
      return `${numberText(field, value.first)}..${numberText(field, value.last)}`;
    case 'text':
      return field.words ? value.text : textOf(value.text);
  }
}

/** A text as a word, or in quotes where it is none or would mean something else. */
export function textOf(text: string): string {
  const safe = printable(text);
  const means = /^(unknown|none)$/i.test(text);
  return isPlainWord(text) && safe === text && !means ? text : `"${safe.replaceAll('"', '\\"')}"`;
}
