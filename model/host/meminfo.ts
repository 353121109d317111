import { Format } from '../lines.ts';

/** /proc/meminfo by name as printed, `HugePages_Rsvd`. */
export interface Meminfo {
  /** Lines in kB, as bytes. */
  readonly bytes: ReadonlyMap<string, bigint>;
  /** Lines without a unit: the HugePages_* counters, in pages of `Hugepagesize`. A wrapped counter is near 2^64. */
  readonly counts: ReadonlyMap<string, bigint>;
}

const format: Format = new Format('meminfo');

/**
 * /proc/meminfo: fs/proc/meminfo.c meminfo_proc_show() and mm/hugetlb.c hugetlb_report_meminfo() (default huge page size
 * only). 6.12 lets HugePages_Rsvd wrap below 0 when udmabuf fills a hole of a hugetlb memfd: 18446744073709551612 is -4.
 */
export function parseMeminfo(text: string): Meminfo {
  const bytes = new Map<string, bigint>();
  const counts = new Map<string, bigint>();
  for (const [i, line] of format.lines(text).entries()) {
    const match = /^([^:\s]{1,100}): {0,100}(\d{1,20})( kB)?$/.exec(line);
    if (!match) throw format.error('NAME: VALUE or NAME: VALUE kB', line, i + 1);
    const [, name = '', value = '', unit] = match;
    if (bytes.has(name) || counts.has(name)) throw format.error(`${name} once`, line, i + 1);
    const number = format.u64(value, name, i + 1);
    if (unit === undefined) counts.set(name, number);
    else bytes.set(name, number * 1024n);
  }
  if (!bytes.has('MemTotal')) throw format.error('a line MemTotal', text);
  return { bytes, counts };
}
