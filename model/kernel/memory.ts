/**
 * Kernel memory, as the walk needs it. The sampler implements it on /proc/kcore; tests on recorded memory.
 * Addresses are kernel virtual, bytes little-endian. Memory that is not mapped, or went away, is `undefined`: a walk of
 * live lists meets that as a race, not as an error.
 */
export interface KernelMemory {
  /** Fresh bytes of every range, in order. Throws only when the source as a whole fails (no permission, closed). */
  read(ranges: readonly MemoryRange[]): Promise<(Uint8Array | undefined)[]>;
}
export interface MemoryRange {
  readonly address: bigint;
  readonly bytes: number;
}

const PAGE = 4096n;

/**
 * Reads whole pages and keeps them, for following pointers: neighbours in a list lie in few slab pages, and a kcore read of
 * 4 KiB costs what one of 24 bytes does. What it returns may be as old as the object itself, so make a new one for every
 * walk and verify through fresh reads.
 */
export class PageCache {
  private readonly pages = new Map<bigint, Promise<Uint8Array | undefined>>();
  constructor(private readonly memory: KernelMemory) {}

  async read(address: bigint, bytes: number): Promise<Uint8Array | undefined> {
    const first = address / PAGE;
    const last = (address + BigInt(bytes) - 1n) / PAGE;
    if (first === last) {
      const page = await this.page(first);
      const at = Number(address % PAGE);
      return page?.subarray(at, at + bytes);
    }
    const [whole] = await this.memory.read([{ address, bytes }]);
    return whole;
  }

  private page(number: bigint): Promise<Uint8Array | undefined> {
    let page = this.pages.get(number);
    if (!page) {
      page = this.memory.read([{ address: number * PAGE, bytes: Number(PAGE) }]).then(([data]) => data);
      this.pages.set(number, page);
    }
    return page;
  }
}
