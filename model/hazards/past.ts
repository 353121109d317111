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
  #idleSince = new Map<number, number>();

  /** Samples that were taken in, of this process. */
  get samples(): number {
    return this.#samples;
  }
  /** Oldest first, evenly thinned. */
  get points(): readonly PastPoint[] {
    return this.#points;
  }
  /**
   * Since when every sample saw this buffer without an attachment and without a mapping, milliseconds since 1970; null: the newest
   * sample taken in has it not, it was used, or that is not known.
   */
  idleSince(inode: number): number | null {
    return this.#idleSince.get(inode) ?? null;
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
    this.#idleSince = new Map(
      sample.resources
        .filter(resource => isIdle(sample, resource) === true)
        .map(({ inode }) => [inode, this.#idleSince.get(inode) ?? time]),
    );
  }

  #begin({ target }: Unjudged): void {
    this.#of = `${target.pid} ${target.startTime}`;
    this.#points = [];
    this.#every = 1;
    this.#skipped = 0;
    this.#samples = 0;
    this.#idleSince = new Map();
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
