import { Format } from '../lines.ts';

const format: Format = new Format('vmstat');

/**
 * /proc/vmstat: mm/vmstat.c vmstat_show(), `NAME VALUE` a line, unsigned 64-bit. `nr_*` are levels, the others events
 * since boot. Values of a CPU reach the sums late: writing or reading /proc/sys/vm/stat_refresh folds them in.
 */
export function parseVmstat(text: string): ReadonlyMap<string, bigint> {
  const counters = new Map<string, bigint>();
  for (const [i, line] of format.lines(text).entries()) {
    const match = /^(\S{1,100}) (\d{1,20})$/.exec(line);
    if (!match) throw format.error('NAME VALUE', line, i + 1);
    const [, name = '', value = ''] = match;
    if (counters.has(name)) throw format.error(`${name} once`, line, i + 1);
    counters.set(name, format.u64(value, name, i + 1));
  }
  if (counters.size === 0) throw format.error('NAME VALUE lines', text);
  return counters;
}

/**
 * Pin references since boot by all users of FOLL_PIN, one a folio and pin, never bytes; `null` before 5.7 or when they no
 * longer fit a number.
 */
export function follPin(vmstat: ReadonlyMap<string, bigint>): { acquired: number; released: number } | null {
  const acquired = vmstat.get('nr_foll_pin_acquired');
  const released = vmstat.get('nr_foll_pin_released');
  if (acquired === undefined || released === undefined) return null;
  const counts = { acquired: Number(acquired), released: Number(released) };
  return Number.isSafeInteger(counts.acquired) && Number.isSafeInteger(counts.released) ? counts : null;
}
