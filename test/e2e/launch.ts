import { _electron, type ElectronApplication, errors, type Page } from 'playwright-core';
import { onTestFinished } from 'vitest';
import { QUIET } from '../window-switches.ts';
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

const ATTEMPTS = 6;

interface AttachOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Record<string, string>;
  /** How long one attempt may take, milliseconds. */
  readonly patienceMs: number;
}

/**
 * Starts the program under Playwright. It waits for the first page's Page.frameNavigated, which Chromium 108 loses when the page
 * changes its process just while Playwright attaches (its own loader, which would hold the program back, cannot go into a
 * packaged one). Then it ends the program after `patienceMs`, and we begin again. A program that does not start at all fails
 * each time.
 */
async function attachWindow({ program, args, env, patienceMs }: AttachOptions): Promise<ElectronApplication> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await _electron.launch({
        executablePath: program,
        // Its default is --no-sandbox, and then this would be another program than the user's.
        chromiumSandbox: true,
        args: [...QUIET, ...args],
        env,
        timeout: patienceMs,
      });
    } catch (error) {
      if (!(error instanceof errors.TimeoutError) || attempt === ATTEMPTS) throw error;
      process.stderr.write(`Playwright did not attach within ${patienceMs / 1000} s; once more\n`);
    }
  }
}

/** Starts the window and waits for its first page. It ends with the running test, if that has not closed it. */
export async function launch({ args = [], env = {} }: LaunchOptions = {}): Promise<Launched> {
  const app = await attachWindow({
    program: DRIVABLE,
    args,
    env: environment(env),
    patienceMs: 15_000,
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
