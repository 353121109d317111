import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type BrowserContext, chromium } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';
import { eventually } from '../eventually.ts';
import { CHROMIUM } from '../window-switches.ts';
import { environment, TERMINAL, temporary } from './programs.ts';

export interface Served {
  /** What it printed to open. */
  readonly url: string;
  readonly port: number;
  stderr(): string;
  /** Ends it as Ctrl-C does. */
  stop(): Promise<void>;
}

/** Starts `pinscope serve`; it ends with the running test. */
export async function serve(...args: readonly string[]): Promise<Served> {
  const child = spawn(process.execPath, [TERMINAL, 'serve', ...args], { env: environment() });
  const ended = once(child, 'exit');
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', data => {
    stdout += data;
  });
  child.stderr.on('data', data => {
    stderr += data;
  });
  const stop = async () => {
    child.kill('SIGINT');
    await ended;
  };
  onTestFinished(stop);
  await eventually(() => expect(stderr).toContain('Ctrl-C'));
  const url = stdout.trim();
  return { url, port: Number(new URL(url).port), stderr: () => stderr, stop };
}

/** Debian's Chromium with a profile of its own; it ends with the running test. */
export async function browse(): Promise<BrowserContext> {
  const context = await chromium.launchPersistentContext(temporary(), {
    executablePath: CHROMIUM,
    // Its default is none, and then this would be another browser than the user's.
    chromiumSandbox: true,
    headless: true,
    viewport: { width: 1280, height: 800 },
    env: environment(),
  });
  onTestFinished(() => context.close());
  return context;
}

/** A QEMU of this user that does nothing, and has no buffer; it ends with the running test. */
export async function idleQemu(name: string): Promise<number> {
  const qemu = spawn('qemu-system-x86_64', ['-name', name, '-machine', 'none', '-display', 'none', '-S'], {
    stdio: 'ignore',
  });
  const ended = once(qemu, 'exit');
  onTestFinished(async () => {
    qemu.kill();
    await ended;
  });
  await once(qemu, 'spawn');
  return qemu.pid ?? -1;
}
