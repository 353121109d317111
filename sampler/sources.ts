import type { Reading } from '../model/reading.ts';
import type { SourceState } from '../model/snapshot.ts';

/** What was read for one snapshot, how that went and what it cost. The same name twice: the later state, both costs. */
export class SourceLog {
  private readonly rows = new Map<string, SourceState>();

  of<T>(name: string, read: () => Reading<T>): Reading<T> {
    const started = performance.now();
    const reading = read();
    this.note(name, reading, performance.now() - started);
    return reading;
  }

  async ofAsync<T>(name: string, read: () => Promise<Reading<T>>): Promise<Reading<T>> {
    const started = performance.now();
    const reading = await read();
    this.note(name, reading, performance.now() - started);
    return reading;
  }

  /** @param detail of an `ok` reading; other states bring their own */
  note(name: string, reading: Reading<unknown>, costMs: number, detail = reading.source): void {
    const before = this.rows.get(name)?.costMs ?? 0;
    this.rows.set(name, {
      name,
      state: reading.state,
      detail: reading.state === 'ok' ? detail : `${reading.source}: ${reading.detail}`,
      ...(reading.state === 'denied' ? { grant: reading.grant } : {}),
      costMs: Math.round((before + costMs) * 100) / 100,
    });
  }

  list(): SourceState[] {
    return [...this.rows.values()];
  }
}
