/** Tells on standard error how far a scan is, once it takes longer than half a second; silent before. */
export class Progress {
  private readonly started = performance.now();
  private shown = 0;

  constructor(private readonly stream: NodeJS.WriteStream) {}

  readonly update = ({ what, done, total }: { what: string; done: number; total: number }): void => {
    const now = performance.now();
    // A terminal line is rewritten; a log gets a line now and then.
    const pause = this.stream.isTTY ? 100 : 5000;
    if (now - this.started < 500 || (this.shown > 0 && now - this.shown < pause)) return;
    this.shown = now;
    const text = total > 0 ? `${what}: ${done} of ${total}` : what;
    this.stream.write(this.stream.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  };

  /** Clears the line. */
  end(): void {
    if (this.shown > 0 && this.stream.isTTY) this.stream.write('\r\x1b[K');
  }
}
