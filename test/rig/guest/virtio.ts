/**
 * A modern virtio-pci device and its split virtqueues (Virtio 1.2, sections 2.7 and 4.1), driven from outside the
 * guest. Rings and messages lie in guest RAM, in a piece that the caller gives to the device.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PciDevice } from './pci.ts';
import type { Qtest } from './qtest.ts';

const vendorVirtio = 0x1af4;
const capabilityVendor = 0x09;
const capabilityKind = { common: 1, notify: 2 } as const;

/** Offsets in the common configuration. */
const common = {
  deviceFeatureSelect: 0,
  deviceFeature: 4,
  driverFeatureSelect: 8,
  driverFeature: 12,
  status: 20,
  queueSelect: 22,
  queueSize: 24,
  queueEnable: 28,
  queueNotifyOffset: 30,
  queueDescriptors: 32,
  queueAvailable: 40,
  queueUsed: 48,
} as const;

const status = { acknowledge: 1, driver: 2, driverOk: 4, featuresOk: 8 } as const;
/** VIRTIO_F_VERSION_1, bit 32: the lowest of the second word. */
const version1 = 1;

const queueEntries = 16;
const descriptorNext = 1;
const descriptorWrite = 2;

/** Layout of a device's piece of guest RAM. */
const piece = {
  queue: 0x3000,
  available: 0x1000,
  used: 0x2000,
  response: 0xf000,
  request: 0x1_0000,
} as const;

/** Bytes of guest RAM that one device takes: rings, one response and one request of up to 448 KiB. */
export const virtioPieceBytes = 0x8_0000;

export interface VirtioOptions {
  readonly slot: number;
  /** Guest physical address of `virtioPieceBytes` of RAM for rings and messages. */
  readonly piece: number;
  /** Feature bits 0 to 31 that the device must offer. */
  readonly features: number;
  /** How many queues to set up, at most 5. */
  readonly queues: number;
}

interface Queue {
  readonly base: number;
  readonly doorbell: number;
  /** Messages sent so far; the ring indices are its low 16 bits. */
  sent: number;
}

export class VirtioDevice {
  protected readonly qtest: Qtest;
  readonly #options: VirtioOptions;
  readonly #pci: PciDevice;
  readonly #queues: Queue[] = [];

  protected constructor(qtest: Qtest, options: VirtioOptions) {
    this.qtest = qtest;
    this.#options = options;
    this.#pci = new PciDevice(qtest, options.slot);
  }

  /**
   * Programs the PCI device, agrees on features and sets up the queues. To be called again after a reset of the
   * machine, which undoes all of it.
   * @throws Error when the slot holds no virtio device or the device refuses the features
   */
  async start(): Promise<void> {
    const { qtest } = this;
    const { slot, features, queues } = this.#options;
    const identity = await this.#pci.identity();
    if ((identity & 0xffff) !== vendorVirtio) {
      throw new Error(`PCI slot ${slot} holds no virtio device but ${identity.toString(16)}`);
    }
    const { registers, notify, notifyMultiplier } = await this.#locate();
    await qtest.write(registers + common.status, 0, 1);
    await qtest.write(registers + common.status, status.acknowledge | status.driver, 1);
    await qtest.write(registers + common.deviceFeatureSelect, 0, 4);
    const offered = await qtest.read(registers + common.deviceFeature, 4);
    if ((offered & features) !== features) {
      throw new Error(
        `the device in slot ${slot} offers features ${offered.toString(16)}, not ${features.toString(16)}`,
      );
    }
    await qtest.write(registers + common.driverFeatureSelect, 0, 4);
    await qtest.write(registers + common.driverFeature, features, 4);
    await qtest.write(registers + common.driverFeatureSelect, 1, 4);
    await qtest.write(registers + common.driverFeature, version1, 4);
    const agreed = status.acknowledge | status.driver | status.featuresOk;
    await qtest.write(registers + common.status, agreed, 1);
    if (((await qtest.read(registers + common.status, 1)) & status.featuresOk) === 0) {
      throw new Error(`the device in slot ${slot} refused features ${features.toString(16)}`);
    }
    this.#queues.length = 0;
    for (let index = 0; index < queues; index++) {
      const base = this.#options.piece + index * piece.queue;
      await qtest.fill(base, piece.queue, 0);
      await qtest.write(registers + common.queueSelect, index, 2);
      await qtest.write(registers + common.queueSize, queueEntries, 2);
      await qtest.write64(registers + common.queueDescriptors, base);
      await qtest.write64(registers + common.queueAvailable, base + piece.available);
      await qtest.write64(registers + common.queueUsed, base + piece.used);
      await qtest.write(registers + common.queueEnable, 1, 2);
      const offset = await qtest.read(registers + common.queueNotifyOffset, 2);
      this.#queues.push({ base, doorbell: notify + offset * notifyMultiplier, sent: 0 });
    }
    await qtest.write(registers + common.status, agreed | status.driverOk, 1);
  }

