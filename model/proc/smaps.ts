import { Format } from '../lines.ts';
import { isVmaLine, parseVma, type Vma } from './maps.ts';

/** A mapping with what is resident in it. Sizes in bytes. */
export interface SmapsVma extends Vma {
  readonly rssBytes: number;
  /** Size of the pages that back it: 4096, or the huge page size of its hugetlb file. */
  readonly kernelPageBytes: number;
  /** Size of the pages that the MMU may use for it; since 2.6.29 always the same on x86. */
  readonly mmuPageBytes: number;
  /** Resident hugetlb pages, which Rss leaves out. */
  readonly sharedHugetlbBytes: number;
  readonly privateHugetlbBytes: number;
  /** Two letters each: `pf` is VM_PFNMAP, `ht` hugetlb, `dd` not dumped. */
  readonly vmFlags: readonly string[];
}

const format: Format = new Format('smaps');

/**
 * /proc/PID/smaps: fs/proc/task_mmu.c show_smap(), the line of maps, `KEY: N kB` lines, and `VmFlags:` last.
 * A `/dmabuf:` mapping of a udmabuf is VM_PFNMAP since 6.11 (`pf`): its Rss is 0 however much was touched.
 */
export function parseSmaps(text: string): SmapsVma[] {
  const result: SmapsVma[] = [];
  let vma: Vma | undefined;
  let vmaLine = 0;
  let fields = new Map<string, string>();

  const finish = () => {
    if (!vma) return;
    const bytes = (key: string): number => {
      const value = fields.get(key);
      if (value === undefined) throw format.error(`${key} of this mapping`, vma?.path ?? '', vmaLine);
      return format.kiloBytes(value, key, vmaLine);
    };
    const flags = fields.get('VmFlags');
    if (flags === undefined || !/^(?:[a-z0-9?]{2} )*(?:[a-z0-9?]{2})?$/.test(flags))
      throw format.error('VmFlags of two letters', flags ?? '', vmaLine);
    result.push({
      ...vma,
      rssBytes: bytes('Rss'),
      kernelPageBytes: bytes('KernelPageSize'),
      mmuPageBytes: bytes('MMUPageSize'),
      sharedHugetlbBytes: bytes('Shared_Hugetlb'),
      privateHugetlbBytes: bytes('Private_Hugetlb'),
      vmFlags: flags.split(' ').filter(flag => flag !== ''),
    });
  };

  for (const [i, line] of format.lines(text).entries()) {
    if (isVmaLine(line)) {
      finish();
      vma = parseVma(line, i + 1, format);
      vmaLine = i + 1;
      fields = new Map();
      continue;
    }
    if (!vma) throw format.error('a mapping', line, i + 1);
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const key = line.slice(0, colon);
    if (fields.has(key)) throw format.error(`${key} once a mapping`, line, i + 1);
    fields.set(key, line.slice(colon + 1).replace(/^ +/, ''));
  }
  finish();
  return result;
}
