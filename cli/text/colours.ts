import pc from 'picocolors';

type Paint = (text: string) => string;
export interface Colours {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly good: Paint;
  readonly bad: Paint;
  readonly warn: Paint;
}

/** Colour only on a terminal, and not where NO_COLOR is set (https://no-color.org) or the terminal is dumb. */
export function coloursFor(stream: { isTTY?: boolean }): Colours {
  const wanted = stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  const { bold, dim, green, red, yellow } = pc.createColors(wanted);
  return { bold, dim, good: green, bad: red, warn: yellow };
}

/** Those of standard output. */
export const colours: Colours = coloursFor(process.stdout);
