import { wordsOf } from './bytes.ts';

/**
 * Kernel memory, as the walk needs it. The sampler implements it on /proc/kcore; tests on recorded memory.
 * Addresses are kernel virtual, bytes little-endian. Memory that is not mapped, or went away, is `undefined`: a walk of
 * live lists meets that as a race, not as an error.
 */
export interface KernelMemory {
  /**
   * Fresh bytes of every range, in order. Throws only when the source as a whole fails (no permission, closed).
   * @param into may be used for the bytes, if all ranges fit; what an earlier call returned from it is then overwritten
   */
  read(ranges: readonly MemoryRange[], into?: Uint8Array): Promise<(Uint8Array | undefined)[]>;
}
export interface MemoryRange {
  readonly address: bigint;
  readonly bytes: number;
}

const PAGE_BYTES = 4096;
/** Pages read at once: slab pages of objects that were made together lie together. */
const WINDOW = 16;

/**
 * Reads whole pages and keeps them, for following pointers: neighbours in a list lie in few slab pages, and a kcore read of
 * 4 KiB costs what one of 24 bytes does. Pages go by number (address / 4096, which a `number` holds exactly), because BigInt
 * arithmetic would cost more than the walk. What it returns may be as old as the object itself, so make a new one for every
 * walk and verify through fresh reads.
 */
export class PageCache {
  private readonly pages = new Map<number, Uint8Array | null>();
  private readonly words = new Map<number, Uint32Array>();
  constructor(private readonly memory: KernelMemory) {}

  /** The page as words, if it was loaded; `null` if it cannot be read. */
  peekWords(page: number): Uint32Array | null | undefined {
    let words = this.words.get(page);
    if (words === undefined) {
      const data = this.pages.get(page);
      if (!data) return data;
      words = wordsOf(data);
      this.words.set(page, words);
    }
    return words;
  }

  /** Loads a page with its neighbours. */
  async load(page: number): Promise<Uint8Array | null> {
    const first = page - (page % WINDOW);
    const read = await this.memory.read(
      Array.from({ length: WINDOW }, (_, i) => ({ address: pageAddress(first + i), bytes: PAGE_BYTES })),
    );
    for (let i = 0; i < WINDOW; i++) {
      if (!this.pages.has(first + i)) this.pages.set(first + i, read[i] ?? null);
    }
    return this.pages.get(page) ?? null;
  }

  async read(address: bigint, bytes: number): Promise<Uint8Array | undefined> {
    const at = Number(address & 0xfffn);
    if (at + bytes > PAGE_BYTES) {
      const [whole] = await this.memory.read([{ address, bytes }]);
      return whole;
    }
    const page = Number(address >> 12n);
    const data = this.pages.get(page) ?? (await this.load(page));
    return data?.subarray(at, at + bytes);
  }
}

export const pageAddress = (page: number): bigint => BigInt(page) << 12n;
