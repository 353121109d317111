import { isMemfd, type Vma } from '../proc/maps.ts';

/** A file as the kernel tells them apart: `dev` is major << 20 | minor, as `s_dev`. */
export interface FileId {
  readonly dev: number;
  readonly inode: number;
}
export const sameFile = (a: FileId, b: FileId): boolean => a.dev === b.dev && a.inode === b.inode;

/** A part of a process's address space that maps a memfd; bytes. */
export interface RamMapping extends FileId {
  readonly start: bigint;
  readonly end: bigint;
  /** Offset in the memfd of `start`. */
  readonly offset: number;
  readonly shared: boolean;
}
/** A part of a memfd that the guest sees; bytes. */
export interface GuestMapping extends FileId {
  readonly gpa: number;
  readonly bytes: number;
  readonly offset: number;
}

/** The mappings of memfds, from /proc/PID/maps. */
export function ramMappings(vmas: readonly Vma[]): RamMapping[] {
  return (
    vmas
      // An inode or offset that a number cannot hold exactly would be taken for its neighbour's.
      .filter(({ path, inode, offset }) => isMemfd(path) && isSafe(inode) && isSafe(offset))
      .map(vma => ({
        start: vma.start,
        end: vma.end,
        offset: Number(vma.offset),
        dev: vma.major * 2 ** 20 + vma.minor,
        inode: Number(vma.inode),
        shared: vma.perms.endsWith('s'),
      }))
  );
}

const isSafe = (value: bigint): boolean => value <= BigInt(Number.MAX_SAFE_INTEGER);

/** From an offset in a memfd to the process's address and to the guest's. */
export class RamView {
  constructor(
    readonly mappings: readonly RamMapping[],
    /** Empty where no monitor told. */
    readonly guest: readonly GuestMapping[],
  ) {}

  /** The mapping that shows this byte of the file; `undefined`: the process does not map it. */
  mapping(file: FileId, offset: number): RamMapping | undefined {
    return this.mappings.find(mapping => {
      const inside = offset - mapping.offset;
      return inside >= 0 && sameFile(mapping, file) && inside < Number(mapping.end - mapping.start);
    });
  }

  /** Pages from this byte of the file to the next one that the process maps. */
  pagesToMapping(file: FileId, offset: number): number {
    return pagesToNext(this.mappings, file, offset);
  }

  /** The guest range that holds this byte of the file. */
  guestRange(file: FileId, offset: number): GuestMapping | undefined {
    return this.guest.find(
      range => offset >= range.offset && offset < range.offset + range.bytes && sameFile(range, file),
    );
  }

  /** Pages from this byte of the file to the next one that the guest sees. */
  pagesToGuest(file: FileId, offset: number): number {
    return pagesToNext(this.guest, file, offset);
  }

  /** The process's memfd, if it maps exactly one: then a page that left its file can only have come from there. */
  onlyFile(): FileId | undefined {
    const [first, ...others] = this.mappings;
    return first && others.every(other => sameFile(other, first)) ? first : undefined;
  }
}

function pagesToNext(
  ranges: readonly (FileId & { readonly offset: number })[],
  file: FileId,
  offset: number,
): number {
  let bytes = Number.POSITIVE_INFINITY;
  for (const range of ranges) {
    if (range.offset > offset && sameFile(range, file)) bytes = Math.min(bytes, range.offset - offset);
  }
  return Math.ceil(bytes / 4096);
}
