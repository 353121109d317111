/**
 * The guest's side of virtio-balloon (Virtio 1.2, section 5.5): pages given to the host are discarded by QEMU.
 */
import type { Qtest } from './qtest.ts';
import { VirtioDevice } from './virtio.ts';

const queue = { inflate: 0, deflate: 1 } as const;

export class VirtioBalloon extends VirtioDevice {
  private constructor(qtest: Qtest, slot: number, piece: number) {
    super(qtest, { slot, piece, features: 0, queues: 2 });
  }

  /** Starts the device in PCI slot `slot`, with its rings at `piece` (see `virtioPieceBytes`). */
  static async open(qtest: Qtest, slot: number, piece: number): Promise<VirtioBalloon> {
    const balloon = new VirtioBalloon(qtest, slot, piece);
    await balloon.start();
    return balloon;
  }

  /**
   * Gives 4 KiB guest pages to the host, in one message. On a 2 MiB hugetlb backend QEMU discards a huge page only
   * when all its 512 pages come in one message.
   * @param frames guest physical addresses divided by 4096
   */
  async inflate(frames: readonly number[]): Promise<void> {
    await this.exchange(queue.inflate, frameNumbers(frames), 0);
  }

  /** Takes pages back. */
  async deflate(frames: readonly number[]): Promise<void> {
    await this.exchange(queue.deflate, frameNumbers(frames), 0);
  }
}

function frameNumbers(frames: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * frames.length);
  frames.forEach((frame, index) => {
    bytes.writeUInt32LE(frame, 4 * index);
  });
  return bytes;
}
