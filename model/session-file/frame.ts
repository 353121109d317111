/**
 * A frame of a session file: one gzip member (RFC 1952), whose header carries an extra field, so that a reader finds frames
 * without inflating what lies between, and after damage.
 */
import { crc32OfBytes } from './crc32.ts';

/** What the extra field of a frame's header says. */
export interface FrameHead {
  /** Number of the frame's first sample in the file, from 0. */
  readonly sample: number;
  /** Number of the frame's first line in the file, from 0. */
  readonly line: number;
  /** When the frame's first sample was taken, milliseconds since 1970. */
  readonly time: number;
  /** When the sample before that was taken; `null` in the file's first frame. */
  readonly timeBefore: number | null;
}

/** A frame as it lies in a file. */
export interface FoundFrame extends FrameHead {
  /** First byte of the member. */
  readonly offset: number;
  /** First byte of its deflate stream. */
  readonly data: number;
  /** First byte after it: where the next frame begins, or the file ends. */
  readonly end: number;
}

/** Fixed part of the header, XLEN, subfield id and length: RFC 1952, sections 2.3 and 2.3.1. */
const FIXED = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
/** Subfield `PS`: version, three zeroes, sample, line, time, time before (0: none), CRC-32 of the bytes before it. */
const FIELD_BYTES = 32;
const SUBFIELD = ['P'.charCodeAt(0), 'S'.charCodeAt(0)];
const EXTRA = [FIELD_BYTES + 4, 0, ...SUBFIELD, FIELD_BYTES, 0];
export const HEAD_BYTES = FIXED.length + EXTRA.length + FIELD_BYTES;
const FIELD_VERSION = 1;

/** The header of a frame's gzip member. */
export function frameHead({ sample, line, time, timeBefore }: FrameHead): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES);
  bytes.set([...FIXED, ...EXTRA, FIELD_VERSION]);
  const field = HEAD_BYTES - FIELD_BYTES;
  const view = new DataView(bytes.buffer);
  view.setUint32(field + 4, sample, true);
  view.setUint32(field + 8, line, true);
  view.setFloat64(field + 12, time, true);
  view.setFloat64(field + 20, timeBefore ?? 0, true);
  view.setUint32(field + 28, crc32OfBytes(bytes.subarray(0, HEAD_BYTES - 4)), true);
  return bytes;
}

/** The end of a frame's gzip member: CRC-32 and length of what was compressed. */
export function frameTail(crc: number, length: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, crc, true);
  view.setUint32(4, length >>> 0, true);
  return bytes;
}

/**
 * All frames of a file whose headers are whole, in order. Bytes that belong to no frame are left out; a header whose own CRC is
 * wrong makes its frame part of the one before, which ends where its deflate stream does.
 */
export function findFrames(bytes: Uint8Array): FoundFrame[] {
  const starts: { readonly offset: number; readonly head: FrameHead }[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = bytes.indexOf(0x1f); at >= 0; at = bytes.indexOf(0x1f, at + 1)) {
    const head = headAt(bytes, view, at);
    if (head !== null) starts.push({ offset: at, head });
  }
  return starts.map(({ offset, head }, i) => ({
    ...head,
    offset,
    data: offset + HEAD_BYTES,
    end: starts[i + 1]?.offset ?? bytes.length,
  }));
}

function headAt(bytes: Uint8Array, view: DataView, at: number): FrameHead | null {
  if (at + HEAD_BYTES > bytes.length) return null;
  const expected = [...FIXED, ...EXTRA];
  // The magic first: it differs in nearly every place.
  if (bytes[at + 1] !== FIXED[1] || bytes[at + 2] !== FIXED[2] || bytes[at + 3] !== FIXED[3]) return null;
  if (expected.some((byte, i) => bytes[at + i] !== byte)) return null;
  const field = at + HEAD_BYTES - FIELD_BYTES;
  const crc = crc32OfBytes(bytes.subarray(at, at + HEAD_BYTES - 4));
  if (bytes[field] !== FIELD_VERSION || view.getUint32(field + 28, true) !== crc) return null;
  const before = view.getFloat64(field + 20, true);
  return {
    sample: view.getUint32(field + 4, true),
    line: view.getUint32(field + 8, true),
    time: view.getFloat64(field + 12, true),
    timeBefore: before === 0 ? null : before,
  };
}
