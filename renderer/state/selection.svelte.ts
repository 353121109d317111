import { type RunColumns, rowOfPage, type Sample, type SampledResource } from '../../model/run-columns.ts';

/** A resource that was selected when it went away: what was last read of it, and when. */
export interface Released {
  readonly resource: SampledResource;
  /** The last sample that had it. */
  readonly sample: Sample;
}

/** One page of the selected buffer. */
export interface SelectedPage {
  readonly inode: number;
  /** Its place in the buffer. */
  readonly index: number;
  readonly pfn: number;
}

/** What is selected, by names that survive a refresh. The one owner: all views read and set it here. */
export class Selection {
  #inode = $state.raw<number | null>(null);
  #run = $state.raw(-1);
  #page = $state.raw<SelectedPage | null>(null);
  #block = $state.raw<number | null>(null);
  #released = $state.raw<Released | null>(null);
  #last: Released | null = null;
  /** The newest sample, to find pages in. */
  #sample: Sample | null = null;

  /** Inode of the selected dma-buf. */
  get inode(): number | null {
    return this.#inode;
  }

  /** Row of the selected page's run, -1: none. */
  get run(): number {
    return this.#run;
  }

  /** The selected page. Kept through a sample in which the pages of its buffer could not be read. */
  get page(): SelectedPage | null {
    return this.#page;
  }

  /** The memory block of the selected page, or the one that was chosen after it. */
  get block(): number | null {
    return this.#block;
  }

  /** The selected resource after it went away; `null` while it lives. */
  get released(): Released | null {
    return this.#released;
  }

  select(inode: number | null): void {
    if (inode === null) this.#sample = null;
    if (inode === this.#inode) return;
    this.#inode = inode;
    this.#released = null;
    this.#last = this.#find();
    this.clearPage();
  }

  /** No page, run and block; the resource stays. */
  clearPage(): void {
    this.#run = -1;
    this.#page = null;
    this.#block = null;
  }

  /** Selects the first page of a run of the selected resource. */
  selectRun(run: number): void {
    const runs = this.#runs();
    const index = runs?.index[run];
    if (index === undefined) this.clearPage();
    else this.#enter(runs, run, index);
  }

  /** Selects a page by its place in a buffer, and with it its run, its resource and its memory block. */
  selectPage(inode: number, index: number): void {
    this.select(inode);
    const runs = this.#runs();
    this.#enter(runs, runs === null ? -1 : rowOfPage(runs, index), index);
  }

  selectBlock(block: number): void {
    this.#block = block;
  }

  /** Tells of a new sample of the same process. Nothing selected: the first resource is. */
  observe(sample: Sample): void {
    this.#sample = sample;
    if (this.#inode === null) {
      const [first] = sample.resources;
      if (first === undefined) return;
      this.select(first.inode);
    }
    const found = this.#find();
    if (found !== null) {
      this.#last = found;
      this.#released = null;
      this.#follow(found.resource.pages?.runs ?? null);
    } else if (this.#last !== null) {
      this.#released = this.#last;
    } else {
      this.select(sample.resources[0]?.inode ?? null);
    }
  }

  /** The page where it is now: at its place in the buffer, or wherever the buffer has that page frame. */
  #follow(runs: RunColumns | null): void {
    const page = this.#page;
    if (page === null) return;
    if (runs === null) {
      this.#run = -1;
      return;
    }
    const row = rowOfPage(runs, page.index);
    if (pfnAt(runs, row, page.index) === page.pfn) {
      this.#run = row;
      return;
    }
    for (let i = 0; i < runs.length; i++) {
      const inside = page.pfn - (runs.pfn[i] ?? Number.NaN);
      if (inside >= 0 && inside < (runs.count[i] ?? 0)) {
        this.#enter(runs, i, (runs.index[i] ?? 0) + inside);
        return;
      }
    }
    this.clearPage();
  }

  #enter(runs: RunColumns | null, row: number, index: number): void {
    if (runs === null || row < 0 || this.#inode === null) {
      this.clearPage();
      return;
    }
    const pfn = pfnAt(runs, row, index);
    this.#run = row;
    this.#page = { inode: this.#inode, index, pfn };
    const host = this.#last?.sample.host;
    const blockBytes = host?.memoryBlockBytes ?? null;
    this.#block = host && blockBytes !== null ? Math.floor((pfn * host.pageSize) / blockBytes) : null;
  }

  #runs(): RunColumns | null {
    return this.#last?.resource.pages?.runs ?? null;
  }

  #find(): Released | null {
    const sample = this.#sample;
    const resource = sample?.resources.find(({ inode }) => inode === this.#inode);
    return sample && resource ? { resource, sample } : null;
  }
}

const pfnAt = (runs: RunColumns, row: number, index: number): number =>
  (runs.pfn[row] ?? Number.NaN) + index - (runs.index[row] ?? Number.NaN);
