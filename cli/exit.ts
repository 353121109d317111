/** Exit codes, as `pinscope --help` prints them. Scripts depend on them. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  noProcess: 3,
  raced: 4,
  noRights: 5,
} as const;

export const EXIT_HELP = `
Exit status:
  0  shown, or done
  1  something else failed; the message says what
  2  wrong usage
  3  no such process or dma-buf, or the name fits none or several
  4  the process ended, or its pid went to another, while it was read
  5  rights were refused, or the broker that gives them is not installed
`;

/** An end that the user is told about in one sentence. It may hold any characters: they are escaped when it is printed. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly code: number,
    /** Lines below the sentence that show where; printable. */
    readonly below: readonly string[] = [],
  ) {
    super(message);
  }
}

/** Of `pinscope doctor`, whose answer is its code: nothing but a finding gives 1 or 2. */
export const DOCTOR_EXIT = { nothing: 0, warnings: 1, errors: 2, notChecked: 3 } as const;

export const DOCTOR_EXIT_HELP = `
Exit status, unlike that of the other commands:
  0  every rule was checked and none fired, but for information
  1  a warning, whether or not the other rules could be checked
  2  an error, likewise
  3  neither, but some rule could not be checked; or nothing could: wrong usage, no such process,
     it ended, rights were refused; the message says what
Without --since, a rule that needs earlier samples is listed as not checked and makes no 3, unless
--rule names it.
`;
