/**
 * Recorded kernel memory: pages of 4 KiB by address. A page is there if any of it was looked at when it was recorded; what
 * was not looked at in it reads as zeros.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import type { KernelMemory, MemoryRange } from '../model/kernel/memory.ts';

const PAGE_BYTES = 4096;

export class KernelImage implements KernelMemory {
  constructor(
    /** By page number (address / 4096). */
    readonly pages: Map<bigint, Uint8Array> = new Map(),
  ) {}

  static decode(gz: Uint8Array): KernelImage {
    const data = gunzipSync(gz);
    const pages = new Map<bigint, Uint8Array>();
    for (let at = 0; at < data.length; at += 8 + PAGE_BYTES) {
      pages.set(data.readBigUInt64LE(at), new Uint8Array(data.subarray(at + 8, at + 8 + PAGE_BYTES)));
    }
    return new KernelImage(pages);
  }

  encode(): Buffer {
    const numbers = [...this.pages.keys()].sort((a, b) => (a < b ? -1 : 1));
    const parts = numbers.flatMap(number => {
      const head = Buffer.alloc(8);
      head.writeBigUInt64LE(number);
      return [head, this.pages.get(number) ?? Buffer.alloc(PAGE_BYTES)];
    });
    return gzipSync(Buffer.concat(parts), { level: 9 });
  }

  /** A copy whose bytes may be changed. */
  clone(): KernelImage {
    return new KernelImage(new Map([...this.pages].map(([number, data]) => [number, data.slice()])));
  }

  async read(ranges: readonly MemoryRange[]): Promise<(Uint8Array | undefined)[]> {
    return ranges.map(({ address, bytes }) => this.bytes(address, bytes));
  }

  /** A copy of a range; `undefined` where it is not wholly recorded. */
  bytes(address: bigint, bytes: number): Uint8Array | undefined {
    // A huge range of a damaged pointer must not be allocated before it is known to be there.
    if (bytes > this.pages.size * PAGE_BYTES) return undefined;
    const out = new Uint8Array(bytes);
    for (let done = 0; done < bytes; ) {
      const at = address + BigInt(done);
      const page = this.pages.get(at >> 12n);
      if (!page) return undefined;
      const inPage = Number(at & 0xfffn);
      const piece = page.subarray(inPage, inPage + bytes - done);
      out.set(piece, done);
      done += piece.length;
    }
    return out;
  }

  /** Overwrites bytes, in pages that exist. */
  write(address: bigint, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const at = address + BigInt(done);
      const inPage = Number(at & 0xfffn);
      const piece = data.subarray(done, done + PAGE_BYTES - inPage);
      this.pages.get(at >> 12n)?.set(piece, inPage);
      done += piece.length;
    }
  }

  writeU64(address: bigint, value: bigint): void {
    const data = Buffer.alloc(8);
    data.writeBigUInt64LE(BigInt.asUintN(64, value));
    this.write(address, data);
  }

  readU64(address: bigint): bigint {
    const data = this.bytes(address, 8);
    if (!data) throw new Error(`0x${address.toString(16)} was not recorded`);
    return Buffer.from(data).readBigUInt64LE();
  }
}

/**
 * Kernel memory that keeps what is read of it, but for the whole pages that lists are followed in: of those only a part is
 * looked at, and the rest is nobody's business. That part is for {@link keep}.
 */
export class RecordingMemory implements KernelMemory {
  readonly image = new KernelImage();
  constructor(private readonly source: KernelMemory) {}

  async read(ranges: readonly MemoryRange[]): Promise<(Uint8Array | undefined)[]> {
    const read = await this.source.read(ranges);
    if (!isWindow(ranges)) for (const [i, { address }] of ranges.entries()) this.put(address, read[i]);
    return read;
  }

  /** Reads and keeps. */
  async keep(address: bigint, bytes: number): Promise<Uint8Array> {
    const [data] = await this.source.read([{ address, bytes }]);
    if (!data) throw new Error(`no kernel memory at 0x${address.toString(16)}`);
    this.put(address, data);
    return data;
  }

  private put(address: bigint, data: Uint8Array | undefined): void {
    if (!data || data.length === 0) return;
    for (let page = address >> 12n; page <= (address + BigInt(data.length) - 1n) >> 12n; page++) {
      if (!this.image.pages.has(page)) this.image.pages.set(page, new Uint8Array(PAGE_BYTES));
    }
    this.image.write(address, data);
  }
}

/** Neighbouring pages in one call: PageCache of model/kernel/memory.ts. Other neighbours would be one range. */
function isWindow(ranges: readonly MemoryRange[]): boolean {
  const [first] = ranges;
  return (
    first !== undefined &&
    ranges.length > 1 &&
    ranges.every(
      ({ address, bytes }, i) => bytes === PAGE_BYTES && address === first.address + BigInt(i * PAGE_BYTES),
    )
  );
}
