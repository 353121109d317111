import type { ElectronApplication, Page } from 'playwright-core';
import { onTestFinished } from 'vitest';
import { attachWindow } from '../attach-window.ts';
import { DRIVABLE, environment } from './programs.ts';

export interface Launched {
  /** Main process: `app.evaluate(({ app }) => …)`. */
  readonly app: ElectronApplication;
  /** The first window's page. */
  readonly page: Page;
  /** What the program wrote to standard error so far. */
  stderr(): string;
}

export interface LaunchOptions {
  /** Words of the command line, e.g. `--pid`, `123`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the window and waits for its first page. It ends with the running test, if that has not closed it. */
export async function launch({ args = [], env = {} }: LaunchOptions = {}): Promise<Launched> {
  const app = await attachWindow({
    program: DRIVABLE,
    args,
    env: environment(env),
    patienceMs: 20_000,
  });
  onTestFinished(() => app.close());
  let stderr = '';
  app.process().stderr?.on('data', data => {
    stderr += data;
  });
  const page = await app.firstWindow();
  await page.waitForLoadState('domcontentloaded');
  return { app, page, stderr: () => stderr };
}
