import { cString, safeU64, u32, u64, wordsOf } from './bytes.ts';
import type { KernelLayout } from './layout.ts';
import { followList, isKernelAddress } from './list.ts';
import { type KernelMemory, PageCache } from './memory.ts';

/*
 * The list of all dma-bufs (drivers/dma-buf/dma-buf.c __dma_buf_debugfs_list_add) and what udmabuf hangs on its own
 * (drivers/dma-buf/udmabuf.c struct udmabuf). The kernel changes both while we read, holding locks that we cannot take:
 * every walk is bounded, every pointer is checked where a check exists, and what does not hold still is reported as raced.
 */

/** More buffers than any host has; a corrupted `next` must not lead us around for ever. */
const MAX_BUFFERS = 65_536;
const MAX_ATTACHMENTS = 64;
/** A buffer of 256 GiB: the array of its pages is still read in one go. */
const MAX_ENTRIES = 2 ** 26;
/** Of 52 bits of physical address, which no processor passes. */
const MAX_PFN = 2 ** 40;
/** With its NUL, what a name of sysfs can have. */
const DEVICE_NAME_BYTES = 256;
const WALK_ATTEMPTS = 4;

export interface DmaBuf {
  /** Address of its `struct dma_buf`. */
  readonly address: bigint;
  readonly inode: number;
  readonly sizeBytes: number;
  readonly isUdmabuf: boolean;
  readonly priv: bigint;
  readonly file: bigint;
  /** Change time of its inode, ns since 1970: nothing changes it after creation. */
  readonly createdNs: bigint | undefined;
  /** Device names and whether each keeps a device mapping (`undefined`: this kernel caches none, so nothing tells). */
  readonly attachments: readonly { readonly device: string; readonly mapped: boolean | undefined }[];
}

export interface DmaBufWalk {
  readonly buffers: readonly DmaBuf[];
  /** The list moved under every attempt: buffers may be missing from it. */
  readonly raced: boolean;
  /** Buffers left out because they changed while they were read. */
  readonly racedBuffers: number;
}

/** All dma-bufs of the host, whoever exports or holds them. Kernel addresses are checked, never trusted. */
export async function walkDmaBufs(memory: KernelMemory, layout: KernelLayout): Promise<DmaBufWalk> {
  let nodes: readonly bigint[] = [];
  let whole = false;
  for (let attempt = 0; attempt < WALK_ATTEMPTS && !whole; attempt++) {
    const walk = await followList(new PageCache(memory), layout.list, layout.listHead, MAX_BUFFERS, true);
    // An attempt that got further is the better answer when none is whole.
    if (walk.whole || walk.nodes.length > nodes.length) nodes = walk.nodes;
    whole = walk.whole;
  }
  const { dmaBuf, file, inode } = layout;
  const addresses = nodes.map(node => node - BigInt(dmaBuf.node));
  const structs = await memory.read(addresses.map(address => ({ address, bytes: dmaBuf.bytes })));
  const files = structs.map(data => (data ? u64(data, dmaBuf.file) : 0n));
  const fileBytes = Math.max(file.inode, file.privateData) + 8;
  const filesRead = await memory.read(files.map(f => ({ address: f, bytes: fileBytes })));
  // A dma-buf that was freed and whose memory serves something else has no file that points back to it.
  const inodes = filesRead.map((data, i) =>
    data && u64(data, file.privateData) === addresses[i] ? u64(data, file.inode) : 0n,
  );
  const inodeBytes = Math.max(inode.ino, inode.superBlock, inode.ctimeSec ?? 0, inode.ctimeNsec ?? 0) + 8;
  const inodesRead = await memory.read(inodes.map(address => ({ address, bytes: inodeBytes })));
  const buffers: DmaBuf[] = [];
  let cache = new PageCache(memory);
  for (const [i, address] of addresses.entries()) {
    const data = structs[i];
    const inodeData = inodes[i] ? inodesRead[i] : undefined;
    const ino = inodeData && safeU64(inodeData, inode.ino);
    const sizeBytes = data && safeU64(data, dmaBuf.size);
    if (!data || !inodeData || ino === undefined || sizeBytes === undefined) continue;
    let attachments = await readAttachments(memory, cache, layout, address, data);
    for (let attempt = 1; attempt < WALK_ATTEMPTS && !attachments; attempt++) {
      // What was read before may be what went stale.
      cache = new PageCache(memory);
      attachments = await readAttachments(memory, cache, layout, address, data);
    }
    if (!attachments) continue;
    buffers.push({
      address,
      inode: ino,
      sizeBytes,
      isUdmabuf: u64(data, dmaBuf.ops) === layout.udmabufOps,
      priv: u64(data, dmaBuf.priv),
      file: files[i] ?? 0n,
      createdNs: ctimeOf(layout, inodeData),
      attachments,
    });
  }
  return { buffers, raced: !whole, racedBuffers: nodes.length - buffers.length };
}

