import type { FromSampler, SamplerEvent } from '../../model/contract.ts';
import { encodeMessage } from '../../model/wire.ts';

/** A WebSocket, as far as it is used here. */
export interface Carrier {
  /** Bytes that were sent and that the kernel has not taken. */
  readonly bufferedAmount: number;
  /** @param done called when the kernel has taken them, or never will */
  send(data: ArrayBuffer, done: () => void): void;
}

/** So much may be on its way when news is added. */
export const BUSY_BYTES = 1024 * 1024;
/** So much may be owed to a page that asks and does not read; what is owed beyond is the end of it. */
export const OWED_BYTES = 4 * 1024 * 1024;

/** Of these only the newest is worth something; all others are sent in any case. */
const NEWS: ReadonlySet<SamplerEvent['type']> = new Set(['sample', 'processes', 'progress']);

/**
 * What goes to one page, at the pace that it reads: while more than {@link BUSY_BYTES} are under way, the newest of each kind of news
 * waits, not yet encoded, and the one before is left out. Samples left out are counted in the timing of the next.
 */
export class Outbox {
  private readonly waiting = new Map<SamplerEvent['type'], FromSampler>();
  private owed = 0;
  private left = 0;

  /** @param giveUp the page does not read what it asked for: called once more than {@link OWED_BYTES} wait */
  constructor(
    private readonly carrier: Carrier,
    private readonly giveUp: () => void,
  ) {}

  /** Samples that were left out until now. */
  get skipped(): number {
    return this.left;
  }

  send(message: FromSampler): void {
    const news = message.kind === 'event' && NEWS.has(message.event.type) ? message.event.type : null;
    if (news === null) {
      this.write(message, true);
    } else if (this.carrier.bufferedAmount <= BUSY_BYTES) {
      // One of the same kind that still waits is older.
      this.leaveOut(news);
      this.write(message, false);
    } else {
      this.leaveOut(news);
      this.waiting.set(news, message);
    }
  }

  private leaveOut(news: SamplerEvent['type']): void {
    if (this.waiting.delete(news) && news === 'sample') this.left++;
  }

  private write(message: FromSampler, owed: boolean): void {
    const bytes = encodeMessage(this.withSkipped(message));
    const counted = owed ? bytes.byteLength : 0;
    this.owed += counted;
    if (this.owed > OWED_BYTES) {
      this.giveUp();
      return;
    }
    this.carrier.send(bytes, () => {
      this.owed -= counted;
      this.drain();
    });
  }

  private drain(): void {
    for (const [news, message] of this.waiting) {
      if (this.carrier.bufferedAmount > BUSY_BYTES) return;
      this.waiting.delete(news);
      this.write(message, false);
    }
  }

  private withSkipped(message: FromSampler): FromSampler {
    if (this.left === 0 || message.kind !== 'event' || message.event.type !== 'sample') return message;
    const { event } = message;
    const timing = event.timing && { ...event.timing, skipped: event.timing.skipped + this.left };
    return { kind: 'event', event: { ...event, timing } };
  }
}
