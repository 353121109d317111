/**
 * The free huge pages of a size, by /proc/kpageflags and /proc/kpagecount: heads of hugetlb pages that nobody maps. Another path
 * through the kernel than its free lists. A page in use that nobody maps would count too: what holds one is to map it.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { KPF } from '../compare.ts';

const [HEAD, TAIL, HUGE] = [1 << KPF.head, 1 << KPF.tail, 1 << KPF.huge];
const CHUNK_BYTES = 1 << 22;

/** A u64 a page of 4 KiB, of the whole machine; calls `visit` with its two halves. */
function eachPage(path: string, visit: (pfn: number, low: number, high: number) => void): void {
  const fd = openSync(path, 'r');
  try {
    const data = Buffer.alloc(CHUNK_BYTES);
    for (let pfn = 0; ; ) {
      const bytes = readSync(fd, data, 0, data.length, pfn * 8);
      if (bytes === 0) return;
      for (let at = 0; at < bytes; at += 8, pfn++)
        visit(pfn, data.readUInt32LE(at), data.readUInt32LE(at + 4));
    }
  } finally {
    closeSync(fd);
  }
}

/** PFNs of their heads, ascending. */
export function freeHugePages(pageSizeBytes: number): number[] {
  const pages = pageSizeBytes / 4096;
  const heads: number[] = [];
  let head = -1;
  let length = 0;
  const end = () => {
    if (head >= 0 && length === pages) heads.push(head);
    head = -1;
  };
  eachPage('/proc/kpageflags', (pfn, low) => {
    if ((low & HUGE) !== 0 && (low & TAIL) !== 0 && head >= 0) {
      length++;
      return;
    }
    end();
    if ((low & HUGE) !== 0 && (low & HEAD) !== 0) {
      head = pfn;
      length = 1;
    }
  });
  end();
  const mapped = new Set<number>();
  const wanted = new Set(heads);
  eachPage('/proc/kpagecount', (pfn, low) => {
    if (low !== 0 && wanted.has(pfn)) mapped.add(pfn);
  });
  return heads.filter(pfn => !mapped.has(pfn));
}

/** `free_hugepages` of the machine's pool. */
export const freeInSysfs = (pageSizeBytes: number): number =>
  Number(readFileSync(`/sys/kernel/mm/hugepages/hugepages-${pageSizeBytes / 1024}kB/free_hugepages`, 'utf8'));
