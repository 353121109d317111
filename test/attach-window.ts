import { _electron, type ElectronApplication, errors } from 'playwright-core';

/** For a machine without GPU, and without words to the network. */
const QUIET = ['--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'];

const ATTEMPTS = 4;

export interface AttachOptions {
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
export async function attachWindow({
  program,
  args,
  env,
  patienceMs,
}: AttachOptions): Promise<ElectronApplication> {
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
