import type { KernelMemory, MemoryRange } from '../model/kernel/memory.ts';
import type { KernelImage } from './kernel-image.ts';

/** Kernel memory that changes while it is read: `before` is called ahead of each call of `read`, with its number from 0. */
export class RacingMemory implements KernelMemory {
  calls = 0;
  constructor(
    readonly image: KernelImage,
    private readonly before: (call: number, ranges: readonly MemoryRange[], image: KernelImage) => void,
  ) {}

  async read(ranges: readonly MemoryRange[]): Promise<(Uint8Array | undefined)[]> {
    this.before(this.calls++, ranges, this.image);
    return this.image.read(ranges);
  }
}
