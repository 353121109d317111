/**
 * A real QEMU with one blob whose pages lay in ZONE_MOVABLE when it was made, one whose pages lay in CMA pageblocks, and one of
 * neither. In the page-refs era they stay there; later CREATE moves them out.
 *
 * ```ts
 * const { vm, blobs } = await heldPlaces({ dir: '/tmp/vm', testMonitor: true });
 * ```
 *
 * Needs a kernel with CMA, booted as `movable-cma` of boots.ts: a movable zone that one guest fills, and a CMA area of more
 * than half of the other memory, which is when the kernel lets movable pages have CMA (mm/page_alloc.c __rmqueue). The guest
 * writes to all of its RAM, and each blob is put together of guest pages that lie in its place; nothing depends on the order in
 * which the kernel hands pages out.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { hasHoles, parseSystemRam } from '../../../model/host/iomem.ts';
import { parseGpa2hva } from '../../../model/qemu/addresses.ts';
import type { MemoryEntry } from './gpu.ts';
import { guestRam, type QemuOptions, type RealQemu, startQemu } from './qemu.ts';

export type Place = 'movable' | 'cma' | 'elsewhere';

export interface PlacedBlob {
  readonly place: Place;
  /** Of virtio-gpu. */
  readonly resource: number;
  /** Guest addresses of its pages, in order. */
  readonly gpas: readonly number[];
  /** Host pages behind them before the blob was made (pagemap of QEMU). */
  readonly pfnsBefore: readonly number[];
}

export interface HeldPlaces {
  readonly vm: RealQemu;
  /** In the order in which they were made; the first is on scanout 0, 1024 x 768. */
  readonly blobs: readonly PlacedBlob[];
}

/** Pages of each blob: a screen of 1024 x 768, a window, a cursor. */
const PAGES: Readonly<Record<Place, number>> = { movable: 768, cma: 256, elsewhere: 64 };

/** Of the rig's machines (x86 below 64 GiB). */
const BLOCK_PAGES = 32_768;

/**
 * Starts QEMU, has its guest write to all RAM, and makes the three blobs.
 * @throws Error when the machine gives the guest too few pages of a place; it names how many there were
 */
export async function heldPlaces(options: QemuOptions): Promise<HeldPlaces> {
  const vm = await startQemu(options);
  try {
    return { vm, blobs: await makeBlobs(vm, options.memoryMiB ?? 256) };
  } catch (error) {
    await vm.kill();
    throw error;
  }
}

async function makeBlobs(vm: RealQemu, memoryMiB: number): Promise<PlacedBlob[]> {
  const pages = (memoryMiB * 2 ** 20 - guestRam.free) / 4096;
  // Files that were read, QEMU's own too, lie in the movable zone and fill it.
  writeFileSync('/proc/sys/vm/drop_caches', '3');
  const pfns = await touchedPages(vm, pages);
  const isCma = cmaTest();
  const isMovable = movableTest();
  // An offline of a block with a hole is refused, whoever holds pages there: the last one of the zone has the firmware's tables.
  const ram = parseSystemRam(readFileSync('/proc/iomem', 'utf8'));
  const whole = (pfn: number) => {
    const start = Math.floor(pfn / BLOCK_PAGES) * BLOCK_PAGES * 4096;
    return hasHoles(ram, { start, end: start + BLOCK_PAGES * 4096 }) === false;
  };
  const placed: Record<Place, number[]> = { movable: [], cma: [], elsewhere: [] };
  pfns.forEach((pfn, i) => {
    const [movable, cma] = [isMovable(pfn), isCma(pfn)];
    if (movable && cma) return;
    placed[movable ? 'movable' : cma ? 'cma' : 'elsewhere'].push(i);
  });
  const gpu = await vm.gpu();
  const blobs: PlacedBlob[] = [];
  for (const place of ['movable', 'cma', 'elsewhere'] as const) {
    if (placed[place].length < PAGES[place]) {
      const found = Object.entries(placed).map(([name, list]) => `${list.length} ${name}`);
      throw new Error(`of ${pages} guest pages ${found.join(', ')}; ${PAGES[place]} ${place} are needed`);
    }
    // Those whose block could go offline, where there are enough.
    const best = placed[place].filter(i => whole(pfns[i] ?? 0));
    const chosen = (best.length < PAGES[place] ? placed[place] : best).slice(0, PAGES[place]);
    const gpas = chosen.map(i => guestRam.free + i * 4096);
    blobs.push({
      place,
      resource: await gpu.createBlob(entriesOf(gpas)),
      gpas,
      pfnsBefore: chosen.map(i => pfns[i] ?? 0),
    });
  }
  await gpu.setScanoutBlob(blobs[0]?.resource ?? 0, 1024, 768);
  return blobs;
}

