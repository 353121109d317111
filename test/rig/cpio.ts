/**
 * Writes a cpio archive of the `newc` kind, the one that the kernel unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */

export interface CpioEntry {
  /** Path without a leading slash; parents must come before. */
  readonly path: string;
  readonly kind: 'directory' | 'file' | 'symlink' | 'char';
  /** Permission bits; 0755 when left out. */
  readonly mode?: number;
  /** A file's bytes or a link's target. */
  readonly content?: Uint8Array | string;
  /** Major and minor of a character device. */
  readonly device?: readonly [major: number, minor: number];
}

const kinds = { directory: 0o040000, file: 0o100000, symlink: 0o120000, char: 0o020000 } as const;

/** The archive's bytes; owners are root and times zero, so equal entries make equal archives. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  const add = (
    path: string,
    inode: number,
    mode: number,
    content: Buffer,
    device: readonly [number, number],
  ) => {
    const name = Buffer.from(`${path}\0`);
    const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length, 0];
    const header = `070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`;
    parts.push(padded(Buffer.concat([Buffer.from(header), name])), padded(content));
  };
  entries.forEach((entry, index) => {
    const content = Buffer.from(entry.content ?? '');
    add(entry.path, index + 1, kinds[entry.kind] | (entry.mode ?? 0o755), content, entry.device ?? [0, 0]);
  });
  add('TRAILER!!!', 0, 0, Buffer.alloc(0), [0, 0]);
  return Buffer.concat(parts);
}

function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}
