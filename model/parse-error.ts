/**
 * A text that we claim to understand does not have its format. Lines that a parser does not know are no error:
 * newer kernels add lines; a known line with a wrong shape is one, because a guess would become a wrong number.
 */
export class ParseError extends Error {
  override readonly name = 'ParseError';
  constructor(
    /** What was parsed, e.g. `zoneinfo`. */
    readonly format: string,
    /** What was expected, in words. */
    readonly expected: string,
    /** The offending text, shortened. */
    readonly text: string,
    /** 1-based line, or 0 where lines mean nothing. */
    readonly line: number,
  ) {
    super(
      `${format}${line > 0 ? ` line ${line}` : ''}: expected ${expected}, found ${JSON.stringify(text.slice(0, 120))}`,
    );
  }
}
