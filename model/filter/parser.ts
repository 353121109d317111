import type { Expression, Value } from './ast.ts';
import { FilterError, nearest, quoted } from './error.ts';
import {
  FIELDS,
  type Field,
  type FieldId,
  fieldOf,
  type Operator,
  OTHER_WORDS,
  operatorsOf,
} from './fields.ts';
import { type Token, tokens } from './lexer.ts';
import { continues, numberValue, valueWords } from './values.ts';

/** Parentheses and `!` inside one another; every level is a call of this parser and of the evaluator. */
const MAX_DEPTH = 100;

/**
 * The expression of a text; `null` for an empty one, which chooses everything. Throws a FilterError, and nothing else,
 * whatever the text.
 */
export function parseFilter(text: string): Expression | null {
  const parser = new Parser(tokens(text));
  return parser.atEnd ? null : parser.whole();
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(all: readonly Token[]) {
    this.#tokens = all;
  }

  get #token(): Token {
    const token = this.#tokens[this.#next];
    if (token === undefined) throw new RangeError('read past the end');
    return token;
  }

  get atEnd(): boolean {
    return this.#token.kind === 'end';
  }

  whole(): Expression {
    const found = this.#or();
    const token = this.#token;
    if (token.kind === 'end') return found;
    if (token.kind === 'close') throw problem(token, 'There is no “(” for this “)”.');
    throw problem(token, 'Two conditions follow one another.', '&& or || between them');
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#token.kind === 'or') {
      this.#next++;
      left = { kind: 'or', left, right: this.#and() };
    }
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#token.kind === 'and') {
      this.#next++;
      left = { kind: 'and', left, right: this.#not() };
    }
    return left;
  }

  #not(): Expression {
    if (this.#token.kind !== 'not') return this.#term();
    return this.#deeper(() => ({ kind: 'not', term: this.#not() }));
  }

  #deeper(parse: () => Expression): Expression {
    if (++this.#depth > MAX_DEPTH) {
      throw problem(this.#token, `More than ${MAX_DEPTH} levels of parentheses and negations.`);
    }
    this.#next++;
    const found = parse();
    this.#depth--;
    return found;
  }

  #term(): Expression {
    const token = this.#token;
    switch (token.kind) {
      case 'open':
        return this.#deeper(() => {
          const inner = this.#or();
          if (this.#token.kind !== 'close') {
            throw problem(this.#token, `The “(” at character ${token.at + 1} is not closed.`, '&&, || or )');
          }
          this.#next++;
          return inner;
        });
      case 'word':
      case 'string': {
        this.#next++;
        const operator = this.#token;
        if (operator.kind !== 'operator') return { kind: 'search', text: token.text };
        return this.#comparison(token, operator);
      }
      case 'end':
        throw problem(token, 'The filter ends too early.', 'a field or a word');
      case 'operator':
        throw problem(token, `Nothing stands before ${token.operator}.`, 'a field');
      default:
        throw problem(token, 'A condition is missing here.', 'a field or a word');
    }
  }

  #comparison(
    name: Token & { readonly text: string },
    { operator, at, end }: { readonly operator: Operator; readonly at: number; readonly end: number },
  ): Expression {
    const field = name.kind === 'word' ? fieldOf(name.text) : undefined;
    if (field === undefined) throw noField(name);
    this.#next++;
    if (!operatorsOf(field).includes(operator)) {
      throw new FilterError(
        at,
        end - at,
        `${field.id} does not compare with ${operator}.`,
        `one of ${operatorsOf(field).join(' ')}`,
      );
    }
    return { kind: 'compare', field: field.id, operator, value: this.#value(field, operator) };
  }

  #value(field: Field & { readonly id: FieldId }, operator: Operator): Value {
    const token = this.#token;
    if (token.kind !== 'word' && token.kind !== 'string') {
      throw problem(
        token,
        `${field.id} ${operator} needs a value.`,
        field.words ? oneOf(field.words) : valueWords(field),
      );
    }
    this.#next++;
    const word = token.kind === 'word' ? token.text.toLowerCase() : null;
    if (word === 'unknown' || (word === 'none' && !field.words?.includes('none'))) {
      if (operator === '==' || operator === '!=') return { kind: word };
      throw problem(token, `${word} has no order and no letters.`, '== or != before it');
    }
    if (field.type === 'text' || (field.type === 'word' && !field.words)) {
      return { kind: 'text', text: token.text };
    }
    if (field.words) {
      const known = field.words.find(one => one === token.text.toLowerCase());
      if (known !== undefined) return { kind: 'text', text: known };
      const what = `${field.id} is never ${quoted(token.text)}.`;
      throw problem(token, what, oneOf([...field.words, 'unknown']), nearest(token.text, field.words));
    }
    return this.#number(field, operator, token);
  }

  #number(field: Field, operator: Operator, first: Token & { readonly text: string }): Value {
    let { text } = first;
    let { end } = first;
    for (
      let next = this.#token;
      next.kind === 'word' && continues(field, text, next.text);
      next = this.#token
    ) {
      text += next.text;
      end = next.end;
      this.#next++;
    }
    const fail = (what: string, expected: string | null) =>
      new FilterError(first.at, end - first.at, what, expected);
    const value = first.kind === 'word' ? numberValue(field, text) : null;
    if (value === null) throw fail(`${quoted(text)} is no value of ${field.id}.`, valueWords(field));
    if (value.kind !== 'range') return value;
    if (value.first > value.last) throw fail('This range ends before it begins.', null);
    if (operator === '==' || operator === '!=') return value;
    if (text.includes('..')) throw fail(`A range has no ${operator}.`, '== or != before it');
    // A rounded size has an order like any other: its own value.
    return { kind: 'number', number: Math.round((value.first + value.last) / 2) };
  }
}

const oneOf = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words[words.length - 1]}`;

function problem(
  token: Token,
  what: string,
  expected: string | null = null,
  suggestion: string | null = null,
): FilterError {
  return new FilterError(token.at, token.end - token.at, what, expected, suggestion);
}

function noField(token: Token & { readonly text: string }): FilterError {
  const word = token.text.toLowerCase();
  const other = Object.hasOwn(OTHER_WORDS, word) ? (OTHER_WORDS[word] ?? null) : null;
  const suggestion =
    other ??
    nearest(
      word,
      FIELDS.map(({ id }) => id),
    );
  const what = `There is no field ${quoted(token.text)}.`;
  return problem(token, what, suggestion === null ? 'a field such as zone, size or age' : null, suggestion);
}
