import type { Expression, Value } from './ast.ts';
import type { FieldId, Operator } from './fields.ts';
import { printFilter } from './print.ts';

/** A comparison, for those who build filters from what they show. */
export const compare = (field: FieldId, operator: Operator, value: Value): Expression => ({
  kind: 'compare',
  field,
  operator,
  value,
});

/** `field == value`; `== unknown` where there is no value. */
export function equals(field: FieldId, value: number | string | null): Expression {
  if (value === null) return compare(field, '==', { kind: 'unknown' });
  return compare(
    field,
    '==',
    typeof value === 'number' ? { kind: 'number', number: value } : { kind: 'text', text: value },
  );
}

/** Both; `null` is the filter that chooses everything. */
export function both(left: Expression | null, right: Expression): Expression {
  return left === null ? right : { kind: 'and', left, right };
}

const OPPOSITE: Readonly<Record<'==' | '!=' | '~' | '!~', Operator>> = {
  '==': '!=',
  '!=': '==',
  '~': '!~',
  '!~': '~',
};

/** The filter that holds where this one does not. `<` has no opposite where a field has many values, so it gets a `!`. */
export function negation(expression: Expression): Expression {
  if (expression.kind === 'not') return expression.term;
  if (expression.kind === 'compare' && expression.operator in OPPOSITE) {
    const operator = OPPOSITE[expression.operator as keyof typeof OPPOSITE];
    return { ...expression, operator };
  }
  return { kind: 'not', term: expression };
}

export type CellFilter = 'apply' | 'exclude' | 'add';

/**
 * The filter after a cell was taken into it: alone, as what is excluded from the filter before, or together with it.
 * @param before the filter that is applied now
 */
export function withCell(before: Expression | null, cell: Expression, how: CellFilter): string {
  switch (how) {
    case 'apply':
      return printFilter(cell);
    case 'exclude':
      return printFilter(both(before, negation(cell)));
    case 'add':
      return printFilter(both(before, cell));
  }
}
