import type { Sample } from '../run-columns.ts';
import { type DecodedFrame, decodeFrame, type FrameEvent, type Inflate, SessionFileError } from './decode.ts';
import { type FoundFrame, findFrames } from './frame.ts';
import type { SessionHeader } from './line.ts';

/** Samples that are not there, where the numbers say that there were some. */
export interface Damage {
  /** Where in the file the frame begins in which it lies. */
  readonly offset: number;
  /** Number of the first sample that is missing. */
  readonly sample: number;
  /** How many are missing; `null`: at the end of the file, where nothing says how many there were. */
  readonly count: number | null;
  /** When the last whole sample before it was taken, ISO 8601; `null`: there is none in the frame. */
  readonly after: string | null;
  /** A sentence: what is wrong. */
  readonly detail: string;
}

/** A time without samples between two that follow one another, milliseconds since 1970. */
export interface Hole {
  readonly from: number;
  readonly to: number;
}

export type SessionEntry =
  | { readonly kind: 'sample'; readonly number: number; readonly sample: Sample }
  | { readonly kind: 'event'; readonly event: FrameEvent };

/** What is in a whole file. */
export interface Examination {
  readonly events: readonly FrameEvent[];
  readonly damage: readonly Damage[];
  /** Samples that are whole. */
  readonly whole: number;
  /** Lines of kinds that this program does not know. */
  readonly unknownLines: number;
  /** The last frame has its end: the writer closed the file. */
  readonly complete: boolean;
}

/** How many frames are kept decoded: stepping back and forth over a border reads none twice. */
const KEPT_FRAMES = 3;

/**
 * A session file that is open. Heads of frames are read at once, samples when they are asked for, a frame at a time. A file that is
 * damaged or cut gives what is whole, exactly, and says what is missing.
 */
export class SessionFile {
  private readonly decoded = new Map<FoundFrame, Promise<DecodedFrame>>();

  private constructor(
    private readonly bytes: Uint8Array,
    private readonly inflate: Inflate,
    private readonly frames: readonly FoundFrame[],
    readonly header: SessionHeader,
    /** Samples until the last whole one, missing ones among them counted. */
    readonly count: number,
    /** When the first frame begins, and when the last whole sample was taken, milliseconds since 1970. */
    readonly from: number,
    readonly to: number,
  ) {}

  /** @throws SessionFileError for bytes that are no session, a session of a newer program, or one without a whole sample */
  static async open(bytes: Uint8Array, inflate: Inflate): Promise<SessionFile> {
    const frames = inSequence(findFrames(bytes));
    const [first] = frames;
    if (first === undefined) {
      throw new SessionFileError('This is no session of Pinscope, or none of it is left: it has no frame.');
    }
    let ends: { header: SessionHeader; count: number; to: number } | null = null;
    for (let i = frames.length - 1; i >= 0 && ends === null; i--) {
      const frame = frames[i];
      if (frame === undefined) break;
      const { header, samples } = await decodeFrame(bytes, frame, inflate);
      const last = samples.at(-1);
      if (header !== null && last !== undefined) {
        ends = { header, count: frame.sample + samples.length, to: Date.parse(last.takenAt) };
      }
    }
    if (ends === null) throw new SessionFileError('This session is damaged: no sample of it is whole.');
    return new SessionFile(bytes, inflate, frames, ends.header, ends.count, first.time, ends.to);
  }

  /** Bytes of the file. */
  get size(): number {
    return this.bytes.length;
  }

  /** Sample `n`; `null` where it is missing or damaged. Throws a RangeError for a number that the session does not have. */
  async sample(n: number): Promise<Sample | null> {
    if (!(Number.isInteger(n) && n >= 0 && n < this.count))
      throw new RangeError(`no sample ${n} of ${this.count}`);
    const frame = this.frames[this.frameIndex(n)];
    if (frame === undefined) return null;
    return (await this.decode(frame)).samples[n - frame.sample] ?? null;
  }

  /** The whole sample nearest to `n`: itself, else the next in the direction of `step`, else in the other. */
  async whole(n: number, step: 1 | -1): Promise<number> {
    const wanted = Math.min(this.count - 1, Math.max(0, n));
    for (const direction of [step, -step]) {
      for (let i = Math.max(0, this.frameIndex(wanted)); ; i += direction) {
        const frame = this.frames[i];
        if (frame === undefined) break;
        const end = frame.sample + (await this.decode(frame)).samples.length;
        const found = direction > 0 ? Math.max(wanted, frame.sample) : Math.min(wanted, end - 1);
        if (found >= frame.sample && found < end) return found;
      }
    }
    return wanted;
  }

