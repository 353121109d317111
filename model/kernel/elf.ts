import { ParseError } from '../parse-error.ts';
import { cString, safeU64, u32, u64 } from './bytes.ts';

/*
 * The head of /proc/kcore (fs/proc/kcore.c read_kcore_iter): an ELF64 core whose PT_LOAD segments say which file offset
 * holds which kernel address, and whose PT_NOTE carries VMCOREINFO (kernel/vmcore_info.c), a text of `KEY=value` lines.
 */

const PT_LOAD = 1;
const PT_NOTE = 4;
const EHDR_BYTES = 64;
const PHDR_BYTES = 56;

export interface Segment {
  readonly address: bigint;
  readonly offset: bigint;
  readonly bytes: bigint;
}
export interface CoreHeader {
  readonly segments: readonly Segment[];
  /** VMCOREINFO lines, key → text; empty when the core carries none. */
  readonly vmcoreinfo: ReadonlyMap<string, string>;
}

/** How many bytes of the file {@link parseCoreHeader} wants: headers and notes lie in front of all memory. */
export const CORE_HEADER_BYTES = 256 * 1024;

/**
 * @param data the first {@link CORE_HEADER_BYTES} of the file (fewer if it is shorter)
 * @throws ParseError for anything but a little-endian ELF64 core with at least one PT_LOAD
 */
export function parseCoreHeader(data: Uint8Array): CoreHeader {
  const fail = (expected: string, found: string) => new ParseError('kcore', expected, found, 0);
  if (data.length < EHDR_BYTES || u32(data, 0) !== 0x464c457f)
    throw fail('an ELF header', `${data.length} bytes`);
  if (data[4] !== 2 || data[5] !== 1)
    throw fail('64-bit little-endian ELF', `class ${data[4]}, data ${data[5]}`);
  const tableAt = safeU64(data, 32);
  const entryBytes = (data[54] ?? 0) | ((data[55] ?? 0) << 8);
  const count = (data[56] ?? 0) | ((data[57] ?? 0) << 8);
  if (entryBytes !== PHDR_BYTES) throw fail('program headers of 56 bytes', `${entryBytes}`);
  if (tableAt === undefined || tableAt + count * PHDR_BYTES > data.length) {
    throw fail('the program headers in the first 256 KiB', `${count} at ${tableAt}`);
  }
  const segments: Segment[] = [];
  let vmcoreinfo: ReadonlyMap<string, string> = new Map();
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * PHDR_BYTES;
    const type = u32(data, at);
    if (type === PT_LOAD) {
      segments.push({ offset: u64(data, at + 8), address: u64(data, at + 16), bytes: u64(data, at + 32) });
    } else if (type === PT_NOTE) {
      const start = safeU64(data, at + 8) ?? data.length;
      const bytes = safeU64(data, at + 32) ?? 0;
      vmcoreinfo = findVmcoreinfo(data.subarray(start, start + bytes));
    }
  }
  if (segments.length === 0) throw fail('a PT_LOAD segment', 'none');
  return { segments, vmcoreinfo };
}

function findVmcoreinfo(notes: Uint8Array): ReadonlyMap<string, string> {
  // Not `& ~3`, which makes lengths past 2^31 negative.
  const padded = (n: number) => Math.ceil(n / 4) * 4;
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameBytes = u32(notes, at);
    const dataBytes = u32(notes, at + 4);
    const name = cString(notes.subarray(at + 12, at + 12 + nameBytes));
    const dataAt = at + 12 + padded(nameBytes);
    if (name === 'VMCOREINFO') {
      const end = Math.min(dataAt + dataBytes, notes.length);
      let text = '';
      for (let i = dataAt; i < end && notes[i] !== 0; i++) text += String.fromCharCode(notes[i] ?? 0);
      return new Map(
        text.split('\n').flatMap((line): [string, string][] => {
          const equals = line.indexOf('=');
          return equals > 0 ? [[line.slice(0, equals), line.slice(equals + 1)]] : [];
        }),
      );
    }
    at = dataAt + padded(dataBytes);
  }
  return new Map();
}

/** File offset of `bytes` bytes at a kernel address; `undefined` when no segment holds them all. */
export function fileOffset(segments: readonly Segment[], address: bigint, bytes: number): bigint | undefined {
  for (const segment of segments) {
    if (address >= segment.address && address + BigInt(bytes) <= segment.address + segment.bytes) {
      return segment.offset + (address - segment.address);
    }
  }
  return undefined;
}
