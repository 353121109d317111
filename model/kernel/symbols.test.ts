import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { corrupted, corruption } from '../../test/corrupt.ts';
import { cpuMs } from '../../test/cpu-time.ts';
import { type KallsymsTables, kallsymsTables } from '../../test/kallsyms-recording.ts';
import { type RecordedKernel, recordedKernels } from '../../test/kernel-recording.ts';
import { ParseError } from '../parse-error.ts';
import { WANTED_SYMBOLS } from './layout.ts';
import type { KernelMemory } from './memory.ts';
import { symbolsFromTables } from './symbols.ts';

const ANCHOR = 'init_uts_ns';

describe.each(recordedKernels)('symbols of Linux $id', kernel => {
  const { recording, memory } = kallsymsTables(kernel);
  const count = new Map<string, number>();
  for (const [name] of recording.printed) count.set(name, (count.get(name) ?? 0) + 1);
  const single = recording.printed.filter(([name]) => count.get(name) === 1);
  const double = [...count].filter(([, n]) => n > 1).map(([name]) => name);
  const all = [...count.keys()];
  const expected = new Map(single.map(([name, address]) => [name, BigInt(address)]));
  const read = (from: KernelMemory, wanted: readonly string[]) =>
    symbolsFromTables(from, kernel.vmcoreinfo, wanted);

  test('the wanted ones, as /proc/kallsyms prints them', async () => {
    const found = await read(memory, WANTED_SYMBOLS);
    for (const [name, address] of kernel.symbols) expect(found?.get(name), name).toBe(address);
    for (const name of WANTED_SYMBOLS) expect(found?.has(name), name).toBe(kernel.symbols.has(name));
  });
  test('every recorded row, but names that occur twice', async () => {
    expect(single.length).toBeGreaterThan(500);
    expect(double.length).toBeGreaterThan(10);
    expect(await read(memory, all)).toEqual(expected);
  });
  test('names near others, and none', async () => {
    const near = single.flatMap(([name]) => [`${name}x`, name.slice(1)]).filter(name => !count.has(name));
    expect(await read(memory, [...near, '', '\0', 'ÿ'])).toEqual(new Map([[ANCHOR, expected.get(ANCHOR)]]));
  });
  test('without the rows by name all are looked at, with the same result', async () => {
    for (const filler of [0, 0xff, 1]) {
      const without = kallsymsTables(kernel);
      withoutOrder(without, filler);
      expect(await read(without.memory, all)).toEqual(expected);
    }
  });
  test('where the rows by name are kept (6.2 on), names are bisected', async () => {
    const { tables, memory: spoilt } = kallsymsTables(kernel);
    const table = tables.get('relative_base') ?? tables.get('offsets');
    const order = table?.data.subarray(-3 * recording.printed.length) ?? Buffer.alloc(0);
    const rows = Array.from({ length: order.length / 3 }, (_, i) => order.readUIntBE(i * 3, 3));
    const kept = new Set(rows).size === recording.printed.length;
    expect(kept).toBe(kernel.id !== '6.1');
    // A name in another place than its own is not met by bisection, and by reading all it is.
    const row = recording.printed.findIndex(([name]) => name === 'udmabuf_ops');
    if (kept) order.writeUIntBE(rows[0] ?? 0, rows.indexOf(row) * 3, 3);
    expect((await read(spoilt, ['udmabuf_ops']))?.has('udmabuf_ops')).toBe(!kept);
  });
  // On 6.1 the other tables lie in the first MiB behind the names, where this test puts longer ones.
  const chunked = kernel.id === '6.1' ? [] : [kernel.id];
  test.each(chunked)('names in chunks that end anywhere, on %s', async () => {
    // The table moves so that the border of the first chunk of 1 MiB lies in it.
    for (let tokens = 200; tokens < 240; tokens += 3) {
      const moved = kallsymsTables(kernel);
      const names = moved.tables.get('names');
      if (!names) throw new Error('no names');
      // Long names in front of the real ones, up to the last that fits.
      const row = Buffer.from([(tokens & 0x7f) | 0x80, tokens >>> 7, ...Array<number>(tokens).fill(65)]);
      const rows = Math.floor((1 << 20) / row.length);
      names.data = Buffer.concat([Buffer.alloc(rows * row.length, row), names.data]);
      shift(moved, rows, recording.printed.length);
      expect((await read(moved.memory, ['udmabuf_ops']))?.get('udmabuf_ops')).toBe(
        expected.get('udmabuf_ops'),
      );
    }
  });
  test.each([4, 8])(
    'with the markers of every 256th name, at multiples of %i, names are not walked',
    async align => {
      const chunk = 1 << 20;
      for (const spoil of ['not', 'first', 'order', 'end']) {
        const { memory: marked, info, markers } = withMarkers(kernel, align);
        if (spoil === 'first') markers.writeUInt32LE(1, 0);
        if (spoil === 'order') markers.writeUInt32LE(markers.readUInt32LE(0), 4);
        if (spoil === 'end') markers.writeUInt32LE(0x7fff_ffff, 8);
        const asked: number[] = [];
        const watched: KernelMemory = {
          read: ranges => {
            asked.push(...ranges.map(({ bytes }) => bytes));
            return marked.read(ranges);
          },
        };
        expect(await symbolsFromTables(watched, info, all), spoil).toEqual(expected);
        expect(asked.includes(chunk), spoil).toBe(spoil !== 'not');
      }
    },
  );
  test('where VMCOREINFO does not name the tables', async () => {
    for (const key of ['kallsyms_names', 'kallsyms_num_syms', 'kallsyms_offsets', ANCHOR]) {
      const info = new Map(kernel.vmcoreinfo);
      info.delete(`SYMBOL(${key})`);
      expect(await symbolsFromTables(memory, info, [])).toBeUndefined();
      info.set(`SYMBOL(${key})`, 'garbage');
      expect(await symbolsFromTables(memory, info, [])).toBeUndefined();
    }
    expect(await symbolsFromTables(memory, new Map(), [])).toBeUndefined();
  });
  test('tables elsewhere, or none', async () => {
    for (const key of ['names', 'num_syms', 'token_table', 'token_index', 'offsets']) {
      const info = new Map(kernel.vmcoreinfo).set(`SYMBOL(kallsyms_${key})`, 'ffff000000001000');
      await expect(symbolsFromTables(memory, info, []), key).rejects.toThrow(ParseError);
    }
    const moved = new Map(kernel.vmcoreinfo).set(`SYMBOL(${ANCHOR})`, 'ffff000000001000');
    await expect(symbolsFromTables(memory, moved, [])).rejects.toThrow(/init_uts_ns at 0xffff000000001000/);
  });
  test('a count that is none', async () => {
    for (const value of [0, 4_000_001, 0xffff_ffff, recording.printed.length + 1]) {
      const tables = kallsymsTables(kernel);
      tables.tables.get('num_syms')?.data.writeUInt32LE(value);
      await expect(read(tables.memory, []), String(value)).rejects.toThrow(ParseError);
    }
  });
  test('damaged tables: symbols with the anchor at its place, or a ParseError, at once', async () => {
    const names = [...kallsymsTables(kernel).tables.keys()];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), corruption, async (name, damage) => {
        const tables = kallsymsTables(kernel);
        const table = tables.tables.get(name);
        if (table) table.data = corrupted(table.data, damage);
        const started = cpuMs();
        try {
          const found = await read(tables.memory, WANTED_SYMBOLS);
          expect(found?.get(ANCHOR)).toBe(expected.get(ANCHOR));
          expect(
            [...(found ?? [])].every(([key]) => key === ANCHOR || WANTED_SYMBOLS.includes(key as never)),
          ).toBe(true);
        } catch (error) {
          if (!(error instanceof ParseError)) throw error;
        }
        expect(cpuMs() - started).toBeLessThan(3000);
      }),
      { numRuns: 150 },
    );
  });
});

