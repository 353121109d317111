import { ParseError } from '../parse-error.ts';

/** Reads members of a JSON value with a type each, so that a wrong one is a ParseError and not a wrong number. */
export class JsonReader {
  constructor(
    readonly format: string,
    readonly value: unknown,
    readonly path: string = '',
  ) {}

  fail(expected: string): ParseError {
    const found = typeof this.value === 'object' ? (JSON.stringify(this.value) ?? '') : String(this.value);
    return new ParseError(
      this.format,
      `${expected}${this.path ? ` as ${this.path}` : ''}`,
      found.slice(0, 200),
      0,
    );
  }
  /** The member, or a reader of `undefined`. */
  get(key: string): JsonReader {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) {
      throw this.fail('an object');
    }
    const inner: unknown = Object.hasOwn(this.value, key) ? Reflect.get(this.value, key) : undefined;
    return new JsonReader(this.format, inner, this.path ? `${this.path}.${key}` : key);
  }
  items(): JsonReader[] {
    if (!Array.isArray(this.value)) throw this.fail('a list');
    return this.value.map((inner, index) => new JsonReader(this.format, inner, `${this.path}[${index}]`));
  }
  string(): string {
    if (typeof this.value !== 'string') throw this.fail('a string');
    return this.value;
  }
  boolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.fail('true or false');
    return this.value;
  }
  /** A number that is exact: whole, not negative, below 2^53. */
  size(): number {
    if (typeof this.value !== 'number' || !Number.isSafeInteger(this.value) || this.value < 0) {
      throw this.fail('a whole number below 2^53');
    }
    return this.value;
  }
  /** `read` of a member that older versions do not have, or that is optional. */
  optional<T>(read: (reader: JsonReader) => T): T | null {
    return this.value === undefined ? null : read(this);
  }
}