  /**
   * Puts one request into a queue and waits for the device to take it.
   * @param responseBytes how much the device may write back; 0 for none
   * @returns the response
   * @throws Error when the device has not answered after five seconds
   */
  protected async exchange(queueIndex: number, request: Uint8Array, responseBytes: number): Promise<Buffer> {
    const { qtest } = this;
    const queue = this.#queues[queueIndex];
    if (queue === undefined) throw new Error(`queue ${queueIndex} was not set up`);
    const at = this.#options.piece;
    if (request.byteLength > virtioPieceBytes - piece.request)
      throw new Error('the request is too long for its place');

    const chain = [
      descriptor(at + piece.request, request.byteLength, responseBytes > 0 ? descriptorNext : 0, 1),
    ];
    if (responseBytes > 0) chain.push(descriptor(at + piece.response, responseBytes, descriptorWrite, 0));
    const slot = queue.sent % queueEntries;
    queue.sent++;
    const index = queue.sent & 0xffff;
    // Not awaited one by one: QEMU obeys in order.
    await Promise.all([
      qtest.writeBytes(at + piece.request, request),
      qtest.writeBytes(queue.base, Buffer.concat(chain)),
      qtest.write(queue.base + piece.available + 4 + 2 * slot, 0, 2),
      qtest.write(queue.base + piece.available + 2, index, 2),
      qtest.write(queue.doorbell, queueIndex, 2),
    ]);
    const deadline = Date.now() + 5000;
    while ((await qtest.read(queue.base + piece.used + 2, 2)) !== index) {
      if (Date.now() > deadline) throw new Error(`the device in slot ${this.#options.slot} does not answer`);
      await sleep(1);
    }
    return responseBytes > 0 ? await qtest.readBytes(at + piece.response, responseBytes) : Buffer.alloc(0);
  }

  /** Places the BARs and finds the structures that virtio's vendor capabilities point at. */
  async #locate(): Promise<{ registers: number; notify: number; notifyMultiplier: number }> {
    const bars = await this.#pci.placeBars();
    const found = new Map<number, { address: number; offset: number }>();
    for (const { offset, id } of await this.#pci.capabilities()) {
      if (id !== capabilityVendor) continue;
      const kind = await this.#pci.readConfig(offset + 3, 1);
      const bar = bars.get(await this.#pci.readConfig(offset + 4, 1));
      // The first of a kind is the preferred one (4.1.4).
      if (bar === undefined || found.has(kind)) continue;
      found.set(kind, { address: bar + (await this.#pci.readConfig(offset + 8, 4)), offset });
    }
    const registers = found.get(capabilityKind.common);
    const notify = found.get(capabilityKind.notify);
    if (registers === undefined || notify === undefined) {
      throw new Error(`the device in slot ${this.#options.slot} is not a modern virtio device`);
    }
    const notifyMultiplier = await this.#pci.readConfig(notify.offset + 16, 4);
    return { registers: registers.address, notify: notify.address, notifyMultiplier };
  }
}

function descriptor(address: number, length: number, flags: number, next: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(address), 0);
  bytes.writeUInt32LE(length, 8);
  bytes.writeUInt16LE(flags, 12);
  bytes.writeUInt16LE(next, 14);
  return bytes;
}