  /** Number of the last whole sample taken at `time` or before, milliseconds since 1970; of the first where there is none. */
  async numberAt(time: number): Promise<number> {
    let at = this.frames.findIndex(frame => frame.time > time);
    at = (at < 0 ? this.frames.length : at) - 1;
    for (; at >= 0; at--) {
      const frame = this.frames[at];
      if (frame === undefined) break;
      const { samples } = await this.decode(frame);
      const after = samples.findIndex(({ takenAt }) => Date.parse(takenAt) > time);
      const found = (after < 0 ? samples.length : after) - 1;
      if (found >= 0) return frame.sample + found;
    }
    return this.frames[0]?.sample ?? 0;
  }

  /**
   * Times without samples that the heads of frames tell: pauses, and what is missing between frames. Shorter ones are events, or times of
   * samples that are further apart than the period.
   */
  holes(): Hole[] {
    const least = 2.5 * this.header.periodMs;
    return this.frames.flatMap(({ time, timeBefore }) =>
      timeBefore !== null && time - timeBefore > least ? [{ from: timeBefore, to: time }] : [],
    );
  }

  /** Every whole sample with its number and every event, in order, frame by frame: only one frame of samples is in memory. */
  async *entries(): AsyncGenerator<SessionEntry> {
    for (const frame of this.frames) {
      const { samples, events } = await decodeFrame(this.bytes, frame, this.inflate);
      let next = 0;
      for (let i = 0; i <= samples.length; i++) {
        const number = frame.sample + i;
        for (
          let event = events[next];
          event !== undefined && event.before <= number;
          event = events[++next]
        ) {
          yield { kind: 'event', event };
        }
        const sample = samples[i];
        if (sample !== undefined) yield { kind: 'sample', number, sample };
      }
    }
  }

  /** Reads the whole file. @param onSample told of every whole sample on the way, in order */
  async examine(onSample: (number: number, sample: Sample) => void = () => {}): Promise<Examination> {
    const events: FrameEvent[] = [];
    const damage: Damage[] = [];
    let whole = 0;
    let unknownLines = 0;
    let complete = true;
    const [first] = this.frames;
    if (first !== undefined && (first.sample > 0 || first.offset > 0)) {
      const detail = 'the beginning of the file is missing or damaged';
      damage.push({ offset: 0, sample: 0, count: first.sample, after: null, detail });
    }
    for (const [i, frame] of this.frames.entries()) {
      const decoded = await decodeFrame(this.bytes, frame, this.inflate);
      const { samples, trouble } = decoded;
      events.push(...decoded.events);
      whole += samples.length;
      unknownLines += decoded.unknownLines;
      complete = decoded.ended;
      for (const [j, each] of samples.entries()) onSample(frame.sample + j, each);
      const sample = frame.sample + samples.length;
      const next = this.frames[i + 1];
      const count = next === undefined ? null : next.sample - sample;
      if (trouble === null && (count === 0 || count === null)) continue;
      const detail = trouble ?? 'the frames after it are missing or their heads are damaged';
      damage.push({ offset: frame.offset, sample, count, after: samples.at(-1)?.takenAt ?? null, detail });
    }
    return { events, damage, whole, unknownLines, complete };
  }

  /** Why sample `n` is not there; `null` where it is. */
  async whyMissing(n: number): Promise<string | null> {
    const frame = this.frames[this.frameIndex(n)];
    if (frame === undefined) return 'the beginning of the file is missing or damaged';
    const { samples, trouble } = await this.decode(frame);
    if (n - frame.sample < samples.length) return null;
    return `in the frame at byte ${frame.offset}, ${trouble ?? 'which ends before it'}`;
  }

  private frameIndex(n: number): number {
    const after = this.frames.findIndex(frame => frame.sample > n);
    return (after < 0 ? this.frames.length : after) - 1;
  }

  private decode(frame: FoundFrame): Promise<DecodedFrame> {
    const known = this.decoded.get(frame);
    const reading = known ?? decodeFrame(this.bytes, frame, this.inflate);
    // The most recently used is the last.
    this.decoded.delete(frame);
    this.decoded.set(frame, reading);
    for (const [oldest] of this.decoded) {
      if (this.decoded.size <= KEPT_FRAMES) break;
      this.decoded.delete(oldest);
    }
    return reading;
  }
}

/** Frames whose numbers grow. Others were copied here from elsewhere in the file, or from another. */
function inSequence(frames: readonly FoundFrame[]): FoundFrame[] {
  const kept: FoundFrame[] = [];
  for (const frame of frames) {
    const last = kept.at(-1);
    if (last === undefined || (frame.sample > last.sample && frame.line > last.line)) kept.push(frame);
  }
  return kept;
}
