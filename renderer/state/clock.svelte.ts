/** The time that ages on screen are told by: it moves twice a second, so that nothing else needs a timer. */
export class Clock {
  /** `performance.now()` of the last tick, milliseconds. */
  now = $state(performance.now());
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Returns what stops it. */
  start(): () => void {
    this.#timer = setInterval(() => this.tick(), 500);
    return () => clearInterval(this.#timer);
  }

  tick(): void {
    this.now = performance.now();
  }
}
