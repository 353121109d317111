/** Little-endian reads from kernel memory. Every kernel that has udmabuf and that we read is little-endian. */

export function u32(data: Uint8Array, at: number): number {
  return (
    ((data[at] ?? 0) |
      ((data[at + 1] ?? 0) << 8) |
      ((data[at + 2] ?? 0) << 16) |
      ((data[at + 3] ?? 0) << 24)) >>>
    0
  );
}

export function u64(data: Uint8Array, at: number): bigint {
  return (BigInt(u32(data, at + 4)) << 32n) | BigInt(u32(data, at));
}

/** A u64 that must fit a number (sizes, counts, inode numbers); `undefined` beyond 2^53. */
export function safeU64(data: Uint8Array, at: number): number | undefined {
  const value = u32(data, at + 4) * 0x1_0000_0000 + u32(data, at);
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * The same bytes as 32-bit words, for loops over many: one load each, where {@link u32} takes four. Copies only what lies askew
 * in its buffer; bytes behind the last whole word are left out.
 */
export function wordsOf(data: Uint8Array): Uint32Array {
  const aligned = data.byteOffset % 4 === 0 ? data : new Uint8Array(data);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 2);
}

/** Bytes as text, one character a byte. In chunks: argument lists have a limit; `apply` because spreading is 5 times slower. */
export function latin1(data: Uint8Array): string {
  let text = '';
  for (let at = 0; at < data.length; at += 8192) {
    const chunk = data.subarray(at, at + 8192);
    text += String.fromCharCode.apply(null, chunk as unknown as number[]);
  }
  return text;
}

/** The text up to the first NUL, as latin1; `undefined` when none ends it. */
export function cString(data: Uint8Array, at = 0): string | undefined {
  const end = data.indexOf(0, at);
  return end < 0 ? undefined : latin1(data.subarray(at, end));
}
