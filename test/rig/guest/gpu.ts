/**
 * The guest's side of virtio-gpu as far as blob resources go (Virtio 1.2, section 5.7.6). Each command returns when
 * the device has answered it.
 */
import type { Qtest } from './qtest.ts';
import { VirtioDevice } from './virtio.ts';

const command = {
  resourceUnref: 0x102,
  setScanout: 0x103,
  resourceFlush: 0x104,
  attachBacking: 0x106,
  detachBacking: 0x107,
  createBlob: 0x10c,
  setScanoutBlob: 0x10d,
} as const;

export const gpuResponse = {
  okNoData: 0x1100,
  unspecified: 0x1200,
  invalidResource: 0x1203,
  invalidParameter: 0x1205,
} as const;

const featureResourceBlob = 1 << 3;
const blobMemGuest = 1;
const blobFlagMappable = 1;
/** VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM. */
const formatXrgb = 2;
const bytesPerPixel = 4;

/** A range of guest RAM. */
export interface MemoryEntry {
  /** Guest physical address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** The device answered with something else than OK. */
export class GpuRefused extends Error {
  override name = 'GpuRefused';
  readonly response: number;
  constructor(what: string, response: number) {
    super(`virtio-gpu answers ${what} with 0x${response.toString(16)}`);
    this.response = response;
  }
}

export class VirtioGpu extends VirtioDevice {
  #nextResource = 1;

  private constructor(qtest: Qtest, slot: number, piece: number) {
    super(qtest, { slot, piece, features: featureResourceBlob, queues: 1 });
  }

  /** Starts the device in PCI slot `slot`, with its rings at `piece` (see `virtioPieceBytes`). */
  static async open(qtest: Qtest, slot: number, piece: number): Promise<VirtioGpu> {
    const gpu = new VirtioGpu(qtest, slot, piece);
    await gpu.start();
    return gpu;
  }

  /** A driver that starts anew counts its resources from 1 again. */
  override async start(): Promise<void> {
    this.#nextResource = 1;
    await super.start();
  }

  /**
   * RESOURCE_CREATE_BLOB of guest memory. QEMU makes a udmabuf of it, with one list item an entry; when that fails
   * it warns on stderr and still answers OK. QEMU before 10.0 makes none of a single entry.
   * @returns the resource's id
   */
  async createBlob(entries: readonly MemoryEntry[]): Promise<number> {
    const resource = this.#nextResource++;
    const size = entries.reduce((sum, entry) => sum + entry.length, 0);
    const body = Buffer.alloc(32);
    body.writeUInt32LE(resource, 0);
    body.writeUInt32LE(blobMemGuest, 4);
    body.writeUInt32LE(blobFlagMappable, 8);
    body.writeUInt32LE(entries.length, 12);
    body.writeBigUInt64LE(0n, 16);
    body.writeBigUInt64LE(BigInt(size), 24);
    await this.#send('RESOURCE_CREATE_BLOB', command.createBlob, [body, memoryEntries(entries)]);
    return resource;
  }

  /** RESOURCE_UNREF: QEMU closes the udmabuf. */
  async unref(resource: number): Promise<void> {
    await this.#send('RESOURCE_UNREF', command.resourceUnref, [words(resource, 0)]);
  }

  /** RESOURCE_ATTACH_BACKING. */
  async attachBacking(resource: number, entries: readonly MemoryEntry[]): Promise<void> {
    await this.#send('RESOURCE_ATTACH_BACKING', command.attachBacking, [
      words(resource, entries.length),
      memoryEntries(entries),
    ]);
  }

  /** RESOURCE_DETACH_BACKING: QEMU closes the udmabuf, the resource stays. */
  async detachBacking(resource: number): Promise<void> {
    await this.#send('RESOURCE_DETACH_BACKING', command.detachBacking, [words(resource, 0)]);
  }

  /** SET_SCANOUT_BLOB with 4 bytes a pixel and no padding between lines. */
  async setScanoutBlob(resource: number, width: number, height: number, scanout = 0): Promise<void> {
    await this.#send('SET_SCANOUT_BLOB', command.setScanoutBlob, [
      words(0, 0, width, height, scanout, resource, width, height, formatXrgb, 0),
      words(width * bytesPerPixel, 0, 0, 0, 0, 0, 0, 0),
    ]);
  }

  /** SET_SCANOUT of no resource: nothing is shown there any more. */
  async disableScanout(scanout = 0): Promise<void> {
    await this.#send('SET_SCANOUT', command.setScanout, [words(0, 0, 0, 0, scanout, 0)]);
  }

  /** RESOURCE_FLUSH of the whole picture. */
  async flush(resource: number, width: number, height: number): Promise<void> {
    await this.#send('RESOURCE_FLUSH', command.resourceFlush, [words(0, 0, width, height, resource, 0)]);
  }

  async #send(what: string, type: number, parts: readonly Buffer[]): Promise<void> {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(type, 0);
    const answer = await this.exchange(0, Buffer.concat([header, ...parts]), header.length);
    const response = answer.readUInt32LE(0);
    if (response !== gpuResponse.okNoData) throw new GpuRefused(what, response);
  }
}

/** `bytes` of guest RAM from `address` as entries of `piece` bytes, `stride` bytes apart. */
export function scattered(address: number, bytes: number, piece: number, stride: number): MemoryEntry[] {
  const entries: MemoryEntry[] = [];
  for (let done = 0, at = address; done < bytes; done += piece, at += stride) {
    entries.push({ address: at, length: Math.min(piece, bytes - done) });
  }
  return entries;
}

function memoryEntries(entries: readonly MemoryEntry[]): Buffer {
  const bytes = Buffer.alloc(16 * entries.length);
  entries.forEach((entry, index) => {
    bytes.writeBigUInt64LE(BigInt(entry.address), 16 * index);
    bytes.writeUInt32LE(entry.length, 16 * index + 8);
  });
  return bytes;
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    bytes.writeUInt32LE(value, 4 * index);
  });
  return bytes;
}
