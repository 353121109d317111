import type { RunColumns, Sample, SampledResource } from '../run-columns.ts';
import type { Expression, Value } from './ast.ts';
import { type Field, fieldOf, type Operator } from './fields.ts';
import {
  nameColumn,
  numberColumn,
  numbersOf,
  type Reading,
  ranksOf,
  readingOf,
  textsOf,
  type Values,
} from './read.ts';

/**
 * Three-valued logic, so that what was not read never decides: `and` is the least, `or` the greatest, `not` the mirror.
 * (Kleene's; SQL has the same.)
 */
export const [NO, UNDECIDED, YES] = [0, 1, 2] as const;
export type Verdict = typeof NO | typeof UNDECIDED | typeof YES;
type Test = (resource: SampledResource) => Verdict;

export interface Filtered {
  /** Resources for which the filter holds, in the order of the sample. */
  readonly resources: readonly SampledResource[];
  /** Resources for which it does not say, because something was not read. They are not among the others. */
  readonly undecided: number;
}

/** The resources of a sample that a filter chooses; `null` chooses all. */
export function applyFilter(expression: Expression | null, sample: Sample): Filtered {
  if (expression === null) return { resources: sample.resources, undecided: 0 };
  const test = compile(expression, sample);
  const resources: SampledResource[] = [];
  let undecided = 0;
  for (const resource of sample.resources) {
    const verdict = test(resource);
    if (verdict === YES) resources.push(resource);
    else if (verdict === UNDECIDED) undecided++;
  }
  return { resources, undecided };
}

/** The filter as a function over the resources of this sample. It allocates nothing for each of them. */
export function compile(expression: Expression, sample: Sample): Test {
  return compileIn(expression, readingOf(sample));
}

const opposite = (verdict: Verdict): Verdict => (verdict === YES ? NO : verdict === NO ? YES : UNDECIDED);

function compileIn(expression: Expression, reading: Reading): Test {
  switch (expression.kind) {
    case 'and': {
      const [left, right] = [compileIn(expression.left, reading), compileIn(expression.right, reading)];
      return resource => {
        const first = left(resource);
        return first === NO ? NO : (Math.min(first, right(resource)) as Verdict);
      };
    }
    case 'or': {
      const [left, right] = [compileIn(expression.left, reading), compileIn(expression.right, reading)];
      return resource => {
        const first = left(resource);
        return first === YES ? YES : (Math.max(first, right(resource)) as Verdict);
      };
    }
    case 'not': {
      const term = compileIn(expression.term, reading);
      return resource => opposite(term(resource));
    }
    case 'search': {
      const contains = matcher('~', expression.text);
      const parts = (['name', 'exporter', 'holder'] as const).map(id =>
        anyOf(textsOf(id, reading), contains),
      );
      return resource => parts.reduce<Verdict>((best, part) => Math.max(best, part(resource)) as Verdict, NO);
    }
    case 'compare': {
      const field = fieldOf(expression.field);
      if (field === undefined) throw new RangeError(`no field ${expression.field}`);
      // `a != b` is `!(a == b)`, and `!~` likewise, for fields with many values too: no value may be b.
      const { operator } = expression;
      if (operator === '!=') return negated(field, '==', expression.value, reading);
      if (operator === '!~') return negated(field, '~', expression.value, reading);
      return comparison(field, operator, expression.value, reading);
    }
  }
}

type Positive = Exclude<Operator, '!=' | '!~'>;

function negated(field: Expressible, operator: Positive, value: Value, reading: Reading): Test {
  const test = comparison(field, operator, value, reading);
  return resource => opposite(test(resource));
}

type Expressible = Field & { readonly id: NonNullable<ReturnType<typeof fieldOf>>['id'] };

function comparison(field: Expressible, operator: Positive, value: Value, reading: Reading): Test {
  const numbers = numberColumn(field.id);
  if (numbers !== null) return ofPages(numberTest(numbers, operator, value));
  const names = nameColumn(field.id);
  if (names !== null) return ofPages(nameTest(names, operator, value));
  const scalars = numbersOf(field.id, reading) ?? ranksOf(field.id, reading);
  if (scalars !== null) {
    const [low, high] = bounds(operator, rankOr(field, value));
    return valueTest(scalars, value, number => number >= low && number <= high);
  }
  const texts = textsOf(field.id, reading);
  if (texts === null) throw new RangeError(`nothing reads the field ${field.id}`);
  const test = valueTest(texts, value, matcher(operator, value.kind === 'text' ? value.text : ''));
  if (field.id !== 'rule') return test;
  return orNotChecked(test, operator, value, reading);
}

/** A rule that did not run may have found this: that nothing was found says nothing. */
function orNotChecked(test: Test, operator: Positive, value: Value, reading: Reading): Test {
  const fits = matcher(operator, value.kind === 'text' ? value.text : '');
  const open =
    value.kind === 'text'
      ? [...reading.notChecked].some(fits)
      : value.kind === 'none' && reading.notChecked.size > 0;
  if (!open) return test;
  return value.kind === 'none'
    ? resource => Math.min(UNDECIDED, test(resource)) as Verdict
    : resource => Math.max(UNDECIDED, test(resource)) as Verdict;
}

