import { ParseError } from './parse-error.ts';

const U64_MAX = 2n ** 64n - 1n;

/** What every text parser needs: numbers that are exact or refused, and errors that say where. */
export class Format {
  constructor(
    /** What is parsed, e.g. `zoneinfo`. */
    readonly name: string,
  ) {}

  error(expected: string, text: string, line = 0): ParseError {
    return new ParseError(this.name, expected, text, line);
  }

  /**
   * The lines without their newlines. A text that does not end in a newline was cut short, perhaps inside a number,
   * and is refused. `\r` is no line end: the kernel prints none, and file names may hold one.
   */
  lines(text: string): string[] {
    if (text === '') return [];
    if (!text.endsWith('\n')) {
      const lines = text.split('\n');
      throw this.error('a newline at the end of the text', lines.at(-1) ?? '', lines.length);
    }
    const lines = text.split('\n');
    lines.pop();
    return lines;
  }

  /** A decimal number from 0 to 2^53 - 1. */
  count(text: string, what: string, line = 0): number {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw this.error(`${what}, a decimal number below 2^53`, text, line);
    return value;
  }

  /** A decimal number from 0 to 2^64 - 1, for counters that wrap and for limits. */
  u64(text: string, what: string, line = 0): bigint {
    const value = /^\d{1,20}$/.test(text) ? BigInt(text) : U64_MAX + 1n;
    if (value > U64_MAX) throw this.error(`${what}, a decimal number below 2^64`, text, line);
    return value;
  }

  /** A hexadecimal number without `0x`, from 0 to 2^64 - 1. */
  hex(text: string, what: string, line = 0): bigint {
    if (!/^[0-9a-f]{1,16}$/i.test(text))
      throw this.error(`${what}, a hexadecimal number below 2^64`, text, line);
    return BigInt(`0x${text}`);
  }

  /** A hexadecimal number without `0x`, from 0 to 2^53 - 1. */
  hexCount(text: string, what: string, line = 0): number {
    const value = this.hex(text, what, line);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.error(`${what}, below 2^53`, text, line);
    return Number(value);
  }

  /** `123 kB` as bytes; both the number of kB and of bytes are below 2^53. */
  kiloBytes(text: string, what: string, line = 0): number {
    const match = /^(\d{1,16}) kB$/.exec(text);
    const bytes = match ? Number(match[1]) * 1024 : Number.NaN;
    if (!Number.isSafeInteger(bytes)) throw this.error(`${what}, kB whose bytes are below 2^53`, text, line);
    return bytes;
  }

  /** The one decimal number of a sysfs or sysctl file; the final newline may have been trimmed. */
  single(text: string, what: string): number {
    return this.count(text.replace(/\n$/, ''), what);
  }
}

/**
 * Texts of files, by their path on the host: what a directory full of one-value files (sysfs) is parsed from.
 * A directory entry that is no file (a symlink such as `memory32/node0`) is there with any text.
 */
export type Files = ReadonlyMap<string, string>;
