import type { SampledResource } from '../run-columns.ts';

/** What a buffer’s pages were like from a time on. */
export interface LifeState {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Pages that were no longer the guest’s; `null`: its pages were not read. */
  readonly disconnected: number | null;
}

/** A dma-buf as far as samples have seen it; times are milliseconds since 1970. */
export interface Life {
  /** Its name here: an inode number comes back, and a buffer that is seen again has a second life. */
  readonly key: string;
  readonly inode: number;
  readonly name: string | null;
  readonly sizeBytes: number | null;
  /** ctime of its inode; `null`: unknown. */
  readonly createdAt: number | null;
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** The first sample without it; `null` while it lives. It ended after {@link lastSeen} and until then. */
  readonly gone: number | null;
  /** Ascending; at least one. */
  readonly states: readonly LifeState[];
}

interface Kept extends Life {
  lastSeen: number;
  gone: number | null;
  name: string | null;
  sizeBytes: number | null;
  states: LifeState[];
}

/** Changes that are kept of one buffer. */
const MOST_STATES = 64;

/** Births and deaths of buffers. All that live are kept, and the newest `most` of those that ended. */
export class Lives {
  readonly #alive = new Map<string, Kept>();
  #ended: Kept[] = [];
  #dropped = 0;
  readonly #most: number;

  constructor(most = 5000) {
    this.#most = most;
  }

  /** Buffers that ended and are no longer kept. */
  get dropped(): number {
    return this.#dropped;
  }
  get alive(): number {
    return this.#alive.size;
  }
  get ended(): number {
    return this.#ended.length;
  }

  /** All that are kept, oldest first. */
  all(): Life[] {
    const born = ({ createdAt, firstSeen }: Life) => createdAt ?? firstSeen;
    return [...this.#ended, ...this.#alive.values()].sort((a, b) => born(a) - born(b) || a.inode - b.inode);
  }

  /**
   * Takes the buffers of a sample. To be called only where the list of buffers could be read: one that is not in it is gone.
   * @param disconnectedOf pages of a buffer that are no longer the guest’s; `null`: unknown
   */
  observe(
    time: number,
    resources: readonly SampledResource[],
    disconnectedOf: (resource: SampledResource) => number | null,
  ): void {
    for (const resource of resources) {
      const { inode, name, sizeBytes } = resource;
      const created = resource.createdAt === null ? Number.NaN : Date.parse(resource.createdAt);
      // An inode number comes back, with the time of creation it does not.
      const id = `${inode} ${resource.createdAt ?? ''}`;
      const state = { at: time, disconnected: disconnectedOf(resource) };
      const life = this.#alive.get(id);
      if (life === undefined) {
        const createdAt = Number.isNaN(created) ? null : created;
        const seen = { firstSeen: time, lastSeen: time, gone: null };
        this.#alive.set(id, {
          key: `${id} ${time}`,
          inode,
          name,
          sizeBytes,
          createdAt,
          ...seen,
          states: [state],
        });
        continue;
      }
      life.lastSeen = time;
      life.name = name;
      life.sizeBytes = sizeBytes ?? life.sizeBytes;
      addState(life.states, state);
    }
    for (const [id, life] of this.#alive) {
      if (life.lastSeen === time) continue;
      this.#alive.delete(id);
      life.gone = time;
      this.#ended.push(life);
    }
    // A quarter more than is kept before anything is thrown away, so that not every death moves the array.
    if (this.#ended.length > this.#most * 1.25) {
      this.#dropped += this.#ended.length - this.#most;
      this.#ended = this.#ended.slice(-this.#most);
    }
  }
}

/** A change becomes a state of its own; past the limit the last one keeps the worst that it saw. */
function addState(states: LifeState[], state: LifeState): void {
  const last = states[states.length - 1];
  if (last?.disconnected === state.disconnected) return;
  if (states.length < MOST_STATES) states.push(state);
  else if (last !== undefined && (state.disconnected ?? 0) > (last.disconnected ?? 0)) {
    states[states.length - 1] = { at: last.at, disconnected: state.disconnected };
  }
}