/** A word of an ordered field as the place that it has. */
function rankOr(field: Field, value: Value): Value {
  if (value.kind !== 'text' || field.words === undefined) return value;
  return { kind: 'number', number: field.words.indexOf(value.text) };
}

/** The numbers that a comparison holds for, both ends included. All numbers are whole but ages, whose bounds are exact too. */
function bounds(operator: Positive, value: Value): readonly [number, number] {
  const [first, last] =
    value.kind === 'number'
      ? [value.number, value.number]
      : value.kind === 'range'
        ? [value.first, value.last]
        : [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  switch (operator) {
    case '<':
      return [Number.NEGATIVE_INFINITY, first - 1];
    case '<=':
      return [Number.NEGATIVE_INFINITY, last];
    case '>':
      return [last + 1, Number.POSITIVE_INFINITY];
    case '>=':
      return [first, Number.POSITIVE_INFINITY];
    default:
      return [first, last];
  }
}

/** Text without regard to case, whole or as a part. */
function matcher(operator: Positive, wanted: string): (text: string) => boolean {
  const lower = wanted.toLowerCase();
  return operator === '~' ? text => text.toLowerCase().includes(lower) : text => text.toLowerCase() === lower;
}

function anyOf<T>(values: Values<T> | null, fits: (value: T) => boolean): Test {
  if (values === null) throw new RangeError('nothing reads this field');
  let found = false;
  let unknown = false;
  const visit = (value: T | null): boolean => {
    if (value === null) unknown = true;
    else if (fits(value)) found = true;
    return found;
  };
  return resource => {
    found = unknown = false;
    values(resource, visit);
    return found ? YES : unknown ? UNDECIDED : NO;
  };
}

function valueTest<T>(values: Values<T>, wanted: Value, fits: (value: T) => boolean): Test {
  if (wanted.kind !== 'unknown' && wanted.kind !== 'none') return anyOf(values, fits);
  let known = false;
  let unknown = false;
  const visit = (value: T | null): boolean => {
    if (value === null) unknown = true;
    else known = true;
    return false;
  };
  const isUnknown = wanted.kind === 'unknown';
  return resource => {
    known = unknown = false;
    values(resource, visit);
    if (isUnknown) return unknown ? YES : NO;
    return known ? NO : unknown ? UNDECIDED : YES;
  };
}

// ------------------------------------------------------------------------------------------------- page runs

interface RunTest {
  readonly wanted: Value;
  /** Whether any run fits, or else whether any is unknown. */
  readonly any: (runs: RunColumns) => Verdict;
  /** Whether any run is unknown. */
  readonly unknown: (runs: RunColumns) => boolean;
}

function ofPages({ wanted, any, unknown }: RunTest): Test {
  if (wanted.kind === 'unknown') {
    return ({ pages }) => (pages === null || unknown(pages.runs) ? YES : NO);
  }
  if (wanted.kind === 'none') {
    return ({ pages }) =>
      pages === null ? UNDECIDED : pages.runs.length === 0 ? YES : unknownOnly(pages.runs);
  }
  return ({ pages }) => (pages === null ? UNDECIDED : any(pages.runs));

  function unknownOnly(runs: RunColumns): Verdict {
    // Every page has a zone, a node and a PFN, read or not; a memfd and a guest address it may really not have.
    return unknown(runs) ? UNDECIDED : NO;
  }
}

function numberTest(
  column: NonNullable<ReturnType<typeof numberColumn>>,
  operator: Positive,
  wanted: Value,
): RunTest {
  const [low, high] = bounds(operator, wanted);
  return {
    wanted,
    any: runs => {
      const { first, count, step } = column(runs);
      let verdict: Verdict = NO;
      for (let i = 0; i < runs.length; i++) {
        const value = first[i] ?? Number.NaN;
        if (value >= 0) {
          const last = count === null ? value : value + (count[i] ?? 1) * step - 1;
          if (last >= low && value <= high) return YES;
        } else {
          verdict = UNDECIDED;
        }
      }
      return verdict;
    },
    unknown: runs => {
      const { first } = column(runs);
      for (let i = 0; i < runs.length; i++) if (!((first[i] ?? Number.NaN) >= 0)) return true;
      return false;
    },
  };
}

function nameTest(
  column: NonNullable<ReturnType<typeof nameColumn>>,
  operator: Positive,
  wanted: Value,
): RunTest {
  const fits = matcher(operator, wanted.kind === 'text' ? wanted.text : '');
  // All buffers of a sample mostly share one table of names: which of them fit is found out once.
  let names: readonly string[] | null = null;
  let verdicts = new Uint8Array(0);
  return {
    wanted,
    any: runs => {
      const { at, names: these } = column(runs);
      if (these !== names) {
        names = these;
        verdicts = Uint8Array.from(these, name => (name === undefined ? UNDECIDED : fits(name) ? YES : NO));
      }
      let verdict: Verdict = NO;
      for (let i = 0; i < runs.length; i++) {
        const one = verdicts[at[i] ?? -1] ?? UNDECIDED;
        if (one === YES) return YES;
        if (one === UNDECIDED) verdict = UNDECIDED;
      }
      return verdict;
    },
    unknown: runs => {
      const { at, names: these } = column(runs);
      for (let i = 0; i < runs.length; i++) if (these[at[i] ?? -1] === undefined) return true;
      return false;
    },
  };
}
