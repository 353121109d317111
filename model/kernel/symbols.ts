import { ParseError } from '../parse-error.ts';
import { latin1, u32, u64, wordsOf } from './bytes.ts';
import type { KernelMemory } from './memory.ts';

/*
 * Kernel symbols from the tables behind /proc/kallsyms (kernel/kallsyms.c, scripts/kallsyms.c), read in bulk as kernel memory.
 * Printing /proc/kallsyms makes the kernel expand and format 200,000 lines, which costs more than all else in a cold start;
 * the tables are 3 MB. VMCOREINFO says where they are since 5fd8fea935a1 ("vmcoreinfo: include kallsyms symbols", 6.0).
 */

/** Name → kernel address. A wanted symbol that the kernel lacks, or has twice (statics of two files), is not there. */
export type Symbols = ReadonlyMap<string, bigint>;

const TOKENS = 256;
/** The longest token table that scripts/kallsyms.c makes is far below this. */
const TOKEN_TABLE_BYTES = 16 * 1024;
const CHUNK_BYTES = 1 << 20;
/** Above the average of any kernel: a name has at most 511 tokens, most have 10. */
const MAX_NAME_BYTES = 64;
/** Far above any kernel; a damaged count must not make us read for minutes. */
const MAX_SYMBOLS = 4_000_000;
/** A symbol whose address VMCOREINFO has too: what is decoded is checked with it. */
const ANCHOR = 'init_uts_ns';

const fail = (expected: string, found: string) => new ParseError('kallsyms tables', expected, found, 0);

/**
 * Finds symbols of the core kernel (no modules) in its own tables.
 * @param vmcoreinfo of the core header
 * @param wanted exact names
 * @returns `undefined` where VMCOREINFO does not name the tables (before 6.0): read /proc/kallsyms instead
 * @throws ParseError where the tables contradict themselves
 */
export async function symbolsFromTables(
  memory: KernelMemory,
  vmcoreinfo: ReadonlyMap<string, string>,
  wanted: readonly string[],
): Promise<Symbols | undefined> {
  const namesAt = symbol(vmcoreinfo, 'kallsyms_names');
  const countAt = symbol(vmcoreinfo, 'kallsyms_num_syms');
  const tableAt = symbol(vmcoreinfo, 'kallsyms_token_table');
  const indexAt = symbol(vmcoreinfo, 'kallsyms_token_index');
  const offsetsAt = symbol(vmcoreinfo, 'kallsyms_offsets');
  const baseAt = symbol(vmcoreinfo, 'kallsyms_relative_base');
  const anchor = symbol(vmcoreinfo, ANCHOR);
  if (!namesAt || !countAt || !tableAt || !indexAt || !offsetsAt || !anchor) return undefined;

  const [countBytes, indexBytes, tableBytes, baseBytes] = await memory.read([
    { address: countAt, bytes: 4 },
    { address: indexAt, bytes: TOKENS * 2 },
    { address: tableAt, bytes: TOKEN_TABLE_BYTES },
    { address: baseAt ?? 0n, bytes: baseAt ? 8 : 0 },
  ]);
  if (!countBytes || !indexBytes || !tableBytes || (baseAt && !baseBytes))
    throw fail('readable tables', 'a hole');
  const count = u32(countBytes, 0);
  if (count === 0 || count > MAX_SYMBOLS) throw fail('a count of symbols', String(count));
  const names = await NameTable.read(memory, namesAt, tableAt, count, decodeTokens(tableBytes, indexBytes));
  // scripts/kallsyms.c puts kallsyms_seqs_of_names last since it exists (60443c88f3a8, 6.2).
  const orderAt = baseAt ? baseAt + 8n : offsetsAt + BigInt(count) * 4n;
  const [order] = await memory.read([{ address: orderAt, bytes: count * 3 }]);
  const asked = [ANCHOR, ...wanted];
  const rows = [...((order && names.search(order, asked)) ?? names.scan(new Set(asked)))];

  const offsets = await memory.read(
    rows.map(([, row]) => ({ address: offsetsAt + BigInt(row) * 4n, bytes: 4 })),
  );
  const anchorAt = rows.findIndex(([name]) => name === ANCHOR);
  const anchorOffset = offsets[anchorAt];
  if (!anchorOffset) throw fail(`the symbol ${ANCHOR}`, 'none');
  // The known address of the anchor tells by which rule this kernel goes.
  const rules = baseAt && baseBytes ? relativeToBase(u64(baseBytes, 0)) : [relativeToPlace(offsetsAt)];
  const address = rules.find(rule => rule(u32(anchorOffset, 0), rows[anchorAt]?.[1] ?? 0) === anchor);
  if (!address) throw fail(`${ANCHOR} at 0x${anchor.toString(16)}`, `offset ${u32(anchorOffset, 0)}`);
  return new Map(
    rows.flatMap(([name, row], i): [string, bigint][] => {
      const offset = offsets[i];
      return offset ? [[name, address(u32(offset, 0), row)]] : [];
    }),
  );
}

