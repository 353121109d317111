import type { Vma } from '../proc/maps.ts';
import { asGpa, type Gpa, type Hva } from '../units.ts';
import type { MemoryBackend } from './cmdline.ts';
import type { GuestRamRange } from './mtree.ts';
import { backendIdOf } from './ramblock.ts';

/** What this file needs of a line of /proc/PID/maps. */
export type FileMapping = Pick<Vma, 'start' | 'end' | 'offset' | 'major' | 'minor' | 'inode' | 'path'>;

/** A piece of guest memory with its place in QEMU's address space. */
export interface PlacedRange extends GuestRamRange {
  readonly hva: Hva;
}

/** A file, of which the guest sees some ranges. Those of memory-backend-memfd are called `/memfd:…`. */
export interface FileLayout {
  readonly inode: bigint;
  /** Of the file system: inode numbers of two (a shmem and a hugetlb memfd) may be equal. */
  readonly major: number;
  readonly minor: number;
  readonly path: string | null;
  /** The memory backend's id; null: its pieces disagree. */
  readonly backendId: string | null;
  /** By guest address; neighbours in both guest and file are one. */
  readonly ranges: readonly { readonly gpa: Gpa; readonly bytes: number; readonly offset: number }[];
}

export interface GuestLayout {
  readonly files: readonly FileLayout[];
  /** Guest memory without a file behind it: ROMs, video memory, RAM of memory-backend-ram. */
  readonly anonymous: { readonly ranges: number; readonly bytes: number };
  /** Guest memory whose host address is in no VMA that we were given: left out everywhere else. */
  readonly unknown: { readonly ranges: number; readonly bytes: number };
}

/**
 * Joins guest RAM with the mappings of the process: which bytes of which file are which guest addresses.
 * A range over several VMAs is split at their borders; a part in no VMA is counted as unknown.
 * @param vmas of /proc/PID/maps; order does not matter.
 */
export function joinLayout(ranges: readonly PlacedRange[], vmas: readonly FileMapping[]): GuestLayout {
  const sorted = [...vmas].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const files = new Map<string, { mapping: FileMapping; ids: Set<string>; pieces: Piece[] }>();
  const anonymous = { ranges: 0, bytes: 0 };
  const unknown = { ranges: 0, bytes: 0 };
  for (const range of ranges) {
    const end = range.hva + BigInt(range.bytes);
    let at: bigint = range.hva;
    let first = firstEndingAfter(sorted, at);
    while (at < end) {
      const vma = sorted[first];
      const gpa = range.gpa + Number(at - range.hva);
      if (!vma || vma.start > at) {
        const stop = vma && vma.start < end ? vma.start : end;
        unknown.ranges++;
        unknown.bytes += Number(stop - at);
        at = stop;
        continue;
      }
      const stop = vma.end < end ? vma.end : end;
      const bytes = Number(stop - at);
      if (vma.inode === 0n) {
        anonymous.ranges++;
        anonymous.bytes += bytes;
      } else if (vma.offset + (stop - vma.start) > BigInt(Number.MAX_SAFE_INTEGER)) {
        // No memory backend: QEMU's start at 0 of a file of their size.
        unknown.ranges++;
        unknown.bytes += bytes;
      } else {
        const key = `${vma.major}:${vma.minor} ${vma.inode}`;
        let file = files.get(key);
        if (!file) {
          file = { mapping: vma, ids: new Set(), pieces: [] };
          files.set(key, file);
        }
        file.ids.add(backendIdOf(range.region));
        file.pieces.push({ gpa, bytes, offset: Number(vma.offset + (at - vma.start)) });
      }
      at = stop;
      first++;
    }
  }
  return {
    files: [...files.values()].map(({ mapping: { inode, major, minor, path }, ids, pieces }) => ({
      inode,
      major,
      minor,
      path,
      backendId: ids.size === 1 ? ([...ids][0] ?? null) : null,
      ranges: mergeNeighbours(pieces),
    })),
    anonymous,
    unknown,
  };
}

/** Index of the first VMA whose end is above `address`; VMAs are disjoint, so ends ascend like starts. */
function firstEndingAfter(vmas: readonly FileMapping[], address: bigint): number {
  let low = 0;
  let high = vmas.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((vmas[middle]?.end ?? 0n) > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

interface Piece {
  readonly gpa: number;
  readonly bytes: number;
  readonly offset: number;
}

function mergeNeighbours(pieces: readonly Piece[]): FileLayout['ranges'] {
  const merged: { gpa: Gpa; bytes: number; offset: number }[] = [];
  for (const piece of [...pieces].sort((a, b) => a.gpa - b.gpa)) {
    const last = merged.at(-1);
    if (last && last.gpa + last.bytes === piece.gpa && last.offset + last.bytes === piece.offset) {
      last.bytes += piece.bytes;
    } else merged.push({ gpa: asGpa(piece.gpa), bytes: piece.bytes, offset: piece.offset });
  }
  return merged;
}

/** What can be seen of a memfd without a monitor. */
export interface MemfdTraits<I extends number | bigint> {
  readonly inode: I;
  readonly sizeBytes: number;
  /** Mapped shared. */
  readonly share: boolean;
  readonly pageSizeBytes: number;
}

/**
 * Which backend of the command line a memfd is, when no monitor tells: all memfds carry the same name, so only what
 * differs can tell. An id is given only where exactly one backend and exactly one memfd have these properties.
 * @returns inode → id.
 */
export function matchBackends<I extends number | bigint>(
  backends: readonly MemoryBackend[],
  memfds: readonly MemfdTraits<I>[],
): Map<I, string> {
  const fits = (backend: MemoryBackend, memfd: MemfdTraits<I>): boolean =>
    backend.type === 'memory-backend-memfd' &&
    backend.sizeBytes === memfd.sizeBytes &&
    backend.share === memfd.share &&
    (backend.hugetlb
      ? backend.hugetlbSizeBytes === null || backend.hugetlbSizeBytes === memfd.pageSizeBytes
      : memfd.pageSizeBytes === 4096);
  const found = new Map<I, string>();
  for (const memfd of memfds) {
    const candidates = backends.filter(backend => fits(backend, memfd));
    const [only] = candidates;
    if (candidates.length !== 1 || !only?.id) continue;
    if (memfds.filter(other => fits(only, other)).length === 1) found.set(memfd.inode, only.id);
  }
  return found;
}
