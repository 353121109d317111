import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { CaseContext } from '../case.ts';

/**
 * Starts `pinscope serve` and waits for its address; it ends with the case.
 * @param before words before the program (`setpriv …`)
 */
export async function startServe(
  t: CaseContext,
  args: readonly string[],
  before: readonly string[] = [],
): Promise<{ readonly url: string; readonly child: ChildProcess }> {
  const [program = '', ...words] = [
    ...before,
    process.execPath,
    `${t.root}/dist/cli/pinscope.js`,
    'serve',
    ...args,
  ];
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.atEnd(async () => void child.kill('SIGKILL'));
  const [data] = (await once(child.stdout, 'data')) as [Buffer];
  return { url: data.toString().trim(), child };
}
