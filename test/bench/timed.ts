import type { Times } from './result.ts';

/** Runs something in this process and says what it took. */
export async function timed(work: () => Promise<unknown>): Promise<Times> {
  const cpu = process.cpuUsage();
  const clock = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { clock: performance.now() - clock, cpu: (user + system) / 1000 };
}
