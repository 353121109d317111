import { type ColourMode, classify, FLAG } from '../../model/map/classes.ts';
import { stretchesOf } from '../../model/map/held.ts';
import { PageMapModel } from '../../model/map/page-map.ts';
import type { SpaceKind } from '../../model/map/space.ts';
import { nextMarked, nextResource, nextRun, type Spot, spotOf } from '../../model/map/walk.ts';
import type { Sample } from '../../model/run-columns.ts';
import {
  clampTop,
  layoutOf,
  leastRowBits,
  type MapLayout,
  pointOf,
  topFor,
  topToShow,
} from '../map/layout.ts';
import { spotWords } from '../map/words.ts';
import type { Selection } from './selection.svelte.ts';

/** Further out than any map: everything on one screen. */
const ALL = 99;
const NONE: ReadonlySet<string> = new Set();

/** The page map as the user has it: space, colours, what is off, where one looks. The view shows it; commands change it. */
export class PageMapState {
  #space = $state.raw<SpaceKind>('host');
  #mode = $state.raw<ColourMode>('resource');
  #hidden = $state.raw<Partial<Record<ColourMode, ReadonlySet<string>>>>({});
  #model = $state.raw<PageMapModel | null>(null);
  /** The same, for the next one to be made of: an update must not depend on what it makes. */
  #last: PageMapModel | null = null;
  #width = $state.raw(0);
  #height = $state.raw(0);
  #rowBits = $state.raw(ALL);
  #top = $state.raw(0);
  /** What the last step said to those who listen. */
  #said = $state.raw('');
  readonly #selection: Selection;

