import type { Expression } from '../../model/filter/ast.ts';
import type { CellFilter } from '../../model/filter/combine.ts';
import { plural } from '../../model/format.ts';
import type { Filter } from './filter.svelte.ts';

export type CopyForm = 'cell' | 'row' | 'tsv' | 'json' | 'markdown';

/** A table as commands see it. */
export interface TableHandle {
  readonly label: string;
  /** The text to copy; `null` where no cell or row is chosen. */
  copy(form: CopyForm): string | null;
  /** The filter that chooses what has the value of the chosen cell; `null`: there is none. */
  clause(): Expression | null;
  /** Rows that there are, and rows that a copy of the table has. */
  readonly rows: { readonly all: number; readonly copied: number };
}

/** A line that is said once, at the edge of the window. */
export interface Said {
  readonly text: string;
  readonly tone: 'ok' | 'warning';
}

const WHAT = {
  cell: 'Cell copied',
  row: 'Row copied, tab-separated',
  tsv: 'copied, tab-separated',
  json: 'copied as JSON',
  markdown: 'copied as Markdown',
} as const;

/** The table that had the keyboard last: what commands about cells, rows and tables mean. */
export class Tables {
  #last: TableHandle | null = null;
  #said = $state.raw<Said | null>(null);
  readonly #filter: Filter;
  readonly #write: (text: string) => Promise<void>;

  /** @param write puts a text on the clipboard */
  constructor(filter: Filter, write: (text: string) => Promise<void>) {
    this.#filter = filter;
    this.#write = write;
  }

  /** What was said last. */
  get said(): Said | null {
    return this.#said;
  }

  /** Tells that a table has the keyboard, or the mouse in it. */
  enter(table: TableHandle): void {
    this.#last = table;
  }

  /** Tells that a table is gone. */
  leave(table: TableHandle): void {
    if (this.#last === table) this.#last = null;
  }

  async copy(form: CopyForm): Promise<void> {
    const table = this.#last;
    if (table === null) return this.say('No table was looked at yet: choose a row or cell first.', 'warning');
    const text = table.copy(form);
    if (text === null) return this.say(`No ${form} of “${table.label}” is chosen.`, 'warning');
    await this.copyText(text, form === 'cell' || form === 'row' ? WHAT[form] : tableWords(table, form));
  }

  /** Copies a text and says what happened. */
  async copyText(text: string, done: string): Promise<void> {
    try {
      await this.#write(text);
      this.say(`${done}.`, 'ok');
    } catch {
      this.say(
        'The clipboard was refused: the window must have the focus, and be allowed to write to it.',
        'warning',
      );
    }
  }

  /** Takes the chosen cell of the last table into the filter. */
  filterBy(how: CellFilter): void {
    const clause = this.#last?.clause() ?? null;
    if (clause !== null) this.takeClause(clause, how);
    else this.say('No filter can be made of the chosen cell: choose another one.', 'warning');
  }

  takeClause(clause: Expression, how: CellFilter): void {
    this.#filter.take(clause, how);
    this.say(`Filter: ${this.#filter.text}`, 'ok');
  }

  /** Says a line at the edge of the window. */
  say(text: string, tone: Said['tone']): void {
    this.#said = { text, tone };
  }
}

function tableWords(
  { label, rows: { all, copied } }: TableHandle,
  form: 'tsv' | 'json' | 'markdown',
): string {
  const rows = copied < all ? `the first ${copied} of ${all} rows` : plural(all, 'row');
  return `“${label}” ${WHAT[form]}: ${rows}`;
}