/** The tables with kallsyms_markers between names and tokens, as scripts/kallsyms.c lays them. */
function withMarkers(kernel: RecordedKernel, align: number) {
  const { recording, tables, memory } = kallsymsTables(kernel);
  const [names, tokens] = [tables.get('names'), tables.get('token_table')];
  if (!names || !tokens) throw new Error('no names');
  const count = recording.printed.length;
  const markers = Buffer.alloc(Math.ceil((Math.ceil(count / 256) * 4) / align) * align);
  let at = 0;
  for (let row = 0; row < count; row++) {
    if (row % 256 === 0) markers.writeUInt32LE(at, row / 64);
    const first = names.data[at] ?? 0;
    at += first & 0x80 ? 2 + ((first & 0x7f) | ((names.data[at + 1] ?? 0) << 7)) : 1 + first;
  }
  const padding = Buffer.alloc(-at & (align - 1));
  names.data = Buffer.concat([names.data, padding]);
  const markersAt = names.address + BigInt(names.data.length);
  tables.set('markers', { address: markersAt, data: markers });
  tables.set('token_table', { address: markersAt + BigInt(markers.length), data: tokens.data });
  const info = new Map(kernel.vmcoreinfo);
  info.set('SYMBOL(kallsyms_token_table)', (markersAt + BigInt(markers.length)).toString(16));
  return { memory, info, markers };
}

