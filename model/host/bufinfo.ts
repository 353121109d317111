import { Format } from '../lines.ts';

/** A dma-buf of the machine. */
export interface BufInfoEntry {
  /** Bytes. */
  readonly size: number;
  readonly flags: number;
  readonly mode: number;
  /** References on its file: fds of all processes, mappings, importers. */
  readonly count: number;
  readonly exporter: string;
  readonly inode: bigint;
  /** Any characters. `null` also for a buffer that is really named `<none>`. */
  readonly name: string | null;
  /** dev_name() of each attached device. */
  readonly devices: readonly string[];
}

const format: Format = new Format('bufinfo');
const RECORD = /^(\d{8,20})\t([0-9a-f]{8})\t([0-9a-f]{8})\t(\d{8,20})\t([^\t]*)\t(\d{8,20})\t(.*)$/s;
const HEADING = /^size +\tflags +\tmode +\tcount +\texp_name\tino/;
const ATTACHED = '\tAttached Devices:';
/** drivers/dma-buf/dma-resv.c dma_resv_describe() and dma-fence.c dma_fence_describe(). */
const FENCE = /^\t\w{1,20} fence:/;

/**
 * /sys/kernel/debug/dma_buf/bufinfo: drivers/dma-buf/dma-buf.c dma_buf_debug_show(), the same in 6.1, 6.12 and 7.2:
 * ```
 * size <tab> flags <tab> mode <tab> count <tab> exp_name <tab> ino <tab> name
 * 01048576 <tab> 00000002 <tab> 00080007 <tab> 00000002 <tab> udmabuf <tab> 00000005 <tab> <none>
 * <tab>write fence:DRIVER TIMELINE seq N unsignalled        (none or more)
 * <tab>Attached Devices:
 * <tab>DEVICE                                               (none or more)
 * Total N devices attached
 *
 *
 * Total N objects, N bytes
 * ```
 * size, count and ino are decimal with leading zeros, flags and mode hexadecimal.
 * - Names are raw and may hold newlines and imitate what follows them. No name imitates a record: that takes 45 bytes and a
 *   name has 31. So the text is cut at the records, and within one the last device list and total are the kernel's.
 * - The counts that the kernel prints after each list must agree with what was read.
 */
export function parseBufinfo(text: string): BufInfoEntry[] {
  const lines = format.lines(text);
  const heading = lines.findIndex(line => HEADING.test(line));
  if (heading < 0) throw format.error('the heading size flags mode count exp_name ino', text);

  let end = lines.length - 1;
  while (end > heading && lines[end] === '') end--;
  const total = /^Total (\d+) objects, (\d+) bytes$/.exec(lines[end] ?? '');
  if (!total || end <= heading)
    throw format.error('Total N objects, N bytes at the end', lines[end] ?? '', end + 1);

  const starts: number[] = [];
  for (let i = heading + 1; i < end; i++) if (RECORD.test(lines[i] ?? '')) starts.push(i);
  const stray = lines.slice(heading + 1, starts[0] ?? end).findIndex(line => line !== '');
  if (stray >= 0) throw format.error('a buffer', lines[heading + 1 + stray] ?? '', heading + stray + 2);

  const entries = starts.map((start, i) => parseRecord(lines.slice(start, starts[i + 1] ?? end), start + 1));
  if (format.count(total[1] ?? '', 'the number of objects', end + 1) !== entries.length)
    throw format.error(`${entries.length} objects, as listed`, lines[end] ?? '', end + 1);
  const bytes = entries.reduce((sum, entry) => sum + entry.size, 0);
  if (format.count(total[2] ?? '', 'the number of bytes', end + 1) !== bytes)
    throw format.error(`${bytes} bytes, as listed`, lines[end] ?? '', end + 1);
  return entries;
}

/** `lines`: a record up to the next one. */
function parseRecord(lines: readonly string[], lineNumber: number): BufInfoEntry {
  const [, size = '', flags = '', mode = '', count = '', exporter = '', inode = '', nameStart = ''] =
    RECORD.exec(lines[0] ?? '') ?? [];
  let last = lines.length - 1;
  while (last > 0 && lines[last] === '') last--;
  const total = /^Total (\d+) devices attached$/.exec(lines[last] ?? '');
  const attached = lines.lastIndexOf(ATTACHED);
  if (!total || attached < 0)
    throw format.error('its attached devices and their total', lines[last] ?? '', lineNumber + last);
  const devices = lines.slice(attached + 1, last);
  if (format.count(total[1] ?? '', 'the number of devices', lineNumber + last) !== devices.length)
    throw format.error(`${devices.length} devices, as listed`, lines[last] ?? '', lineNumber + last);
  for (const [i, device] of devices.entries()) {
    if (!/^\t\S/.test(device)) throw format.error('a device', device, lineNumber + attached + 1 + i);
  }

  let nameEnd = attached;
  while (nameEnd > 1 && FENCE.test(lines[nameEnd - 1] ?? '')) nameEnd--;
  const name = [nameStart, ...lines.slice(1, nameEnd)].join('\n');
  if (name.length > 31) throw format.error('a name of at most 31 bytes', name, lineNumber);
  return {
    size: format.count(size, 'the size', lineNumber),
    flags: format.hexCount(flags, 'the flags', lineNumber),
    mode: format.hexCount(mode, 'the mode', lineNumber),
    count: format.count(count, 'the count', lineNumber),
    exporter,
    inode: format.u64(inode, 'the inode', lineNumber),
    name: name === '<none>' ? null : name,
    devices: devices.map(device => device.slice(1)),
  };
}
