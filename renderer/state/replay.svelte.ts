import type { Sample } from '../../model/run-columns.ts';
import { exportRedacted } from '../../model/session-file/export.ts';
import type { Damage, SessionFile } from '../../model/session-file/reader.ts';
import { type Severity, worstOf } from '../text/findings.ts';
import { deflater } from '../transport/inflate.ts';
import type { Playback, ReplayTransport } from '../transport/replay.ts';

/** A stretch of the recording in which there are samples, all with the same worst finding. Milliseconds since 1970. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly worst: Severity | null;
}

export const SPEEDS = [1, 4, 16, 64] as const;
/** Stretches shorter than this part of the whole are drawn with their neighbours, the worse of both. */
const FINEST = 1 / 1000;

/** The session that is shown: where it is, and what is known of all of it. */
export class Replay {
  #playback = $state.raw<Playback>({ number: null, time: 0, playing: false, speed: 1 });
  #stretches = $state.raw<readonly Stretch[]>([]);
  #damage = $state.raw<readonly Damage[]>([]);
  #error = $state.raw<string | null>(null);
  #closed = false;
  readonly transport: ReplayTransport;
  readonly #onSample: (sample: Sample) => void;

  /** @param onSample told of every sample of the file, in order, as it is read once */
  constructor(transport: ReplayTransport, onSample: (sample: Sample) => void = () => {}) {
    this.transport = transport;
    this.#onSample = onSample;
    this.#playback = transport.playback;
    this.#stretches = fromHeads(this.file);
    transport.onMove(playback => {
      this.#playback = playback;
    });
    void this.#examine();
  }

  get file(): SessionFile {
    return this.transport.file;
  }
  /** Name of the file; `null`: the example that comes with the program. */
  get name(): string | null {
    return this.transport.name;
  }
  /** Number of the shown sample, from 0. */
  get number(): number {
    return this.#playback.number ?? 0;
  }
  /** When it was taken, milliseconds since 1970. */
  get time(): number {
    return this.#playback.time;
  }
  get playing(): boolean {
    return this.#playback.playing;
  }
  get speed(): number {
    return this.#playback.speed;
  }
  /** What the scrubber draws: from the heads of frames at first, then from every sample. */
  get stretches(): readonly Stretch[] {
    return this.#stretches;
  }
  get damage(): readonly Damage[] {
    return this.#damage;
  }
  /** Why the last move failed; `null` where it did not. */
  get error(): string | null {
    return this.#error;
  }

  toggle(): void {
    if (this.playing) this.transport.pause();
    else this.transport.play();
  }

  /** By one sample, forward or back; it pauses, as one looks closely then. */
  step(by: 1 | -1): void {
    this.transport.pause();
    this.seek(this.number + by, by);
  }

  seek(n: number, step: 1 | -1 = 1): void {
    this.#moving(this.transport.seek(n, step));
  }

  seekTime(time: number): void {
    this.#moving(this.transport.seekTime(time));
  }

  /** The other speed, the first after the last. */
  nextSpeed(): void {
    this.transport.setSpeed(SPEEDS.find(speed => speed > this.speed) ?? SPEEDS[0]);
  }

  /** Hands the user a copy without names and paths, as a download. */
  async saveRedacted(): Promise<void> {
    this.#error = null;
    try {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      await exportRedacted(this.file, deflater, async bytes => {
        parts.push(new Uint8Array(bytes));
      });
      const url = URL.createObjectURL(new Blob(parts, { type: 'application/octet-stream' }));
      const link = document.createElement('a');
      link.href = url;
      // A name of the file may be a name of the guest.
      link.download = 'redacted.pinscope';
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      this.#error = `The copy could not be made: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  close(): void {
    this.#closed = true;
    this.transport.close();
  }

  #moving(move: Promise<void>): void {
    this.#error = null;
    move.catch((error: unknown) => {
      this.#error = error instanceof Error ? error.message : String(error);
    });
  }

  /** Reads the whole file once, frame by frame, beside whatever the user does. */
  async #examine(): Promise<void> {
    try {
      const stretches = new Stretches(this.file);
      const { damage } = await this.file.examine((_number, sample) => {
        if (this.#closed) throw new Closed();
        stretches.add(Date.parse(sample.takenAt), worstOf(sample.findings));
        this.#onSample(sample);
      });
      this.#damage = damage;
      this.#stretches = stretches.all;
    } catch (error) {
      if (error instanceof Closed) return;
      this.#error = error instanceof Error ? error.message : String(error);
    }
  }
}

/** Another session was opened: what is left of this one is not read. */
class Closed extends Error {}

function fromHeads(file: SessionFile): Stretch[] {
  const stretches: Stretch[] = [];
  let from = file.from;
  for (const hole of file.holes()) {
    stretches.push({ from, to: hole.from, worst: null });
    from = hole.to;
  }
  return [...stretches, { from, to: file.to, worst: null }];
}

const RANK = { error: 3, warning: 2, info: 1 } as const;
const worse = (a: Stretch['worst'], b: Stretch['worst']) =>
  (a === null ? 0 : RANK[a]) >= (b === null ? 0 : RANK[b]) ? a : b;

/** Joins samples to stretches as they come. */
class Stretches {
  readonly all: Stretch[] = [];
  readonly #gap: number;
  readonly #finest: number;

  constructor({ header, from, to }: SessionFile) {
    this.#gap = 2.5 * header.periodMs;
    this.#finest = (to - from) * FINEST;
  }

  add(time: number, worst: Stretch['worst']): void {
    const last = this.all.at(-1);
    if (last === undefined || time - last.to > Math.max(this.#gap, this.#finest)) {
      this.all.push({ from: time, to: time, worst });
    } else if (last.worst === worst || time - last.from < this.#finest) {
      this.all[this.all.length - 1] = { from: last.from, to: time, worst: worse(last.worst, worst) };
    } else {
      this.all.push({ from: last.to, to: time, worst });
    }
  }
}
