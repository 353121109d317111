import { describe, expect, it } from 'vitest';
import { cpio } from './cpio.ts';

describe('cpio', () => {
  const archive = cpio([
    { path: 'dev', kind: 'directory' },
    { path: 'dev/console', kind: 'char', mode: 0o600, device: [5, 1] },
    { path: 'a', kind: 'file', content: 'hello', mode: 0o644 },
  ]);

  /** Reads the archive as the kernel's unpacker does: fixed header, name and content padded to four bytes. */
  function entries(): { name: string; fields: number[]; content: string }[] {
    const found = [];
    for (let at = 0; at < archive.length; ) {
      expect(archive.toString('latin1', at, at + 6)).toBe('070701');
      const fields = Array.from({ length: 13 }, (_, i) =>
        Number.parseInt(archive.toString('latin1', at + 6 + 8 * i, at + 14 + 8 * i), 16),
      );
      const size = fields[6] ?? 0;
      const nameSize = fields[11] ?? 0;
      const name = archive.toString('latin1', at + 110, at + 110 + nameSize - 1);
      const data = (at + 110 + nameSize + 3) & ~3;
      found.push({ name, fields, content: archive.toString('latin1', data, data + size) });
      at = (data + size + 3) & ~3;
    }
    return found;
  }

  it('holds every entry in order and ends with the trailer', () => {
    expect(entries().map(entry => entry.name)).toEqual(['dev', 'dev/console', 'a', 'TRAILER!!!']);
  });

  it('says kind, permissions, device and content', () => {
    const [dev, console, file] = entries();
    expect(dev?.fields[1]).toBe(0o040755);
    expect(console?.fields[1]).toBe(0o020600);
    expect(console?.fields.slice(9, 11)).toEqual([5, 1]);
    expect(file?.fields[1]).toBe(0o100644);
    expect(file?.content).toBe('hello');
  });

  it('gives every entry its own inode, so that none is taken for a hard link', () => {
    const inodes = entries().map(entry => entry.fields[0]);
    expect(new Set(inodes).size).toBe(inodes.length);
  });
});