/**
 * The host page of each guest page from guest address `from` on: QEMU's `gpa2hva` and its page table. Its own `gpa2hpa` reads the
 * same table with QEMU's rights, which for an ordinary user's QEMU are none.
 */
export async function hostPages(vm: RealQemu, from: number, pages: number): Promise<number[]> {
  const answer = parseGpa2hva(await vm.hmp(`gpa2hva 0x${from.toString(16)}`));
  if (answer.state === 'refused') throw new Error(answer.detail);
  const table = Buffer.alloc(pages * 8);
  const fd = openSync(`/proc/${vm.pid}/pagemap`, 'r');
  try {
    for (let at = 0; at < table.length; ) {
      const read = readSync(fd, table, at, table.length - at, (Number(answer.address) / 4096) * 8 + at);
      if (read === 0) throw new Error('the page table ended');
      at += read;
    }
  } finally {
    closeSync(fd);
  }
  // Bits 0 to 54 are the PFN (Documentation/admin-guide/mm/pagemap.rst).
  return Array.from({ length: pages }, (_, i) => Number(table.readBigUInt64LE(i * 8) & ((1n << 55n) - 1n)));
}

/** Has the guest write to `pages` pages from `guestRam.free` on; the host page of each. */
export async function touchedPages(vm: RealQemu, pages: number): Promise<number[]> {
  await vm.qtest.fill(guestRam.free, pages * 4096, 0x5a);
  return hostPages(vm, guestRam.free, pages);
}

/** The movable zone by the text of zoneinfo, one node's. */
export function movableTest(): (pfn: number) => boolean {
  const [, text = ''] =
    /^Node 0, zone +Movable\n([\s\S]*?start_pfn.*)/m.exec(readFileSync('/proc/zoneinfo', 'utf8')) ?? [];
  const [first, spanned] = ['start_pfn:', 'spanned'].map(key =>
    Number(new RegExp(`^ +${key} +(\\d+)`, 'm').exec(text)?.[1]),
  );
  if (!first || !spanned) throw new Error('this kernel has no movable zone');
  return pfn => pfn >= first && pfn < first + spanned;
}

/** Where the kernel's log says it put the CMA area: not by way of pageblock types, which are what is tested. */
export function cmaTest(): (pfn: number) => boolean {
  const log = execFileSync('dmesg', { encoding: 'utf8', maxBuffer: 64 << 20 });
  const areas = [...log.matchAll(/cma: Reserved (\d+) MiB at (?:0x)?([0-9a-f]+)/g)].map(match => {
    const first = Number.parseInt(match[2] ?? '', 16) / 4096;
    return { first, end: first + Number(match[1]) * 256 };
  });
  return pfn => areas.some(({ first, end }) => pfn >= first && pfn < end);
}

/** Neighbouring guest pages in one entry, but two entries at least: QEMU before 10.0 makes no udmabuf of one. */
export function entriesOf(gpas: readonly number[]): MemoryEntry[] {
  const entries: { address: number; length: number }[] = [];
  for (const [i, gpa] of gpas.entries()) {
    const last = entries.at(-1);
    if (last && i > 1 && last.address + last.length === gpa) last.length += 4096;
    else entries.push({ address: gpa, length: 4096 });
  }
  return entries;
}
