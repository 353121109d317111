/**
 * For `describe.skipIf(lacks('root', isRoot))`: true, and a line that says so, when `what` is missing here. With
 * PINSCOPE_NO_SKIP=1 it throws instead, so that a machine meant to run everything cannot quietly run less.
 */
export function lacks(what: string, present: boolean): boolean {
  if (present) return false;
  if (process.env.PINSCOPE_NO_SKIP === '1') throw new Error(`needed and missing: ${what}`);
  process.stderr.write(`skipped, as this is missing: ${what}\n`);
  return true;
}

export const isRoot = process.getuid?.() === 0;
