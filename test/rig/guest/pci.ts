/**
 * PCI devices on bus 0 of QEMU's `pc` machine, through configuration mechanism 1 (ports 0xcf8 and 0xcfc). Does what
 * the firmware would: sizes and places the memory BARs and switches the device on.
 */
import type { Qtest } from './qtest.ts';

/** Start of the memory that `pc` always leaves to PCI, whatever the size of its RAM. */
const pciHole = 0xe000_0000;
/** Room for the BARs of one device. */
const devicePiece = 0x40_0000;

const config = { command: 0x04, bars: 0x10, capabilities: 0x34 } as const;
const memoryAndMaster = 0x6;

export interface PciCapability {
  /** Offset in configuration space. */
  readonly offset: number;
  readonly id: number;
}

export class PciDevice {
  readonly #qtest: Qtest;
  readonly slot: number;

  constructor(qtest: Qtest, slot: number) {
    this.#qtest = qtest;
    this.slot = slot;
  }

  async readConfig(offset: number, width: 1 | 2 | 4): Promise<number> {
    await this.#select(offset);
    return await this.#qtest.in(0xcfc + (offset & 3), width);
  }

  async writeConfig(offset: number, value: number, width: 1 | 2 | 4): Promise<void> {
    await this.#select(offset);
    await this.#qtest.out(0xcfc + (offset & 3), value, width);
  }

  /** Vendor in the low 16 bits, device above; 0xffffffff where the slot is empty. */
  identity(): Promise<number> {
    return this.readConfig(0, 4);
  }

  /**
   * Gives every memory BAR an address, each aligned to its size, and enables the device.
   * @returns guest physical address by BAR number
   */
  async placeBars(): Promise<Map<number, number>> {
    const placed = new Map<number, number>();
    let next = pciHole + this.slot * devicePiece;
    for (let bar = 0; bar < 6; bar++) {
      const offset = config.bars + 4 * bar;
      await this.writeConfig(offset, 0xffff_ffff, 4);
      const probe = await this.readConfig(offset, 4);
      const isIo = (probe & 1) !== 0;
      if (probe === 0 || isIo) continue;
      const wide = (probe & 6) === 4;
      const size = (~(probe & ~0xf) >>> 0) + 1;
      next = Math.ceil(next / size) * size;
      await this.writeConfig(offset, next, 4);
      if (wide) await this.writeConfig(offset + 4, 0, 4);
      placed.set(bar, next);
      next += size;
      if (wide) bar++;
    }
    await this.writeConfig(config.command, memoryAndMaster, 2);
    return placed;
  }

  /** The capability list, in its order. */
  async capabilities(): Promise<PciCapability[]> {
    const found: PciCapability[] = [];
    let offset = await this.readConfig(config.capabilities, 1);
    // 48 capabilities fill the space; a longer list is a loop.
    while (offset !== 0 && found.length < 48) {
      found.push({ offset, id: await this.readConfig(offset, 1) });
      offset = await this.readConfig(offset + 1, 1);
    }
    return found;
  }

  #select(offset: number): Promise<void> {
    return this.#qtest.out(0xcf8, (0x8000_0000 | (this.slot << 11) | (offset & ~3)) >>> 0, 4);
  }
}
