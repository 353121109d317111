import { Format } from '../lines.ts';

/**
 * Address of a kernel symbol, already with KASLR. `hidden`: printed as 0, so kptr_restrict or missing privilege hides it
 * (a per-CPU symbol whose offset is 0 looks the same). `ambiguous`: several symbols of the kernel proper have this name.
 */
export type SymbolAddress = bigint | 'hidden' | 'ambiguous';

const format: Format = new Format('kallsyms');
const BLANK = 32;
const TAB = 9;

/**
 * /proc/kallsyms: kernel/kallsyms.c s_show(), `ADDRESS T NAME` and for modules `ADDRESS t NAME\t[MODULE]` (also BPF programs
 * and ftrace trampolines, as modules). 100 000 lines and more.
 * Names of modules count only when the kernel proper has none: it is printed first, and what we look for is built in.
 */
export function parseKallsyms(text: string, wanted: ReadonlySet<string>): Map<string, SymbolAddress> {
  const scanner = new KallsymsScanner(wanted);
  scanner.push(text);
  scanner.end();
  return scanner.found;
}

/** The same for a text that comes in pieces. Nothing of it is kept but the wanted names. */
export class KallsymsScanner {
  readonly found = new Map<string, SymbolAddress>();
  /** To the caller's own strings: a slice would keep the whole text alive. */
  readonly #wanted: ReadonlyMap<string, string>;
  /** Whether a wanted name has this first character. */
  readonly #first = new Uint8Array(128);
  readonly #fromModule = new Set<string>();
  #rest = '';
  #line = 0;

  constructor(wanted: ReadonlySet<string>) {
    this.#wanted = new Map([...wanted].map(name => [name, name]));
    for (const name of wanted) this.#first[name.charCodeAt(0) & 127] = 1;
  }

  /** Every wanted name was seen: a reader in a hurry may stop, and then does not learn of a second symbol of a name. */
  get complete(): boolean {
    return this.found.size === this.#wanted.size;
  }

  push(chunk: string): void {
    // The half line of the chunk before is joined with its other half alone: joining whole chunks would copy them.
    let from = 0;
    if (this.#rest !== '') {
      const newline = chunk.indexOf('\n');
      if (newline < 0) {
        this.#rest += chunk;
        return;
      }
      this.#scan(this.#rest + chunk.slice(0, newline + 1), 0);
      from = newline + 1;
    }
    this.#rest = chunk.slice(this.#scan(chunk, from));
  }

  /** Refuses a text that was cut inside a line: the symbol there may be another one than it seems. */
  end(): void {
    if (this.#rest !== '') throw format.error('a newline at the end of the text', this.#rest, this.#line + 1);
  }

  /** Returns where the last, incomplete line begins. */
  #scan(text: string, from: number): number {
    let start = from;
    for (;;) {
      const newline = text.indexOf('\n', start);
      if (newline < 0) return start;
      this.#line++;
      // 64-bit kernels print 16 digits, 32-bit ones 8; then a blank, the type, a blank.
      const blank =
        text.charCodeAt(start + 16) === BLANK
          ? start + 16
          : text.charCodeAt(start + 8) === BLANK
            ? start + 8
            : text.indexOf(' ', start);
      const name = blank + 3;
      if (blank < 0 || name >= newline || text.charCodeAt(blank + 2) !== BLANK) {
        throw format.error(
          'ADDRESS TYPE NAME',
          text.slice(start, Math.min(newline, start + 120)),
          this.#line,
        );
      }
      if (this.#first[text.charCodeAt(name) & 127] === 1) this.#look(text, start, blank, name, newline);
      start = newline + 1;
    }
  }

  #look(text: string, start: number, blank: number, nameStart: number, newline: number): void {
    let nameEnd = newline;
    for (let i = nameStart; i < newline; i++) {
      if (text.charCodeAt(i) === TAB) {
        nameEnd = i;
        break;
      }
    }
    const name = this.#wanted.get(text.slice(nameStart, nameEnd));
    if (name === undefined) return;
    const value = format.hex(text.slice(start, blank), `the address of ${name}`, this.#line);
    const address = value === 0n ? 'hidden' : value;
    const ofModule = nameEnd < newline;
    const before = this.found.get(name);
    if (before === undefined || (!ofModule && this.#fromModule.has(name))) {
      this.found.set(name, address);
      if (ofModule) this.#fromModule.add(name);
      else this.#fromModule.delete(name);
    } else if (before !== address && ofModule === this.#fromModule.has(name)) {
      this.found.set(name, 'ambiguous');
    }
  }
}
