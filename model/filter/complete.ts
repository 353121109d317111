import type { Sample } from '../run-columns.ts';
import { FilterError } from './error.ts';
import { FIELDS, type Field, fieldOf, type Operator, operatorsOf } from './fields.ts';
import { type Token, tokens } from './lexer.ts';
import { textOf } from './print.ts';
import { nameColumn, numberColumn, numbersOf, readingOf, textsOf } from './read.ts';
import { numberText } from './values.ts';

export interface Candidate {
  /** What is put in. */
  readonly text: string;
  readonly kind: 'field' | 'operator' | 'value' | 'joint';
  /** A few words about it. */
  readonly hint: string;
}

export interface Completion {
  /** The part of the text that a candidate replaces, UTF-16 units. */
  readonly from: number;
  readonly to: number;
  readonly candidates: readonly Candidate[];
}

const MOST = 40;
/** So many page runs are looked through for values that occur. */
const MOST_RUNS = 200_000;

const OPERATOR_HINTS: Readonly<Record<Operator, string>> = {
  '==': 'is',
  '!=': 'is not',
  '<': 'less than',
  '<=': 'at most',
  '>': 'more than',
  '>=': 'at least',
  '~': 'contains',
  '!~': 'does not contain',
};

/** What may stand at the caret: fields, operators, values that occur in the sample, and what joins conditions. */
export function complete(text: string, caret: number, sample: Sample | null): Completion {
  const before = text.slice(0, caret);
  const { list, partial } = split(before);
  const context = contextOf(list);
  const from = partial?.at ?? caret;
  const typed = partial?.text.toLowerCase() ?? '';
  // What follows the caret without a break belongs to the same word.
  const to =
    partial === null ? caret : caret + (/^[^\s"'()=!<>~&|]*/u.exec(text.slice(caret))?.[0].length ?? 0);
  const all = candidatesIn(context, sample);
  const starts = all.filter(one => bare(one).startsWith(typed));
  const holds = typed === '' ? [] : all.filter(one => !starts.includes(one) && bare(one).includes(typed));
  return { from, to, candidates: [...starts, ...holds].slice(0, MOST) };
}

const bare = ({ text }: Candidate): string => text.replace(/^"/, '').toLowerCase();

/** The tokens before the caret, without the word that is being typed. */
function split(before: string): { list: Token[]; partial: { at: number; text: string } | null } {
  let list: Token[];
  try {
    list = tokens(before).slice(0, -1);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    // A text in quotes that does not end yet, or half of an operator: what stands before it is whole.
    const rest = before.slice(error.at);
    try {
      return {
        list: tokens(before.slice(0, error.at)).slice(0, -1),
        partial: { at: error.at, text: rest.replace(/^["']/, '') },
      };
    } catch {
      return { list: [], partial: { at: before.length, text: '' } };
    }
  }
  const last = list[list.length - 1];
  if (last === undefined || last.end < before.length) return { list, partial: null };
  const earlier = list.slice(0, -1);
  if (last.kind === 'word') return { list: earlier, partial: { at: last.at, text: last.text } };
  // `!` behind a field becomes `!=`; elsewhere it stands for itself, as other signs do.
  if (last.kind === 'not' && last.end - last.at === 1 && contextOf(earlier).kind === 'operator') {
    return { list: earlier, partial: { at: last.at, text: '!' } };
  }
  return { list, partial: null };
}

type Context =
  | { readonly kind: 'operand' }
  | { readonly kind: 'operator'; readonly field: Field }
  | {
      readonly kind: 'value';
      readonly field: NonNullable<ReturnType<typeof fieldOf>>;
      readonly operator: Operator;
    }
  | { readonly kind: 'joint'; readonly open: boolean };

function contextOf(list: readonly Token[]): Context {
  const last = list[list.length - 1];
  const previous = list[list.length - 2];
  if (last?.kind === 'word' && previous?.kind !== 'operator') {
    const field = fieldOf(last.text);
    if (field !== undefined) return { kind: 'operator', field };
  }
  if (last?.kind === 'operator') {
    const field = previous?.kind === 'word' ? fieldOf(previous.text) : undefined;
    if (field !== undefined) return { kind: 'value', field, operator: last.operator };
  }
  if (last?.kind === 'word' || last?.kind === 'string' || last?.kind === 'close') {
    const depth = list.reduce((sum, { kind }) => sum + Number(kind === 'open') - Number(kind === 'close'), 0);
    return { kind: 'joint', open: depth > 0 };
  }
  return { kind: 'operand' };
}

function candidatesIn(context: Context, sample: Sample | null): Candidate[] {
  switch (context.kind) {
    case 'operand':
      return FIELDS.map(({ id, help }) => ({ text: id, kind: 'field', hint: help }));
    case 'operator':
      return operatorsOf(context.field).map(text => ({ text, kind: 'operator', hint: OPERATOR_HINTS[text] }));
    case 'value':
      return valuesIn(context.field, context.operator, sample);
    case 'joint':
      return [
        { text: '&&', kind: 'joint', hint: 'both hold' },
        { text: '||', kind: 'joint', hint: 'one of them holds' },
        ...(context.open
          ? [{ text: ')', kind: 'joint' as const, hint: 'ends the part in parentheses' }]
          : []),
      ];
  }
}

function valuesIn(
  field: NonNullable<ReturnType<typeof fieldOf>>,
  operator: Operator,
  sample: Sample | null,
): Candidate[] {
  const found = sample === null ? new Map<string, number>() : occurring(field, sample);
  for (const word of field.words ?? []) if (!found.has(word)) found.set(word, 0);
  const values = [...found]
    .sort(([, a], [, b]) => b - a)
    .map(
      ([text, count]): Candidate => ({
        text,
        kind: 'value',
        hint:
          sample === null
            ? ''
            : count === 0
              ? 'in no dma-buf now'
              : `in ${count} dma-buf${count === 1 ? '' : 's'}`,
      }),
    );
  if (field.words && field.ordered) values.sort((a, b) => rank(field, a) - rank(field, b));
  if (operator !== '==' && operator !== '!=') return values;
  const special: Candidate[] = [{ text: 'unknown', kind: 'value', hint: 'was not read' }];
  if (!field.words?.includes('none'))
    special.push({ text: 'none', kind: 'value', hint: 'was read, and there is none' });
  return [...values.slice(0, MOST - special.length), ...special];
}

const rank = ({ words = [] }: Field, { text }: Candidate): number => words.indexOf(text);

const known = new WeakMap<Sample, Map<string, Map<string, number>>>();

/** Values of a field that occur, as they are written, and in how many resources. Counted once a sample: every key asks. */
function occurring(field: NonNullable<ReturnType<typeof fieldOf>>, sample: Sample): Map<string, number> {
  const fields = known.get(sample) ?? new Map<string, Map<string, number>>();
  known.set(sample, fields);
  const found = fields.get(field.id) ?? count(field, sample);
  fields.set(field.id, found);
  return new Map(found);
}

function count(field: NonNullable<ReturnType<typeof fieldOf>>, sample: Sample): Map<string, number> {
  const found = new Map<string, number>();
  // Every page has another address, and every buffer another age: a list of them helps nobody.
  if (field.type === 'address' || field.type === 'duration') return found;
  const reading = readingOf(sample);
  const texts = textsOf(field.id, reading);
  const numbers = numbersOf(field.id, reading);
  let runsLeft = MOST_RUNS;
  const here = new Set<string | number>();
  const visit = (value: string | number | null): boolean => {
    if (value !== null) here.add(value);
    return false;
  };
  const add = () => {
    for (const value of here) {
      const text = typeof value === 'number' ? numberText(field, value) : field.words ? value : textOf(value);
      found.set(text, (found.get(text) ?? 0) + 1);
    }
    here.clear();
  };
  for (const resource of sample.resources) {
    texts?.(resource, visit);
    numbers?.(resource, visit);
    const runs = resource.pages?.runs;
    if (runs !== undefined && runsLeft > 0) {
      const names = nameColumn(field.id)?.(runs);
      const column = numberColumn(field.id)?.(runs).first;
      if (names !== undefined || column !== undefined) {
        const length = Math.min(runs.length, runsLeft);
        runsLeft -= length;
        for (let i = 0; i < length; i++) {
          const value = names ? names.names[names.at[i] ?? -1] : column?.[i];
          if (value !== undefined && !(typeof value === 'number' && !(value >= 0))) here.add(value);
        }
      }
    }
    add();
  }
  if (field.id === 'severity') {
    for (const { inode } of sample.resources) {
      const worst = (reading.findings.get(inode) ?? []).reduce(
        (most, one) => Math.max(most, one.severity),
        0,
      );
      const word = field.words?.[worst];
      if (word !== undefined) found.set(word, (found.get(word) ?? 0) + 1);
    }
  }
  return found;
}