/** Fills the rows by name with a value that makes no order. */
function withoutOrder({ recording, tables }: KallsymsTables, filler: number): void {
  const table = tables.get('relative_base') ?? tables.get('offsets');
  table?.data.fill(filler, table.data.length - 3 * recording.printed.length);
}

/** Puts `rows` more in front of all, and with them takes the rows by name away. */
function shift({ tables }: KallsymsTables, rows: number, count: number): void {
  tables.get('num_syms')?.data.writeUInt32LE(rows + count);
  const offsets = tables.get('offsets');
  const base = tables.get('relative_base');
  if (!offsets) throw new Error('no offsets');
  const entries = offsets.data.subarray(0, count * 4);
  const moved = Buffer.concat([Buffer.alloc(rows * 4), entries]);
  if (base) base.data = base.data.subarray(0, 8);
  // Without a base an entry counts from where it lies.
  else
    for (let i = 0; i < count; i++)
      moved.writeInt32LE((entries.readInt32LE(i * 4) - rows * 4) | 0, (rows + i) * 4);
  offsets.data = moved;
}

describe('tables by hand', () => {
  /** Token i is the character i; a name is its type letter and itself. */
  const tables = (
    names: readonly string[],
    addresses: readonly bigint[],
  ): { memory: KernelMemory; info: Map<string, string> } => {
    const base = 0xffff_ffff_8000_0000n;
    const table = Buffer.concat(Array.from({ length: 256 }, (_, i) => Buffer.from([i === 0 ? 1 : i, 0])));
    const index = Buffer.alloc(512);
    for (let i = 0; i < 256; i++) index.writeUInt16LE(i * 2, i * 2);
    const encoded = names.map(name => {
      const text = Buffer.from(`T${name}`, 'latin1');
      const length = text.length < 128 ? [text.length] : [(text.length & 0x7f) | 0x80, text.length >>> 7];
      return Buffer.concat([Buffer.from(length), text]);
    });
    const offsets = Buffer.alloc(names.length * 4);
    for (const [i, address] of addresses.entries()) offsets.writeUInt32LE(Number(address - base), i * 4);
    const number = (value: bigint, bytes: number) => {
      const data = Buffer.alloc(8);
      data.writeBigUInt64LE(value);
      return data.subarray(0, bytes);
    };
    const parts: Record<string, Buffer> = {
      kallsyms_names: Buffer.concat([...encoded, Buffer.alloc(2 << 20)]),
      kallsyms_num_syms: number(BigInt(names.length), 4),
      kallsyms_token_table: Buffer.concat([table, Buffer.alloc(16384)]),
      kallsyms_token_index: index,
      kallsyms_offsets: offsets,
      kallsyms_relative_base: number(base, 8),
    };
    const placed = Object.entries(parts).map(([name, data], i) => ({
      name,
      data,
      at: 0xffff_ffff_9000_0000n + BigInt(i << 24),
    }));
    const info = new Map(placed.map(({ name, at }) => [`SYMBOL(${name})`, at.toString(16)]));
    info.set(`SYMBOL(${ANCHOR})`, (addresses[names.indexOf(ANCHOR)] ?? 0n).toString(16));
    return {
      info,
      memory: {
        read: async ranges =>
          ranges.map(({ address, bytes }) => {
            const part = placed.find(
              ({ at, data }) => address >= at && address + BigInt(bytes) <= at + BigInt(data.length),
            );
            return (
              part &&
              new Uint8Array(part.data.subarray(Number(address - part.at), Number(address - part.at) + bytes))
            );
          }),
      },
    };
  };

  test('names of 127, 128 and 600 tokens', async () => {
    const names = ['a'.repeat(126), 'b'.repeat(127), 'c'.repeat(599), ANCHOR];
    const addresses = [1n, 2n, 3n, 4n].map(i => 0xffff_ffff_8000_0000n + i * 16n);
    const { memory, info } = tables(names, addresses);
    expect(await symbolsFromTables(memory, info, names)).toEqual(
      new Map(names.map((name, i) => [name, addresses[i]])),
    );
  });
  test('a name three times is left out', async () => {
    const base = 0xffff_ffff_8000_0000n;
    const { memory, info } = tables(
      ['same', 'same', ANCHOR, 'same', 'other'],
      [base, base + 1n, base + 2n, base + 3n, base + 4n],
    );
    expect(await symbolsFromTables(memory, info, ['same', 'other'])).toEqual(
      new Map([
        [ANCHOR, base + 2n],
        ['other', base + 4n],
      ]),
    );
  });
});
