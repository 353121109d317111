/** The two files of the precision table: what is expected, and the page that shows it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './host.ts';
import { type Expected, withPrecisionTable } from './precision.ts';

const expectedFile = () => join(projectRoot(), 'test/rig/precision.json');
const pageFile = () => join(projectRoot(), 'docs/HAZARDS.md');

export const readExpected = (): Expected => JSON.parse(readFileSync(expectedFile(), 'utf8')) as Expected;

/** Whether docs/HAZARDS.md shows this table. */
export function pageShows(expected: Expected): boolean {
  const text = readFileSync(pageFile(), 'utf8');
  return text === withPrecisionTable(text, expected);
}

/** Writes both files. */
export function writePrecision(expected: Expected): void {
  writeFileSync(expectedFile(), `${JSON.stringify(expected, null, 2)}\n`);
  writeFileSync(pageFile(), withPrecisionTable(readFileSync(pageFile(), 'utf8'), expected));
}
