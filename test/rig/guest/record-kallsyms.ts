/**
 * An excerpt of the tables behind /proc/kallsyms: some rows, as the kernel encodes them, with the tables that follow from
 * their rows made anew; and what /proc/kallsyms prints for the same rows.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { KernelMemory } from '../../../model/kernel/memory.ts';
import type { RecordedKallsyms } from '../../kallsyms-recording.ts';

/** One row of these; 2,000 rows of 200,000. */
const STRIDE = 97;
const CHUNK_BYTES = 1 << 20;

interface Row {
  readonly bytes: Buffer;
  readonly row: number;
  /** `name` and address as printed. */
  readonly name: string;
  readonly address: string;
}

export async function recordKallsyms(
  out: string,
  memory: KernelMemory,
  vmcoreinfo: ReadonlyMap<string, string>,
  wanted: readonly string[],
): Promise<void> {
  const symbol = (name: string) => vmcoreinfo.get(`SYMBOL(kallsyms_${name})`);
  const at = (name: string) => BigInt(`0x${symbol(name)}`);
  const bytes = async (address: bigint, length: number): Promise<Buffer> => {
    const [data] = await memory.read([{ address, bytes: length }]);
    if (!data) throw new Error(`no kernel memory at 0x${address.toString(16)}`);
    return Buffer.from(data);
  };
  const count = (await bytes(at('num_syms'), 4)).readUInt32LE();
  const printed = readFileSync('/proc/kallsyms', 'latin1').split('\n', count);
  const offsets = await bytes(at('offsets'), count * 4);
  const keep = rowsToKeep(printed, new Set(wanted));

  const rows: Row[] = [];
  let names = Buffer.alloc(0);
  let start = 0;
  let read = 0n;
  for (let row = 0; row < count; row++) {
    if (names.length - start < 0x8002) {
      names = Buffer.concat([names.subarray(start), await bytes(at('names') + read, CHUNK_BYTES)]);
      read += BigInt(CHUNK_BYTES);
      start = 0;
    }
    const first = names[start] ?? 0;
    const big = (first & 0x80) !== 0;
    const length = big ? 2 + ((first & 0x7f) | ((names[start + 1] ?? 0) << 7)) : 1 + first;
    if (keep.has(row) || big) {
      const [address = '', , name = ''] = (printed[row] ?? '').split(' ');
      const piece = Buffer.from(names.subarray(start, start + length));
      rows.push({ bytes: piece, row, name, address });
    }
    start += length;
  }

  const base64 = (data: Buffer) => data.toString('base64');
  const table = await bytes(at('token_table'), 16 * 1024);
  const index = await bytes(at('token_index'), 512);
  const end = table.indexOf(0, index.readUInt16LE(510)) + 1;
  const base = symbol('relative_base') === undefined ? null : at('relative_base');
  const orderAt = base === null ? at('offsets') + BigInt(count) * 4n : base + 8n;
  const order = (await hasOrder(bytes, orderAt, printed))
    ? orderOf(rows)
    : await bytes(orderAt, rows.length * 3);
  const recording: RecordedKallsyms = {
    addresses: Object.fromEntries(
      ['names', 'num_syms', 'token_table', 'token_index', 'offsets', 'relative_base'].flatMap(name =>
        symbol(name) === undefined ? [] : [[name, `0x${at(name).toString(16)}`]],
      ),
    ),
    tokenTable: base64(table.subarray(0, end)),
    tokenIndex: base64(index),
    names: base64(Buffer.concat(rows.map(row => row.bytes))),
    offsets: base64(
      Buffer.concat(
        rows.map(({ row }, i) => offsetOf(offsets.readInt32LE(row * 4), base === null ? row - i : 0)),
      ),
    ),
    relativeBase: base === null ? null : `0x${(await bytes(base, 8)).readBigUInt64LE().toString(16)}`,
    order: base64(order),
    printed: rows.map(({ name, address }) => [name, `0x${address}`]),
  };
  writeFileSync(join(out, 'kallsyms.json.gz'), gzipSync(JSON.stringify(recording), { level: 9 }));
}

/** The wanted names and their neighbours, names that occur twice, and some of all. */
function rowsToKeep(printed: readonly string[], wanted: ReadonlySet<string>): Set<number> {
  const keep = new Set<number>();
  const seen = new Map<string, number>();
  let doubles = 0;
  for (const [row, line] of printed.entries()) {
    const name = line.split(' ')[2] ?? '';
    if (row % STRIDE === 0) keep.add(row);
    if (wanted.has(name)) for (let near = row - 2; near <= row + 2; near++) keep.add(near);
    const before = seen.get(name);
    if (before !== undefined && doubles < 40 && row % 7 === 0) {
      keep.add(before).add(row);
      doubles++;
    }
    seen.set(name, row);
  }
  return keep;
}

/** Whether the rows in the order of their names lie at that address, as this kernel's own names tell. */
async function hasOrder(
  bytes: (address: bigint, length: number) => Promise<Buffer>,
  address: bigint,
  printed: readonly string[],
): Promise<boolean> {
  const order = await bytes(address, 3 * 1000);
  const names = Array.from({ length: 1000 }, (_, i) => printed[order.readUIntBE(i * 3, 3)]?.split(' ')[2]);
  return names.every((name, i) => name !== undefined && (i === 0 || (names[i - 1] ?? '') <= name));
}

/** An entry of the table of offsets that moved up by `rows`: without a base it counts from where it lies. */
function offsetOf(value: number, rows: number): Buffer {
  const entry = Buffer.alloc(4);
  entry.writeInt32LE((value + rows * 4) | 0);
  return entry;
}

/** kallsyms_seqs_of_names for these rows: by name, then by address, 3 bytes each, high byte first. */
function orderOf(rows: readonly Row[]): Buffer {
  const order = rows.map((_, i) => i);
  order.sort((a, b) => {
    const [x, y] = [rows[a]?.name ?? '', rows[b]?.name ?? ''];
    return x < y ? -1 : x > y ? 1 : a - b;
  });
  const out = Buffer.alloc(rows.length * 3);
  for (const [i, row] of order.entries()) out.writeUIntBE(row, i * 3, 3);
  return out;
}
