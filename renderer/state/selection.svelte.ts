import type { Sample, SampledResource } from '../../model/run-columns.ts';

/** A resource that was selected when it went away: what was last read of it, and when. */
export interface Released {
  readonly resource: SampledResource;
  /** The last sample that had it. */
  readonly sample: Sample;
}

/** What is selected, by names that survive a refresh. The one owner: all views read and set it here. */
export class Selection {
  #inode = $state.raw<number | null>(null);
  #run = $state.raw(-1);
  #released = $state.raw<Released | null>(null);
  #last: Released | null = null;

  /** Inode of the selected dma-buf. */
  get inode(): number | null {
    return this.#inode;
  }

  /** Row of the selected page run, -1: none. */
  get run(): number {
    return this.#run;
  }

  /** The selected resource after it went away; `null` while it lives. */
  get released(): Released | null {
    return this.#released;
  }

  select(inode: number | null): void {
    if (inode === this.#inode) return;
    this.#inode = inode;
    this.#run = -1;
    this.#released = null;
    this.#last = null;
  }

  selectRun(run: number): void {
    this.#run = run;
  }

  /** Tells of a new sample of the same process. Nothing selected: the first resource is. */
  observe(sample: Sample): void {
    if (this.#inode === null) {
      const [first] = sample.resources;
      if (first === undefined) return;
      this.select(first.inode);
    }
    const resource = sample.resources.find(({ inode }) => inode === this.#inode);
    if (resource !== undefined) {
      this.#last = { resource, sample };
      this.#released = null;
      if (this.#run >= (resource.pages?.runs.length ?? 0)) this.#run = -1;
    } else if (this.#last !== null) {
      this.#released = this.#last;
    } else {
      this.select(sample.resources[0]?.inode ?? null);
    }
  }
}
