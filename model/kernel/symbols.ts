import { ParseError } from '../parse-error.ts';
import { latin1, u32, u64 } from './bytes.ts';
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
const CHUNK_BYTES = 512 * 1024;
/** Far above any kernel; a damaged count must not make us read for minutes. */
const MAX_SYMBOLS = 4_000_000;

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
  const names = symbol(vmcoreinfo, 'kallsyms_names');
  const countAt = symbol(vmcoreinfo, 'kallsyms_num_syms');
  const tableAt = symbol(vmcoreinfo, 'kallsyms_token_table');
  const indexAt = symbol(vmcoreinfo, 'kallsyms_token_index');
  const offsetsAt = symbol(vmcoreinfo, 'kallsyms_offsets');
  const baseAt = symbol(vmcoreinfo, 'kallsyms_relative_base');
  const anchor = symbol(vmcoreinfo, 'init_uts_ns');
  if (!names || !countAt || !tableAt || !indexAt || !offsetsAt || !baseAt || !anchor) return undefined;

  const fail = (expected: string, found: string) => new ParseError('kallsyms tables', expected, found, 0);
  const [countBytes, indexBytes, tableBytes, baseBytes] = await memory.read([
    { address: countAt, bytes: 4 },
    { address: indexAt, bytes: TOKENS * 2 },
    { address: tableAt, bytes: TOKEN_TABLE_BYTES },
    { address: baseAt, bytes: 8 },
  ]);
  if (!countBytes || !indexBytes || !tableBytes || !baseBytes) throw fail('readable tables', 'a hole');
  const count = u32(countBytes, 0);
  if (count === 0 || count > MAX_SYMBOLS) throw fail('a count of symbols', String(count));
  const tokens = decodeTokens(tableBytes, indexBytes);

  const found = await findNames(memory, names, count, tokens, new Set([...wanted, 'init_uts_ns']));
  const rows = [...found];
  const offsets = await memory.read(
    rows.map(([, row]) => ({ address: offsetsAt + BigInt(row) * 4n, bytes: 4 })),
  );
  const base = u64(baseBytes, 0);
  const anchorRow = rows.findIndex(([name]) => name === 'init_uts_ns');
  const anchorOffset = offsets[anchorRow];
  if (!anchorOffset) throw fail('the symbol init_uts_ns', 'none');
  // x86 up to 6.14 stores negative offsets (per-CPU symbols absolute), later kernels positive ones
  // (kallsyms_sym_address). VMCOREINFO has the address of init_uts_ns, which tells by which rule this kernel goes.
  const address = [positiveOffset, negativeOffset].find(rule => rule(base, u32(anchorOffset, 0)) === anchor);
  if (!address) throw fail(`init_uts_ns at 0x${anchor.toString(16)}`, `offset ${u32(anchorOffset, 0)}`);
  return new Map(
    rows.flatMap(([name], i): [string, bigint][] => {
      const offset = offsets[i];
      return offset ? [[name, address(base, u32(offset, 0))]] : [];
    }),
  );
}

function symbol(vmcoreinfo: ReadonlyMap<string, string>, name: string): bigint | undefined {
  const text = vmcoreinfo.get(`SYMBOL(${name})`);
  return text !== undefined && /^[0-9a-f]{1,16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}

const positiveOffset = (base: bigint, offset: number): bigint => base + BigInt(offset);
const negativeOffset = (base: bigint, offset: number): bigint =>
  (offset | 0) >= 0 ? BigInt(offset) : base - 1n - BigInt(offset | 0);

function decodeTokens(table: Uint8Array, index: Uint8Array): readonly string[] {
  return Array.from({ length: TOKENS }, (_, i) => {
    const at = (index[2 * i] ?? 0) | ((index[2 * i + 1] ?? 0) << 8);
    const end = table.indexOf(0, at);
    if (end < 0) throw new ParseError('kallsyms tables', 'tokens that end', `token ${i} at ${at}`, 0);
    return latin1(table.subarray(at, end));
  });
}

/** Row of every wanted name. A name is a length (one byte, or two from 128 on) and that many tokens; its first character is the type. */
async function findNames(
  memory: KernelMemory,
  namesAt: bigint,
  count: number,
  tokens: readonly string[],
  wanted: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const lengthOf = Uint8Array.from(tokens, token => token.length);
  const lastOf = Uint8Array.from(tokens, token => token.charCodeAt(token.length - 1));
  // Expanding every name would dominate; length and last character leave few candidates.
  const shapes = new Set(
    [...wanted].map(name => ((name.length + 1) << 8) | name.charCodeAt(name.length - 1)),
  );
  const found = new Map<string, number>();
  const twice = new Map<string, number>();
  let data = new Uint8Array(0);
  let fetched = 0;
  let at = 0;
  for (let row = 0; row < count; row++) {
    if (data.length - at < 0x4002) {
      const [chunk] = await memory.read([{ address: namesAt + BigInt(fetched), bytes: CHUNK_BYTES }]);
      if (!chunk) {
        // The last chunk may reach past the kernel image: what is left must do.
        if (at >= data.length)
          throw new ParseError('kallsyms tables', `${count} names`, `${row} readable`, 0);
      } else {
        const joined = new Uint8Array(data.length - at + chunk.length);
        joined.set(data.subarray(at));
        joined.set(chunk, data.length - at);
        data = joined;
        at = 0;
        fetched += chunk.length;
      }
    }
    let length = data[at++] ?? 0;
    if (length & 0x80) length = (length & 0x7f) | ((data[at++] ?? 0) << 7);
    const end = at + length;
    if (length === 0 || end > data.length) {
      throw new ParseError(
        'kallsyms tables',
        `${count} names`,
        `a name of ${length} tokens in row ${row}`,
        0,
      );
    }
    let expanded = 0;
    for (let i = at; i < end; i++) expanded += lengthOf[data[i] ?? 0] ?? 0;
    if (shapes.has((expanded << 8) | (lastOf[data[end - 1] ?? 0] ?? 0))) {
      let name = '';
      for (let i = at; i < end; i++) name += tokens[data[i] ?? 0];
      name = name.slice(1);
      if (wanted.has(name)) (found.has(name) ? twice : found).set(name, row);
    }
    at = end;
  }
  for (const name of twice.keys()) found.delete(name);
  return found;
}