/**
 * Which of these buffers are still what they were: same operations, private data, file and inode, and still on the list.
 * What was read between a walk and a positive answer was read while the buffer lived, so its pages were held throughout.
 */
export async function stillThere(
  memory: KernelMemory,
  layout: KernelLayout,
  buffers: readonly DmaBuf[],
): Promise<boolean[]> {
  const { dmaBuf, list, file, inode } = layout;
  const structs = await memory.read(buffers.map(b => ({ address: b.address, bytes: dmaBuf.bytes })));
  const inodePointers = await memory.read(
    buffers.map(b => ({ address: b.file + BigInt(file.inode), bytes: 8 })),
  );
  const numbers = await memory.read(
    inodePointers.map(data => ({ address: (data ? u64(data, 0) : 0n) + BigInt(inode.ino), bytes: 8 })),
  );
  return buffers.map((buffer, i) => {
    const data = structs[i];
    const number = numbers[i];
    if (!data || !number) return false;
    const linked =
      isKernelAddress(u64(data, dmaBuf.node + list.next)) &&
      isKernelAddress(u64(data, dmaBuf.node + list.prev));
    return (
      linked &&
      (u64(data, dmaBuf.ops) === layout.udmabufOps) === buffer.isUdmabuf &&
      u64(data, dmaBuf.priv) === buffer.priv &&
      u64(data, dmaBuf.file) === buffer.file &&
      safeU64(number, 0) === buffer.inode
    );
  });
}

/** The entries of one udmabuf, in buffer order. */
export interface UdmabufPages {
  /** One PFN an entry of 4 KiB; a page may repeat. */
  readonly pfn: Float64Array;
  /** FOLL_PIN references; 0 where the driver takes none. */
  readonly pins: number;
}

/**
 * Reads the page arrays of udmabufs. `undefined` for a buffer whose structure does not fit itself (it raced).
 * @param buffers all with `isUdmabuf`
 */
export async function readUdmabufs(
  memory: KernelMemory,
  layout: KernelLayout,
  buffers: readonly DmaBuf[],
): Promise<(UdmabufPages | undefined)[]> {
  const { udmabuf } = layout;
  const structs = await memory.read(buffers.map(b => ({ address: b.priv, bytes: udmabuf.bytes })));
  const counts = buffers.map((buffer, i) => {
    const data = structs[i];
    const count = data && safeU64(data, udmabuf.pagecount);
    return count !== undefined && count <= MAX_ENTRIES && count * 4096 === buffer.sizeBytes
      ? count
      : undefined;
  });
  const arrayOf = (member: number) =>
    memory.read(
      counts.map((count, i) => {
        const data = structs[i];
        return { address: data ? u64(data, member) : 0n, bytes: count === undefined ? 0 : count * 8 };
      }),
    );
  const { entries } = udmabuf;
  const pointers = await arrayOf(entries.kind === 'pages' ? entries.pages : entries.folios);
  const offsets = entries.kind === 'folios' ? await arrayOf(entries.offsets) : [];
  const cache = new PageCache(memory);
  return Promise.all(
    buffers.map(async (buffer, i) => {
      const [data, count, pointer] = [structs[i], counts[i], pointers[i]];
      if (!data || count === undefined || !pointer) return undefined;
      const pfn = toPfns(layout, pointer, entries.kind === 'folios' ? offsets[i] : undefined);
      // An item is a range of a file, so two of its entries in one folio have different offsets in it. Where all offsets are 0,
      // every entry is a folio of its own to its item: one pin each, and the list need not be followed.
      const offsetsOf = entries.kind === 'folios' ? offsets[i] : undefined;
      const single =
        layout.udmabuf.pins.kind === 'list' && offsetsOf && wordsOf(offsetsOf).every(word => word === 0);
      const pins = single ? count : await countPins(cache, layout, buffer.priv, data, count);
      return pfn === undefined || pins === undefined ? undefined : { pfn, pins };
    }),
  );
}

