import { mayBeUdmabuf, type Unjudged } from './rule.ts';
import { isIdle } from './use.ts';

/** What one sample leaves for the rules of later ones. */
export interface PastPoint {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** udmabufs, and buffers whose exporter nobody told. */
  readonly buffers: number;
  /** Bytes of those whose size is known. */
  readonly bytes: number;
}

/** What is remembered of a live buffer. */
export interface PastBuffer {
  /** When it was first and last seen, milliseconds since 1970. */
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** Since when every sample saw it without an attachment and without a mapping; null: it was used, or that is not known. */
  readonly idleSince: number | null;
}

/** Points that are kept; past it every second one goes, so that any length of time fits. */
const MOST_POINTS = 256;

/**
 * Earlier samples of one process, as far as rules need them: bounded however long it is watched. Feed it each sample once, in the
 * order of time, after the rules have seen it; another process, or a clock that was set back, begins anew.
 */
export class Past {
  #of = '';
  #points: PastPoint[] = [];
  #every = 1;
  #skipped = 0;
  #samples = 0;
  #buffers = new Map<number, PastBuffer>();

  /** Samples that were taken in, of this process. */
  get samples(): number {
    return this.#samples;
  }
  /** Oldest first, evenly thinned. */
  get points(): readonly PastPoint[] {
    return this.#points;
  }
  /** Of a buffer that the newest sample taken in has. */
  buffer(inode: number): PastBuffer | undefined {
    return this.#buffers.get(inode);
  }
  /** Whether it is of the process of this sample. */
  isOf({ target }: Pick<Unjudged, 'target'>): boolean {
    return this.#of === `${target.pid} ${target.startTime}`;
  }

  observe(sample: Unjudged): void {
    const time = Date.parse(sample.takenAt);
    if (Number.isNaN(time)) return;
    const last = this.#points.at(-1)?.time ?? Number.NEGATIVE_INFINITY;
    if (!this.isOf(sample) || time < last) this.#begin(sample);
    this.#samples++;
    this.#point(time, sample);
    this.#buffers = new Map(
      sample.resources.map(resource => {
        const before = this.#buffers.get(resource.inode);
        const idle = isIdle(sample, resource);
        return [
          resource.inode,
          {
            firstSeen: before?.firstSeen ?? time,
            lastSeen: time,
            idleSince: idle === true ? (before?.idleSince ?? time) : null,
          },
        ];
      }),
    );
  }

  #begin({ target }: Unjudged): void {
    this.#of = `${target.pid} ${target.startTime}`;
    this.#points = [];
    this.#every = 1;
    this.#skipped = 0;
    this.#samples = 0;
    this.#buffers = new Map();
  }

  #point(time: number, sample: Unjudged): void {
    if (this.#points.length > 0 && ++this.#skipped < this.#every) return;
    this.#skipped = 0;
    this.#points.push(pointOf(sample, time));
    if (this.#points.length <= MOST_POINTS) return;
    this.#points = this.#points.filter((_, i) => i % 2 === 0);
    this.#every *= 2;
  }
}

/** What is kept of a sample that was taken at `time`. */
export function pointOf({ resources }: Unjudged, time: number): PastPoint {
  const mine = resources.filter(mayBeUdmabuf);
  return {
    time,
    buffers: mine.length,
    bytes: mine.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0),
  };
}
