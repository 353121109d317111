/** A recorded excerpt of a kernel's symbol tables, as memory. Made by rig/guest/record-kallsyms.ts. */
import type { KernelMemory, MemoryRange } from '../model/kernel/memory.ts';
import type { RecordedKernel } from './kernel-recording.ts';

/** Tables in base64, addresses as `0x…`. */
export interface RecordedKallsyms {
  /** Of the tables, by their name without `kallsyms_`. */
  readonly addresses: Readonly<Record<string, string>>;
  readonly tokenTable: string;
  readonly tokenIndex: string;
  readonly names: string;
  readonly offsets: string;
  /** `null`: the kernel has none, and offsets count from where they lie. */
  readonly relativeBase: string | null;
  /** What lies behind `relative_base`, or behind `offsets` without one: the rows by name, where the kernel has that. */
  readonly order: string;
  /** Name and address of every row by /proc/kallsyms. */
  readonly printed: readonly (readonly [name: string, address: string])[];
}

export interface KallsymsTables {
  readonly recording: RecordedKallsyms;
  /** By their name without `kallsyms_`; free to be changed. */
  readonly tables: Map<string, { readonly address: bigint; data: Buffer }>;
  readonly memory: KernelMemory;
}

/** The tables of a recorded kernel. Behind each table its memory goes on with zeros; elsewhere there is none. */
export function kallsymsTables(kernel: RecordedKernel): KallsymsTables {
  const recording = JSON.parse(kernel.unpacked('kallsyms.json.gz').toString()) as RecordedKallsyms;
  const count = Buffer.alloc(4);
  count.writeUInt32LE(recording.printed.length);
  const base = Buffer.alloc(8);
  base.writeBigUInt64LE(BigInt(recording.relativeBase ?? 0));
  const decoded = (text: string) => Buffer.from(text, 'base64');
  const contents: Readonly<Record<string, Buffer>> = {
    names: decoded(recording.names),
    num_syms: count,
    token_table: decoded(recording.tokenTable),
    token_index: decoded(recording.tokenIndex),
    ...(recording.relativeBase === null
      ? { offsets: Buffer.concat([decoded(recording.offsets), decoded(recording.order)]) }
      : {
          offsets: decoded(recording.offsets),
          relative_base: Buffer.concat([base, decoded(recording.order)]),
        }),
  };
  const tables = new Map(
    Object.entries(contents).map(([name, data]) => [
      name,
      { address: BigInt(recording.addresses[name] ?? 0), data },
    ]),
  );
  const read = ({ address, bytes }: MemoryRange): Uint8Array | undefined => {
    for (const table of tables.values()) {
      const at = address - table.address;
      if (at < 0n || at >= BigInt(table.data.length)) continue;
      const out = new Uint8Array(bytes);
      out.set(table.data.subarray(Number(at), Number(at) + bytes));
      return out;
    }
    return undefined;
  };
  return { recording, tables, memory: { read: async ranges => ranges.map(read) } };
}
