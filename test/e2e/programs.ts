import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { eventually } from '../eventually.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string };
const arch = process.arch === 'x64' ? 'x86_64' : process.arch;

/** The program as users get it: a launcher. */
export const HARDENED = join(checkout, 'dist/linux-unpacked/pinscope');
/** The same with the inspect fuse on, so that Playwright can drive it. */
export const DRIVABLE = join(checkout, 'dist/e2e-unpacked/pinscope');
/** The binary that a launcher starts. */
export const binaryOf = (program: string): string => `${program}-window`;
/** The terminal program. */
export const TERMINAL = join(checkout, 'dist/cli/pinscope.js');
export const APPIMAGE = join(checkout, `dist/pinscope-${version}-${arch}.AppImage`);

/** A folder that is gone after the running test. */
export function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pinscope-e2e-'));
  // Processes that are ending still write there.
  // A process that is ending may still write into it.
  onTestFinished(() => eventually(() => rmSync(folder, { recursive: true, force: true })));
  return folder;
}

/**
 * What a start sees: this user's session, with settings and data of its own, so that no test meets another's or the user's
 * own, nor their single-instance lock.
 */
export function environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const home = temporary();
  const kept = ['PATH', 'HOME', 'USER', 'LANG', 'DISPLAY', 'XDG_RUNTIME_DIR', 'XDG_CACHE_HOME'];
  const session = kept.flatMap(name => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const own = ['CONFIG', 'DATA', 'STATE'].map(
    name => [`XDG_${name}_HOME`, join(home, name.toLowerCase())] as const,
  );
  for (const [, folder] of own) mkdirSync(folder);
  return { ...Object.fromEntries([...session, ...own]), ...more };
}

/**
 * Pids of processes whose command line has this text: by /proc/PID/cmdline, which also sandboxed processes show, unlike their
 * executable. Own process excluded.
 */
export function processesOf(text: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}