/** struct page pointers (plus byte offsets into folios) → PFNs. A pointer that is no element of the page map means a race. */
function toPfns(layout: KernelLayout, pointers: Uint8Array, offsets?: Uint8Array): Float64Array | undefined {
  const { vmemmap, bytes } = layout.page;
  const baseHigh = Number(vmemmap >> 32n);
  const baseLow = Number(vmemmap & 0xffff_ffffn);
  const words = wordsOf(pointers);
  const offsetWords = offsets && wordsOf(offsets);
  const pfn = new Float64Array(pointers.length / 8);
  for (let i = 0; i < pfn.length; i++) {
    let page =
      (((words[2 * i + 1] as number) - baseHigh) * 0x1_0000_0000 + ((words[2 * i] as number) - baseLow)) /
      bytes;
    if (offsetWords) {
      const low = offsetWords[2 * i] as number;
      if (offsetWords[2 * i + 1] !== 0 || (low & 0xfff) !== 0) return undefined;
      page += low >>> 12;
    }
    if (!Number.isInteger(page) || page < 0 || page >= MAX_PFN) return undefined;
    pfn[i] = page;
  }
  return pfn;
}

async function countPins(
  cache: PageCache,
  layout: KernelLayout,
  priv: bigint,
  data: Uint8Array,
  entries: number,
): Promise<number | undefined> {
  const { pins } = layout.udmabuf;
  if (pins.kind === 'none') return 0;
  // One pin a list item and folio, and every item has an entry of its own: never more than entries.
  if (pins.kind === 'count') {
    const count = safeU64(data, pins.count);
    return count !== undefined && count <= entries ? count : undefined;
  }
  const walk = await followList(cache, layout.list, priv + BigInt(pins.head), entries, false);
  return walk.whole ? walk.count : undefined;
}

async function readAttachments(
  memory: KernelMemory,
  cache: PageCache,
  layout: KernelLayout,
  address: bigint,
  data: Uint8Array,
): Promise<DmaBuf['attachments'] | undefined> {
  const { attachment, dmaBuf, list } = layout;
  const head = address + BigInt(dmaBuf.attachments);
  if (u64(data, dmaBuf.attachments + list.next) === head) return [];
  const walk = await followList(cache, list, head, MAX_ATTACHMENTS, true);
  if (!walk.whole) return undefined;
  const bytes = Math.max(attachment.dev, attachment.sgt ?? 0) + 8;
  const structs = await memory.read(
    walk.nodes.map(node => ({ address: node - BigInt(attachment.node), bytes })),
  );
  const attachments = [];
  for (const struct of structs) {
    const device = struct && (await deviceName(cache, layout, u64(struct, attachment.dev)));
    if (!struct || device === undefined) return undefined;
    attachments.push({
      device,
      mapped: attachment.sgt === undefined ? undefined : u64(struct, attachment.sgt) !== 0n,
    });
  }
  return attachments;
}

/** dev_name() of include/linux/device.h: `init_name` until the device is added, then the name of its kobject. */
async function deviceName(
  cache: PageCache,
  layout: KernelLayout,
  device: bigint,
): Promise<string | undefined> {
  for (const member of [layout.attachment.initName, layout.attachment.kobjName]) {
    const pointer = await cache.read(device + BigInt(member), 8);
    const address = pointer ? u64(pointer, 0) : 0n;
    if (!isKernelAddress(address)) continue;
    // A literal of the kernel may lie across the border of two pages, and the last page of a mapping has no next.
    const left = 4096 - Number(address & 0xfffn);
    const text =
      (await cache.read(address, DEVICE_NAME_BYTES)) ??
      (await cache.read(address, Math.min(left, DEVICE_NAME_BYTES)));
    return text && cString(text);
  }
  return undefined;
}

function ctimeOf(layout: KernelLayout, inodeData: Uint8Array): bigint | undefined {
  const { ctimeSec, ctimeNsec } = layout.inode;
  if (ctimeSec === undefined || ctimeNsec === undefined) return undefined;
  const seconds = safeU64(inodeData, ctimeSec);
  const nanoseconds = u32(inodeData, ctimeNsec);
  // Later than any date that a calendar can print: no time.
  if (seconds === undefined || seconds > 8.64e12 - 1 || nanoseconds >= 1e9) return undefined;
  return BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
}
