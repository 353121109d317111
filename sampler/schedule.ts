import type { SampleTiming } from '../model/contract.ts';

/** When the next sample is due is counted from here: CLOCK_MONOTONIC, milliseconds. */
const now = () => performance.now();

/**
 * Takes samples at a fixed period, one at a time. A sample that takes longer than the period makes the times that it missed
 * be left out and counted; nothing is queued, so a slow host is sampled less often and never late.
 */
export class Schedule {
  private timer: NodeJS.Timeout | undefined;
  private due = 0;
  private taken = 0;
  private skipped = 0;
  private running = false;
  private stopped = true;

  /**
   * @param take one sample; told what to call with its timing before its result is shown. Must not reject.
   */
  constructor(
    private readonly periodMs: number,
    private readonly take: (timing: () => SampleTiming) => Promise<void>,
  ) {}

  /** The first sample is due at once. Does nothing while it runs. */
  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.due = now();
    if (!this.running) this.wait();
  }

  /** No sample begins after this; one that is under way ends. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private wait(): void {
    this.timer = setTimeout(() => void this.run(), Math.max(0, this.due - now()));
  }

  private async run(): Promise<void> {
    this.running = true;
    const { due } = this;
    const started = now();
    const cpu = process.cpuUsage();
    this.taken++;
    await this.take(() => {
      const { user, system } = process.cpuUsage(cpu);
      return {
        wallMs: now() - started,
        cpuMs: (user + system) / 1000,
        taken: this.taken,
        skipped: this.skipped,
        rssBytes: process.memoryUsage.rss(),
      };
    });
    this.running = false;
    if (this.stopped) return;
    // Else it was started again meanwhile, and is due from then on.
    if (this.due === due) this.due += this.periodMs;
    const missed = Math.ceil((now() - this.due) / this.periodMs);
    if (missed > 0) {
      this.skipped += missed;
      this.due += missed * this.periodMs;
    }
    this.wait();
  }
}
