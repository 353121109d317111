import { basename, dirname, relative, resolve } from 'node:path';
import { findingsAs } from '../model/hazards/recheck.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { printable } from '../model/text.ts';

/** How this program was called, in a form that works from here: from a checkout it is on nobody's PATH. */
export function ownName(): string {
  const file = process.argv[1] ?? 'pinscope';
  return basename(file) === 'pinscope' ? 'pinscope' : `node ${printable(relative(process.cwd(), file))}`;
}

/** Where sudo looks for programs unless its `secure_path` was changed. */
const SUDO_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** A word of a shell line. */
const word = (text: string): string =>
  /^[\w./+:@%-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
const command = (path: string): string => (SUDO_PATH.includes(dirname(path)) ? basename(path) : word(path));

/**
 * How this program can be called from any folder, by sudo too.
 * @param file the program, as Node was given it
 * @param node the Node that runs it
 */
export function programFrom(file: string, node: string): string {
  const path = resolve(file);
  // A link or a start script, as npm and packages make it, runs by itself.
  return basename(path) === 'pinscope' ? command(path) : `${command(node)} ${word(path)}`;
}

export const programHere = (): string => programFrom(process.argv[1] ?? 'pinscope', process.execPath);

/** A snapshot whose evidence has shell lines that work here. */
export const asCalled = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  findings: findingsAs(snapshot.findings, programHere()),
});
