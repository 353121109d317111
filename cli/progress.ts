import type { SampleProgress } from '../sampler/sampler.ts';

/** Tells on standard error how far a scan is, once it takes longer than half a second; silent before. */
export class Progress {
  private readonly started = performance.now();
  private shown: number | undefined;

  constructor(private readonly stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>) {}

  readonly update = ({ what, done, total }: SampleProgress): void => {
    const now = performance.now();
    // A terminal line is rewritten; a log gets a line now and then.
    const pause = this.stream.isTTY ? 100 : 5000;
    if (now - this.started < 500 || (this.shown !== undefined && now - this.shown < pause)) return;
    this.shown = now;
    const text = total > 0 ? `${what}: ${done} of ${total}` : what;
    this.stream.write(this.stream.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  };

  /** Clears the line; the next scan counts anew only with a new Progress. */
  end(): void {
    if (this.shown !== undefined && this.stream.isTTY) this.stream.write('\r\x1b[K');
    this.shown = undefined;
  }
}
