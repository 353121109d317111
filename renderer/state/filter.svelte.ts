import type { Expression } from '../../model/filter/ast.ts';
import { type CellFilter, withCell } from '../../model/filter/combine.ts';
import { FilterError } from '../../model/filter/error.ts';
import { applyFilter, type Filtered } from '../../model/filter/evaluate.ts';
import { parseFilter } from '../../model/filter/parser.ts';
import type { Sample } from '../../model/run-columns.ts';

/** So long the table waits for the next key: half a word is a filter too, and would empty it. */
const PAUSE_MS = 300;

export interface FilteredResources extends Filtered {
  readonly inodes: ReadonlySet<number>;
}

/** The filter over dma-bufs. The one owner: the bar types into it, cells add to it, views ask what it chooses. */
export class Filter {
  #text = $state.raw('');
  #error = $state.raw<FilterError | null>(null);
  #applied = $state.raw<{ readonly text: string; readonly expression: Expression | null }>({
    text: '',
    expression: null,
  });
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last: {
    readonly sample: Sample;
    readonly expression: Expression | null;
    readonly result: FilteredResources;
  } | null = null;

  /** As it stands in the bar. */
  get text(): string {
    return this.#text;
  }
  /** What is wrong with that text; the last one that was right is applied then. */
  get error(): FilterError | null {
    return this.#error;
  }
  /** Whether that text only lacks its end: nothing in it is wrong so far. */
  get unfinished(): boolean {
    return this.#error !== null && this.#error.length === 0 && this.#error.at >= this.#text.length;
  }
  /** The text that is applied. */
  get appliedText(): string {
    return this.#applied.text;
  }
  /** `null` chooses everything. */
  get expression(): Expression | null {
    return this.#applied.expression;
  }

  /** The text while it is typed: judged at once, applied after a pause. */
  type(text: string): void {
    this.#read(text, PAUSE_MS);
  }

  /** The text as it shall be: applied now, if it can be. */
  set(text: string): void {
    this.#read(text, 0);
  }

  /** Applies what was typed without waiting. */
  commit(): void {
    this.set(this.#text);
  }

  clear(): void {
    this.set('');
  }

  /** Takes a cell of a table into the filter. */
  take(cell: Expression, how: CellFilter): void {
    this.set(withCell(this.expression, cell, how));
  }

  /** The dma-bufs of a sample that are shown. The same answer for the same sample, so that all views may ask. */
  of(sample: Sample): FilteredResources {
    const { expression } = this.#applied;
    if (this.#last?.sample === sample && this.#last.expression === expression) return this.#last.result;
    const { resources, undecided } = applyFilter(expression, sample);
    const result = { resources, undecided, inodes: new Set(resources.map(({ inode }) => inode)) };
    this.#last = { sample, expression, result };
    return result;
  }

  #read(text: string, pause: number): void {
    clearTimeout(this.#timer);
    this.#text = text;
    try {
      const expression = parseFilter(text);
      this.#error = null;
      const apply = () => {
        this.#applied = { text, expression };
      };
      if (pause > 0) this.#timer = setTimeout(apply, pause);
      else apply();
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      this.#error = error;
    }
  }
}
