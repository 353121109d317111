/** CRC-32 as gzip has it (RFC 1952, section 8), a table of 256 entries. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1;
  return value >>> 0;
});

/**
 * CRC-32 of a text whose characters are bytes (below 256); of what follows an earlier text, when that one's is given.
 * @param from the CRC of the text before, 0 for none
 */
export function crc32(text: string, from = 0): number {
  let crc = ~from;
  for (let i = 0; i < text.length; i++) {
    crc = (TABLE[(crc ^ text.charCodeAt(i)) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** The same of bytes. */
export function crc32OfBytes(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