function symbol(vmcoreinfo: ReadonlyMap<string, string>, name: string): bigint | undefined {
  const text = vmcoreinfo.get(`SYMBOL(${name})`);
  return text !== undefined && /^[0-9a-f]{1,16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** Address of a symbol by its entry in the table of offsets, as kallsyms_sym_address has it. */
type AddressRule = (offset: number, row: number) => bigint;

/** From kallsyms_relative_base: x86 up to 6.14 stores negative offsets (per-CPU symbols absolute), later kernels positive ones. */
const relativeToBase = (base: bigint): AddressRule[] => [
  offset => base + BigInt(offset),
  offset => ((offset | 0) >= 0 ? BigInt(offset) : base - 1n - BigInt(offset | 0)),
];
/** From the entry itself, where there is no base (7.x). */
const relativeToPlace =
  (offsetsAt: bigint): AddressRule =>
  (offset, row) =>
    offsetsAt + BigInt(row) * 4n + BigInt(offset | 0);

function decodeTokens(table: Uint8Array, index: Uint8Array): readonly string[] {
  return Array.from({ length: TOKENS }, (_, i) => {
    const at = (index[2 * i] ?? 0) | ((index[2 * i + 1] ?? 0) << 8);
    const end = table.indexOf(0, at);
    if (end < 0) throw fail('tokens that end', `token ${i} at ${at}`);
    return latin1(table.subarray(at, end));
  });
}

/**
 * The compressed names, by row (address order). A name is a length (one byte, or two from 128 on) and that many tokens; its
 * first character is the type letter.
 */
class NameTable {
  private constructor(
    private readonly data: Uint8Array,
    private readonly count: number,
    private readonly tokens: readonly string[],
    /** Offset of the name of every 256th row. */
    private readonly markers: Uint32Array,
  ) {}

  /**
   * scripts/kallsyms.c puts kallsyms_markers, the offset of every 256th name, between the names and the token table; with them
   * most names need not be looked at. Where what lies there is no such table, the names are walked.
   * @param tableAt address of the token table
   */
  static async read(
    memory: KernelMemory,
    address: bigint,
    tableAt: bigint,
    count: number,
    tokens: readonly string[],
  ): Promise<NameTable> {
    const markerCount = (count + 255) >>> 8;
    // Tables lie at multiples of 8, since 7.x of 4.
    for (const markerBytes of new Set([(markerCount * 4 + 7) & ~7, markerCount * 4])) {
      const bytes = Number(tableAt - address) - markerBytes;
      if (bytes < count * 2 || bytes > count * MAX_NAME_BYTES) continue;
      const [data, markerData] = await memory.read([
        { address, bytes },
        { address: address + BigInt(bytes), bytes: markerBytes },
      ]);
      const markers = markerData && wordsOf(markerData).subarray(0, markerCount);
      const ascending = markers?.every((at, i) =>
        i === 0 ? at === 0 : at > (markers[i - 1] as number) && at < bytes,
      );
      if (data && markers && ascending) return new NameTable(data, count, tokens, markers);
    }
    return NameTable.walk(memory, address, count, tokens);
  }

  /** How long the table is, nothing says: chunks are read until they hold `count` names. */
  private static async walk(
    memory: KernelMemory,
    address: bigint,
    count: number,
    tokens: readonly string[],
  ): Promise<NameTable> {
    const markers = new Uint32Array((count >>> 8) + 1);
    let data = new Uint8Array(0);
    let at = 0;
    for (let row = 0; row < count; ) {
      const [chunk] = await memory.read([{ address: address + BigInt(data.length), bytes: CHUNK_BYTES }]);
      if (!chunk) throw fail(`${count} names`, `${row} readable`);
      const grown = new Uint8Array(data.length + chunk.length);
      grown.set(data);
      grown.set(chunk, data.length);
      data = grown;
      while (row < count && at + 1 < data.length) {
        if ((row & 255) === 0) markers[row >>> 8] = at;
        const first = data[at] as number;
        if (first === 0) throw fail(`${count} names`, `an empty one in row ${row}`);
        const next = at + (first & 0x80 ? 2 + ((first & 0x7f) | ((data[at + 1] as number) << 7)) : 1 + first);
        if (next > data.length) break;
        at = next;
        row++;
      }
    }
    return new NameTable(data.subarray(0, at), count, tokens, markers);
  }

  /** Rows of the wanted names by looking at all. Names that occur twice (statics of two files) are left out. */
  scan(wanted: ReadonlySet<string>): Map<string, number> {
    const { data, tokens } = this;
    const lengthOf = Uint8Array.from(tokens, token => token.length);
    const lastOf = Uint8Array.from(tokens, token => token.charCodeAt(token.length - 1));
    // Expanding every name would dominate; length and last character leave few candidates.
    const shapes = new Uint8Array(1 << 16);
    const shapeOf = (length: number, last: number) => ((length << 8) | last) & 0xffff;
    for (const name of wanted) shapes[shapeOf(name.length + 1, name.charCodeAt(name.length - 1))] = 1;
    const found = new Map<string, number>();
    const twice = new Set<string>();
    let at = 0;
    for (let row = 0; row < this.count; row++) {
      const start = this.firstToken(at);
      const end = this.nextName(at);
      let length = 0;
      for (let i = start; i < end; i++) length += lengthOf[data[i] as number] as number;
      if (shapes[shapeOf(length, lastOf[data[end - 1] as number] as number)] === 1) {
        const name = this.expand(at);
        if (wanted.has(name)) {
          if (found.has(name)) twice.add(name);
          found.set(name, row);
        }
      }
      at = end;
    }
    for (const name of twice) found.delete(name);
    return found;
  }

  /**
   * The same by bisection. `undefined` when the order makes no sense: then this kernel does not keep it there.
   * @param order kallsyms_seqs_of_names: rows in the order of their names, 3 bytes each, high byte first
   */
  search(order: Uint8Array, wanted: readonly string[]): Map<string, number> | undefined {
    const rowAt = (i: number): number =>
      ((order[3 * i] ?? 0) << 16) | ((order[3 * i + 1] ?? 0) << 8) | (order[3 * i + 2] ?? 0);
    const found = new Map<string, number>();
    for (const name of wanted) {
      let low = 0;
      let high = this.count;
      while (low < high) {
        const middle = (low + high) >>> 1;
        const row = rowAt(middle);
        if (row >= this.count) return undefined;
        if (this.nameOf(row) < name) low = middle + 1;
        else high = middle;
      }
      const [row, next] = [rowAt(low), rowAt(low + 1)];
      if (low >= this.count || row >= this.count || this.nameOf(row) !== name) continue;
      if (low + 1 < this.count && next < this.count && this.nameOf(next) === name) continue;
      found.set(name, row);
    }
    // Every kernel has the anchor: without it the order is not one.
    return found.has(ANCHOR) ? found : undefined;
  }

  private nameOf(row: number): string {
    let at = this.markers[row >>> 8] as number;
    for (let i = row & 255; i > 0; i--) at = this.nextName(at);
    return this.expand(at);
  }

  private firstToken(at: number): number {
    return (this.data[at] as number) & 0x80 ? at + 2 : at + 1;
  }

  private nextName(at: number): number {
    const first = this.data[at] as number;
    return at + (first & 0x80 ? 2 + ((first & 0x7f) | ((this.data[at + 1] as number) << 7)) : 1 + first);
  }

  /** Without the type letter. */
  private expand(at: number): string {
    const end = this.nextName(at);
    let name = '';
    for (let i = this.firstToken(at); i < end; i++) name += this.tokens[this.data[i] as number];
    return name.slice(1);
  }
}
