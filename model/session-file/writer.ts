import { type Sample, toSnapshot } from '../run-columns.ts';
import { crc32 } from './crc32.ts';
import { difference } from './delta.ts';
import { frameHead, frameTail } from './frame.ts';
import {
  LineMaker,
  SESSION_SCHEMA,
  type SessionEvent,
  type SessionHeader,
  type SessionLine,
} from './line.ts';

/** A raw deflate stream (RFC 1951) of one frame. */
export interface Deflater {
  /** What the text (a character a byte) adds, flushed so that all of it can be inflated (Z_SYNC_FLUSH). */
  add(text: string): Promise<Uint8Array>;
  /** The end of the stream. */
  end(): Promise<Uint8Array>;
}

export interface SessionWriterOptions {
  readonly header: Omit<SessionHeader, 'schema'>;
  readonly deflater: () => Deflater;
  /** Takes the next bytes of the file. What one call brings is one sample or event, and to be written at once. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/** A frame ends when its changes are this many times its first sample in size: a third of the file is whole samples. */
const CHANGES_TO_WHOLE = 2;
/** Never sooner, and never later: what damage can take is bounded, and what is decoded to go to a sample. */
const FRAME_SAMPLES = { least: 60, most: 600 } as const;
/** A hole in time of so many periods begins a frame, so that heads alone show the holes. */
const HOLE_PERIODS = 5;

interface OpenFrame {
  readonly lines: LineMaker;
  readonly deflater: Deflater;
  readonly wholeBytes: number;
  changeBytes: number;
  samples: number;
  crc: number;
  length: number;
}

/**
 * Makes a session file, sample by sample. Calls must not overlap. After one that rejected (the disk is full) nothing more may be added:
 * what was written until then is a session whose last frame was cut.
 */
export class SessionWriter {
  private readonly header: SessionHeader;
  private frame: OpenFrame | null = null;
  private last: Sample | null = null;
  private lines = 0;
  /** Events that came before a sample that could carry them: a frame begins with a sample. */
  private waiting: SessionEvent[] = [];
  private count = 0;
  private written = 0;

  constructor(private readonly options: SessionWriterOptions) {
    this.header = { schema: SESSION_SCHEMA, ...options.header };
  }

  /** Samples written. */
  get samples(): number {
    return this.count;
  }
  /** Bytes written. */
  get bytes(): number {
    return this.written;
  }

  async add(sample: Sample): Promise<void> {
    const { last, frame } = this;
    if (frame === null || last === null || isFull(frame) || this.isHole(last, sample)) {
      await this.begin(sample);
    } else {
      const operations = difference(last, sample);
      const before = this.written;
      await this.put(frame, [{ kind: 'delta', value: operations }]);
      frame.changeBytes += this.written - before;
      frame.samples++;
    }
    this.last = sample;
    this.count++;
  }

  async event(event: SessionEvent): Promise<void> {
    if (this.frame === null) this.waiting.push(event);
    else await this.put(this.frame, [{ kind: 'event', value: event }]);
  }

  /** Ends the last frame. The file is complete also without it, but for the frame's own checksum. */
  async end(): Promise<void> {
    if (this.frame === null) return;
    const bytes = await this.ended(this.frame);
    this.frame = null;
    await this.write(bytes);
  }

  private isHole(last: Sample, sample: Sample): boolean {
    return Date.parse(sample.takenAt) - Date.parse(last.takenAt) > HOLE_PERIODS * this.header.periodMs;
  }

  private async begin(sample: Sample): Promise<void> {
    const before = this.frame === null ? new Uint8Array(0) : await this.ended(this.frame);
    const head = frameHead({
      sample: this.count,
      line: this.lines,
      time: Date.parse(sample.takenAt),
      timeBefore: this.last === null ? null : Date.parse(this.last.takenAt),
    });
    const lines: SessionLine[] = [
      { kind: 'header', value: this.header },
      { kind: 'snapshot', value: toSnapshot(sample) },
      ...this.waiting.map(value => ({ kind: 'event', value }) as const),
    ];
    this.waiting = [];
    const made = new LineMaker();
    const text = lines.map(line => made.make(this.lines++, line)).join('');
    const deflater = this.options.deflater();
    const data = await deflater.add(text);
    this.frame = {
      lines: made,
      deflater,
      wholeBytes: data.length,
      changeBytes: 0,
      samples: 1,
      crc: crc32(text),
      length: text.length,
    };
    await this.write(joined([before, head, data]));
  }

  private async put(frame: OpenFrame, lines: readonly SessionLine[]): Promise<void> {
    const text = lines.map(line => frame.lines.make(this.lines++, line)).join('');
    frame.crc = crc32(text, frame.crc);
    frame.length += text.length;
    await this.write(await frame.deflater.add(text));
  }

  private async ended({ deflater, crc, length }: OpenFrame): Promise<Uint8Array> {
    return joined([await deflater.end(), frameTail(crc, length)]);
  }

  private async write(bytes: Uint8Array): Promise<void> {
    await this.options.write(bytes);
    this.written += bytes.length;
  }
}

const isFull = ({ samples, changeBytes, wholeBytes }: OpenFrame): boolean =>
  samples >= FRAME_SAMPLES.most ||
  (samples >= FRAME_SAMPLES.least && changeBytes >= CHANGES_TO_WHOLE * wholeBytes);

/** One array of several. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
