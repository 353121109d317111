import { cpuMs } from '../cpu-time.ts';
import type { Times } from './result.ts';

/** Runs something in this process and says what it took. */
export async function timed(work: () => Promise<unknown>): Promise<Times> {
  const cpu = cpuMs();
  const clock = performance.now();
  await work();
  return { clock: performance.now() - clock, cpu: cpuMs() - cpu };
}
