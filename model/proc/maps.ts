import { Format } from '../lines.ts';
import { asHva, type Hva } from '../units.ts';

/** A mapping of a process: a line of /proc/PID/maps. */
export interface Vma {
  /** First byte. */
  readonly start: Hva;
  /** First byte after it. */
  readonly end: Hva;
  /** `rwxs`: read, write, execute as letter or `-`, then `s` shared (VM_MAYSHARE) or `p` private. */
  readonly perms: string;
  /** Bytes from the start of the file, or of the dma-buf, to `start`. */
  readonly offset: bigint;
  /** Device of the file's superblock; 0:0 without a file. */
  readonly major: number;
  readonly minor: number;
  /** 0 without a file. All 64 bits: network and stacked file systems use them. */
  readonly inode: bigint;
  /** File (`/memfd:ram`), special name (`[heap]`), or `null` for anonymous memory. Newlines restored, ` (deleted)` removed. */
  readonly path: string | null;
  /** The file has no name any more; always so for a memfd. */
  readonly deleted: boolean;
}

const format: Format = new Format('maps');
/** Also the first line of each mapping in smaps. */
const VMA = /^([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][sp]) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) (.*)$/s;
const DELETED = ' (deleted)';

/**
 * /proc/PID/maps: fs/proc/task_mmu.c show_map_vma(), one line a mapping
 * `START-END rwxs OFFSET MAJOR:MINOR INODE␣ PATH`, all hexadecimal but the inode.
 * - seq_path() escapes a newline in the path as `\012` and nothing else, not even a backslash, so a file that is really
 *   called `a\012b` looks like one with a newline; it is read as a newline. ESC, tabs and `\r` come through raw.
 * - d_path() adds ` (deleted)`; a file whose name ends so looks deleted. A dma-buf is never marked, its name may end so.
 * - A process without memory (a kernel thread, a zombie) gives an empty text: no mappings.
 *
 * `containing` skips lines that do not hold this text, for scans of all processes.
 */
export function parseMaps(text: string, containing = ''): Vma[] {
  if (containing !== '' && !text.includes(containing)) return [];
  const vmas: Vma[] = [];
  for (const [i, line] of format.lines(text).entries()) {
    if (line.includes(containing)) vmas.push(parseVma(line, i + 1));
  }
  return vmas;
}

/** Whether a line begins like a mapping's (and not like a field of smaps). */
export function isVmaLine(line: string): boolean {
  return /^[0-9a-f]+-[0-9a-f]+ /.test(line);
}

/** One line of maps, or the first one of a mapping in smaps. */
export function parseVma(line: string, lineNumber: number, of: Format = format): Vma {
  const match = VMA.exec(line);
  if (!match) throw of.error('START-END rwxs OFFSET MAJOR:MINOR INODE PATH', line, lineNumber);
  const [, start = '', end = '', perms = '', offset = '', major = '', minor = '', inode = '', rest = ''] =
    match;
  const vma = {
    start: asHva(of.hex(start, 'the start', lineNumber)),
    end: asHva(of.hex(end, 'the end', lineNumber)),
    perms,
    offset: of.hex(offset, 'the offset', lineNumber),
    major: of.hexCount(major, 'the major number', lineNumber),
    minor: of.hexCount(minor, 'the minor number', lineNumber),
    inode: of.u64(inode, 'the inode', lineNumber),
  };
  if (vma.end <= vma.start) throw of.error('an end after the start', line, lineNumber);
  // seq_pad() aligns paths with blanks; the path of a file begins with a slash, other names with a letter or bracket.
  let path = rest.replace(/^ +/, '').replaceAll('\\012', '\n');
  const deleted = path.endsWith(DELETED) && !isDmabuf(path);
  if (deleted) path = path.slice(0, -DELETED.length);
  return { ...vma, path: path === '' ? null : path, deleted };
}

/**
 * Whether a path of maps or an fd link names a dma-buf (drivers/dma-buf/dma-buf.c dmabuffs_dname(), since 5.3).
 * A file `dmabuf:x` in the root directory looks the same: fdinfo's `exp_name` tells for sure.
 */
export function isDmabuf(path: string | null): boolean {
  return path?.startsWith('/dmabuf:') ?? false;
}

/** The name that DMA_BUF_SET_NAME gave; `null` for no dma-buf or no name (an empty name cannot be told from none here). */
export function dmabufName(path: string | null): string | null {
  return (isDmabuf(path) && path?.slice('/dmabuf:'.length)) || null;
}

/** Whether a path of maps or an fd link names a memfd (mm/memfd.c names the file `memfd:NAME`); a hugetlb one too. */
export function isMemfd(path: string | null): boolean {
  return path?.startsWith('/memfd:') ?? false;
}