  readonly layout: MapLayout = $derived(
    layoutOf(this.#width, this.#height, this.#model?.space.pages ?? 1, this.#rowBits),
  );
  readonly top: number = $derived(clampTop(this.layout, this.#top));

  constructor(selection: Selection) {
    this.#selection = selection;
  }

  get space(): SpaceKind {
    return this.#space;
  }
  get mode(): ColourMode {
    return this.#mode;
  }
  /** Keys of the classes of this mode that are off. */
  get hidden(): ReadonlySet<string> {
    return this.#hidden[this.#mode] ?? NONE;
  }
  /** `null`: no sample yet, or guest RAM is not known. */
  get model(): PageMapModel | null {
    return this.#model;
  }
  get said(): string {
    return this.#said;
  }

  /** Where the selected page lies on this map. */
  readonly spot: Spot | null = $derived.by(() => {
    const { page } = this.#selection;
    return page === null || this.#model === null ? null : spotOf(this.#model, page.inode, page.index);
  });

  /** Takes a sample; what did not change since the one before is kept. `shown`: inodes that are not drawn faint. */
  update(sample: Sample, shown: ReadonlySet<number> | null): void {
    const options = { space: this.#space, mode: this.#mode, hidden: this.hidden, shown };
    this.#last = PageMapModel.of(sample, options, this.#last);
    this.#model = this.#last;
  }

  /** Lets go of everything that was made of samples; where one looks is kept. */
  close(): void {
    this.#last = null;
    this.#model = null;
    this.#said = '';
  }

  resize(width: number, height: number): void {
    this.#width = width;
    this.#height = height;
  }

  setSpace(space: SpaceKind): void {
    if (space === this.#space) return;
    this.#space = space;
    this.fitAll();
  }

  setMode(mode: ColourMode): void {
    this.#mode = mode;
  }

  /** Switches a class off or on. */
  toggle(key: string): void {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(key)) hidden.add(key);
    this.#hidden = { ...this.#hidden, [this.#mode]: hidden };
  }

  /** All other classes off; all on where they already are off. */
  isolate(key: string): void {
    const others = (this.#model?.classes.classes ?? []).map(one => one.key).filter(one => one !== key);
    const isAlone = !this.hidden.has(key) && others.every(one => this.hidden.has(one));
    this.#hidden = { ...this.#hidden, [this.#mode]: isAlone ? NONE : new Set(others) };
  }

  /** Colours by `mode`, with only these classes of it on; all where none of them is in the sample. */
  showOnly(sample: Sample, mode: ColourMode, keys: readonly string[]): void {
    const all = classify(sample, mode).classes.map(({ key }) => key);
    const others = all.filter(key => !keys.includes(key));
    this.#mode = mode;
    this.#hidden = { ...this.#hidden, [mode]: others.length < all.length ? new Set(others) : NONE };
  }

  showAllClasses(): void {
    this.#hidden = { ...this.#hidden, [this.#mode]: NONE };
  }

  /**
   * In (positive) or out by steps of two. What is at the height `y` of the view stays there; without it the selected page
   * does, or the middle.
   */
  zoom(steps: number, y?: number, x?: number): void {
    const { layout, top } = this;
    if (this.#width <= 0) return;
    const spot = this.spot;
    const spotY = spot === null ? -1 : pointOf(layout, top, spot.position).y;
    const inView = spotY >= 0 && spotY < layout.height;
    const anchor = y ?? (inView ? spotY + layout.cellHeight / 2 : layout.height / 2);
    const row = Math.min(layout.rows - 1, Math.max(0, Math.floor((anchor + top) / layout.cellHeight)));
    const column = Math.max(0, Math.min(layout.columns - 1, Math.floor((x ?? 0) / layout.cellWidth)));
    const pointed = row * 2 ** layout.rowBits + column * 2 ** layout.level;
    const page = y === undefined && inView && spot !== null ? spot.position : pointed;
    const rowBits = Math.max(leastRowBits(this.#width), layout.rowBits - steps);
    const next = layoutOf(this.#width, this.#height, layout.pages, rowBits);
    // All the way out stays so when the window or the space grows.
    this.#rowBits = steps < 0 && next.rowBits < rowBits ? ALL : next.rowBits;
    this.#top = topFor(next, Math.min(page, layout.pages - 1), anchor);
  }

  /** By a share of the view's height. */
  pan(screens: number): void {
    this.panBy(screens * this.layout.height);
  }

  panBy(pixels: number): void {
    this.#top = clampTop(this.layout, this.top + pixels);
  }

  /** Brings a place of the map (0 to 1) into the middle. */
  panTo(share: number): void {
    const { layout } = this;
    this.#top = topFor(
      layout,
      Math.min(layout.pages - 1, Math.max(0, share) * layout.pages),
      layout.height / 2,
    );
  }

  fitAll(): void {
    this.#rowBits = ALL;
    this.#top = 0;
  }

  /** The selected run as large as it fits. Nothing without a selection on this map. */
  fitSelection(): void {
    const spot = this.spot;
    const runs = spot?.entry.resource.pages?.runs;
    if (spot === null || this.#model === null || runs === undefined || this.#width <= 0) return;
    const here = stretchesOf(this.#model.space, runs, spot.entry.row).find(
      ({ start, pages }) => start <= spot.position && spot.position < start + pages,
    );
    if (here === undefined) return;
    const { pages } = this.layout;
    for (let rowBits = leastRowBits(this.#width); rowBits <= ALL; rowBits++) {
      const next = layoutOf(this.#width, this.#height, pages, rowBits);
      const rows = Math.ceil(here.pages / 2 ** next.rowBits) + 2;
      if (rows * next.cellHeight > next.height && next.rowBits >= rowBits) continue;
      this.#rowBits = next.rowBits;
      this.#top = topFor(next, here.start + Math.floor(here.pages / 2), next.height / 2);
      return;
    }
  }

  /** Scrolls no further than needed to have a place in view. */
  reveal(start: number, end: number): void {
    this.#top = topToShow(this.layout, this.top, start, end);
  }

  select(spot: Spot): void {
    this.#selection.selectPage(spot.entry.resource.inode, spot.entry.page);
    this.reveal(spot.position, spot.position + 1);
    this.#said = spotWords(spot);
  }

  /** To the run that begins next, the next buffer, or the next disconnected run. */
  step(what: 'run' | 'resource' | 'disconnected' | 'finding', by: 1 | -1): void {
    const model = this.#model;
    if (model === null) return;
    const at = this.spot;
    const next = {
      run: () => nextRun(model, at, by),
      resource: () => nextResource(model, at?.entry.resource.inode ?? null, by),
      disconnected: () => nextMarked(model, at, by, FLAG.disconnected),
      finding: () => nextMarked(model, at, by, FLAG.error | FLAG.warning),
    }[what]();
    if (next === null) this.#said = `No ${by > 0 ? 'next' : 'previous'} ${NAMES[what]} on this map.`;
    else this.select(next);
  }
}

const NAMES = {
  run: 'run',
  resource: 'buffer',
  disconnected: 'disconnected run',
  finding: 'run of a buffer with a finding',
} as const;
