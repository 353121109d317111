/** What the user chose about the window. Kept between starts in a form of its own, so that code may change around it. */
export interface SavedPrefs {
  readonly version: 1;
  readonly theme: ThemeChoice;
  /** Height of the detail pane as a share of the view, 0.2 to 0.85. */
  readonly detailShare: number;
  /** Ids of columns that are not shown, by table. */
  readonly hiddenColumns: Readonly<Record<string, readonly string[]>>;
}
export type ThemeChoice = 'system' | 'light' | 'dark';

const KEY = 'pinscope.prefs';
const DEFAULTS: SavedPrefs = { version: 1, theme: 'system', detailShare: 0.58, hiddenColumns: {} };

/** What was saved, field by field; whatever is missing, damaged or of another version has its default. */
export function parsePrefs(text: string | null): SavedPrefs {
  let saved: Partial<Record<keyof SavedPrefs, unknown>>;
  try {
    saved = Object(JSON.parse(text ?? '{}'));
  } catch {
    return DEFAULTS;
  }
  if (saved.version !== 1) return DEFAULTS;
  const { theme, detailShare, hiddenColumns } = saved;
  return {
    version: 1,
    theme: theme === 'light' || theme === 'dark' ? theme : DEFAULTS.theme,
    detailShare: typeof detailShare === 'number' ? clampShare(detailShare) : DEFAULTS.detailShare,
    hiddenColumns: parseColumns(hiddenColumns),
  };
}

/** Lists of ids; what is none is left out. Without a prototype, because names of tables are keys. */
function parseColumns(saved: unknown): SavedPrefs['hiddenColumns'] {
  const columns: Record<string, readonly string[]> = Object.create(null);
  for (const [table, ids] of Object.entries(Object(saved))) {
    if (Array.isArray(ids)) columns[table] = ids.filter(id => typeof id === 'string');
  }
  return columns;
}

const clampShare = (share: number): number =>
  Number.isFinite(share) ? Math.min(0.85, Math.max(0.2, share)) : DEFAULTS.detailShare;

/** Where preferences are kept: the page's localStorage, or nothing where that is refused. */
export type PrefsStore = Pick<Storage, 'getItem' | 'setItem'>;

export class Prefs {
  #saved = $state.raw(DEFAULTS);
  #systemDark = $state(false);
  readonly #store: PrefsStore | null;

  constructor(store: PrefsStore | null) {
    this.#store = store;
    this.#saved = parsePrefs(store?.getItem(KEY) ?? null);
  }

  get detailShare(): number {
    return this.#saved.detailShare;
  }
  set detailShare(share: number) {
    this.#save({ ...this.#saved, detailShare: clampShare(share) });
  }

  /** Ids of columns that a table does not show. */
  hiddenColumns(table: string): readonly string[] {
    return this.#saved.hiddenColumns[table] ?? [];
  }

  showColumn(table: string, column: string, shown: boolean): void {
    const others = this.hiddenColumns(table).filter(id => id !== column);
    this.#hide(table, shown ? others : [...others, column]);
  }

  showAllColumns(table: string): void {
    this.#hide(table, []);
  }

  #hide(table: string, ids: readonly string[]): void {
    this.#save({ ...this.#saved, hiddenColumns: { ...this.#saved.hiddenColumns, [table]: ids } });
  }

  /** The theme that is shown. */
  get theme(): 'light' | 'dark' {
    if (this.#saved.theme !== 'system') return this.#saved.theme;
    return this.#systemDark ? 'dark' : 'light';
  }

  /** What the user chose. */
  get themeChoice(): ThemeChoice {
    return this.#saved.theme;
  }

  /** To the next choice: first what is seen to be another theme, then the desktop's own, then following the desktop again. */
  switchTheme(): void {
    const [ofSystem, other] = this.#systemDark ? (['dark', 'light'] as const) : (['light', 'dark'] as const);
    const order: readonly ThemeChoice[] = ['system', other, ofSystem];
    const theme = order[(order.indexOf(this.#saved.theme) + 1) % order.length] ?? 'system';
    this.#save({ ...this.#saved, theme });
  }

  /** Follows the desktop's theme. Returns what ends it. */
  followSystem(media: MediaQueryList): () => void {
    const read = () => {
      this.#systemDark = media.matches;
    };
    read();
    media.addEventListener('change', read);
    return () => media.removeEventListener('change', read);
  }

  #save(saved: SavedPrefs): void {
    this.#saved = saved;
    try {
      this.#store?.setItem(KEY, JSON.stringify(saved));
    } catch {
      // A full or forbidden store loses the choice at the end of the window, no more.
    }
  }
}
