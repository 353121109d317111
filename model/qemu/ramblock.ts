import { ParseError } from '../parse-error.ts';
import { asHva, type Hva } from '../units.ts';

/** A piece of host memory that QEMU manages: RAM, ROMs, video memory. */
export interface RamBlock {
  /** `mem1`, `/objects/mem1`, `0000:00:01.0/vm0`, `/rom@etc/acpi/tables`: a device's path may precede the region's name. */
  readonly name: string;
  readonly pageSizeBytes: number;
  /** In QEMU's own numbering (ram_addr_t); neither a guest address nor an offset in a memfd. */
  readonly offset: number;
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** null: this QEMU does not print it (7.2). */
  readonly hva: Hva | null;
  readonly readOnly: boolean | null;
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const HEADER = /^ *Block Name +PSize +Offset +Used +Total( +HVA +RO)?$/;
const ROW =
  /^ *(\S.*?) +(\d{1,3}) (B|KiB|MiB|GiB|TiB) +0x([0-9a-f]{16}) 0x([0-9a-f]{16}) 0x([0-9a-f]{16})(?: 0x([0-9a-f]{16}) +(ro|rw))?$/;

/**
 * Reads `info ramblock`, and `human-readable-text` of `x-query-ramblock` (6.2 on). The page size of a block is the
 * proof that it is on huge pages.
 *
 * Rests on ram_block_format() of softmmu/physmem.c, 7.2, and system/physmem.c, 10.x, which has two columns more,
 * HVA and RO, since shortly after 7.2; the header tells. Page sizes come from size_to_str() of util/cutils.c; one that is no power of two was
 * rounded for printing, so it is refused.
 * @throws ParseError
 */
export function parseRamBlocks(text: string): RamBlock[] {
  const lines = text.split('\n').map(line => (line.endsWith('\r') ? line.slice(0, -1) : line));
  const header = HEADER.exec(lines[0] ?? '');
  if (!header) throw new ParseError('info ramblock', 'Block Name PSize Offset Used Total', lines[0] ?? '', 1);
  const withHva = header[1] !== undefined;
  const blocks: RamBlock[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line === '') continue;
    const fail = (expected: string): ParseError => new ParseError('info ramblock', expected, line, index + 1);
    const match = ROW.exec(line);
    if (!match || (match[7] !== undefined) !== withHva)
      throw fail('name, page size and the columns of the header');
    const [, name = '', size = '', unit = '', offset = '', used = '', total = '', hva, access] = match;
    const pageSizeBytes = Number(size) * (UNITS[unit] ?? Number.NaN);
    if (!Number.isSafeInteger(Math.log2(pageSizeBytes))) throw fail('a page size that is a power of two');
    const bytes = [offset, used, total].map(digits => Number(`0x${digits}`));
    const [offsetBytes = 0, usedBytes = 0, totalBytes = 0] = bytes;
    if (!bytes.every(Number.isSafeInteger)) throw fail('numbers below 2^53');
    if (usedBytes > totalBytes) throw fail('Used up to Total');
    blocks.push({
      name,
      pageSizeBytes,
      offset: offsetBytes,
      usedBytes,
      totalBytes,
      hva: hva === undefined ? null : asHva(BigInt(`0x${hva}`)),
      readOnly: access === undefined ? null : access === 'ro',
    });
  }
  return blocks;
}

/** The part of a block's or region's name that is the id of a memory backend, if it is one. */
export function backendIdOf(name: string): string {
  // Machine types up to 4.0 name the region by the object's path (x-use-canonical-path-for-ramblock-id,
  // host_memory_backend_get_name() of backends/hostmem.c); a device's path precedes a block's name (qemu_ram_set_idstr()).
  return name.replace(/^.*\//s, '');
}
