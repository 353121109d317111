import { Format } from '../lines.ts';

/** /proc/PID/fdinfo/N: the fields of every file, and those of a dma-buf. */
export interface FdInfo {
  /** File position, bytes; may be negative for files that allow it. */
  readonly position: bigint;
  /** f_flags: O_ACCMODE, O_CLOEXEC and so on. */
  readonly flags: number;
  readonly mountId: number;
  /** `null` before 5.14. */
  readonly inode: bigint | null;
  /** `null` for a file that is no dma-buf. */
  readonly dmabuf: DmabufFdInfo | null;
}
export interface DmabufFdInfo {
  /** Bytes. */
  readonly size: number;
  /** References on the file: fds of all processes, mappings, importers, without the one that procfs takes to print this. */
  readonly count: number;
  /** Name of the exporting driver, `udmabuf`. */
  readonly exporter: string;
  /** As DMA_BUF_SET_NAME gave it, any characters; `null` when never named. */
  readonly name: string | null;
}

const format: Format = new Format('fdinfo');
/** DMA_BUF_NAME_LEN of uapi/linux/dma-buf.h is 32, with the final NUL. */
const NAME_MAX = 31;

/**
 * /proc/PID/fdinfo/N: fs/proc/fd.c seq_show() prints `pos flags mnt_id ino`, then locks, then the driver's fields; for a
 * dma-buf drivers/dma-buf/dma-buf.c dma_buf_show_fdinfo() prints `size count exp_name` and, when it has one, `name`.
 * - The name is raw: it may hold newlines, and so lines that look like fields. It is printed last, so the first line of
 *   each key counts and everything after `name:\t` is the name.
 * - `exp_name` makes it a dma-buf: other drivers print `size` and `count` with other meanings.
 */
export function parseFdInfo(text: string): FdInfo {
  const nameAt = text.startsWith('name:\t') ? 0 : text.indexOf('\nname:\t') + 1;
  const beforeName = nameAt > 0 ? text.slice(0, nameAt) : text;
  const fields = new Map<string, { value: string; line: number }>();
  for (const [i, line] of format.lines(beforeName).entries()) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const key = line.slice(0, colon);
    if (fields.has(key)) continue;
    fields.set(key, { value: line.slice(colon + 1).replace(/^[\t ]+/, ''), line: i + 1 });
  }
  const get = (key: string) => {
    const field = fields.get(key);
    if (!field) throw format.error(`a line ${key}:`, beforeName);
    return field;
  };

  const pos = get('pos');
  if (!/^-?\d{1,19}$/.test(pos.value)) throw format.error('pos, a decimal number', pos.value, pos.line);
  const flags = get('flags');
  if (!/^0[0-7]{0,15}$/.test(flags.value))
    throw format.error('flags, an octal number', flags.value, flags.line);
  const mountId = get('mnt_id');
  const inode = fields.get('ino');
  return {
    position: BigInt(pos.value),
    flags: Number.parseInt(flags.value, 8),
    mountId: format.count(mountId.value, 'mnt_id', mountId.line),
    inode: inode ? format.u64(inode.value, 'ino', inode.line) : null,
    dmabuf: fields.has('exp_name') ? dmabufFields() : null,
  };

  function dmabufFields(): DmabufFdInfo {
    const size = get('size');
    const count = get('count');
    return {
      size: format.count(size.value, 'size', size.line),
      count: format.count(count.value, 'count', count.line),
      exporter: get('exp_name').value,
      name: nameAt > 0 ? nameOf(text.slice(nameAt + 'name:\t'.length)) : null,
    };
  }
}

function nameOf(rest: string): string {
  if (!rest.endsWith('\n')) throw format.error('a newline at the end of the text', rest);
  const name = rest.slice(0, -1);
  if (name.length <= NAME_MAX) return name;
  // Longer than any name: lines of a kernel newer than 7.2 follow it.
  const first = name.slice(0, name.indexOf('\n'));
  if (!name.includes('\n') || first.length > NAME_MAX) throw format.error('a name of at most 31 bytes', name);
  return first;
}
