import fc from 'fast-check';
import type { Expression, Value } from '../model/filter/ast.ts';
import { FIELDS, type Field, operatorsOf } from '../model/filter/fields.ts';

const text = fc.oneof(
  fc.constantFrom(
    'Movable',
    'DMA32',
    'normal',
    'udmabuf',
    'qemu-system-x86',
    'disconnected',
    'unknown',
    'none',
    'and',
    '',
  ),
  fc.string({ maxLength: 8 }),
  fc.string({ maxLength: 5, unit: 'binary' }),
);
const number = fc.oneof(
  fc.nat({ max: 12 }),
  fc.constantFrom(
    4096,
    2 ** 21,
    8_294_400,
    3_686_400,
    10_752,
    2025,
    254,
    1240,
    0x100000000,
    533,
    1000,
    60_000,
  ),
  fc.maxSafeInteger().map(Math.abs),
);

function anyValue(field: Field, operator: string): fc.Arbitrary<Value> {
  const special: fc.Arbitrary<Value> = field.words?.includes('none')
    ? fc.constant<Value>({ kind: 'unknown' })
    : fc.constantFrom<Value>({ kind: 'unknown' }, { kind: 'none' });
  const equals = operator === '==' || operator === '!=';
  if (field.type === 'text' || field.type === 'word') {
    const word = field.words ? fc.constantFrom(...field.words) : text;
    const plain = word.map((of): Value => ({ kind: 'text', text: of }));
    return equals ? fc.oneof({ weight: 4, arbitrary: plain }, special) : plain;
  }
  const plain = number.map((of): Value => ({ kind: 'number', number: of }));
  const range = fc
    .tuple(number, number)
    .map(([a, b]): Value => ({ kind: 'range', first: Math.min(a, b), last: Math.max(a, b) }));
  return equals ? fc.oneof({ weight: 4, arbitrary: plain }, range, special) : plain;
}

const comparison: fc.Arbitrary<Expression> = fc
  .constantFrom(...FIELDS)
  .chain((field: Field & { readonly id: (typeof FIELDS)[number]['id'] }) =>
    fc
      .constantFrom(...operatorsOf(field))
      .chain(operator =>
        anyValue(field, operator).map(
          (value): Expression => ({ kind: 'compare', field: field.id, operator, value }),
        ),
      ),
  );

/** Any expression that the parser can give, for whatever sample. */
export const anyFilter: fc.Arbitrary<Expression> = fc.letrec<{ node: Expression }>(tie => ({
  node: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    { weight: 4, arbitrary: comparison },
    { weight: 1, arbitrary: text.map((of): Expression => ({ kind: 'search', text: of })) },
    { weight: 1, arbitrary: tie('node').map((term): Expression => ({ kind: 'not', term })) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.constantFrom('and' as const, 'or' as const), tie('node'), tie('node'))
        .map(([kind, left, right]): Expression => ({ kind, left, right })),
    },
  ),
})).node;
