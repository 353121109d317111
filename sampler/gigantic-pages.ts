import { closeSync } from 'node:fs';
import type { FrameMap } from '../model/join/frames.ts';
import type { RamMapping } from '../model/join/ram.ts';
import { absent, denied, ok, type Reading } from '../model/reading.ts';
import type { RamBackend } from '../model/snapshot.ts';
import { GIGANTIC_PAGE } from '../model/units.ts';
import type { Native } from '../native/index.ts';
import { failure, type HostFiles } from './files.ts';
import { grantFor } from './grants.ts';

/** Of a page table entry (native PageRuns). */
const PRESENT = 0x100;

/**
 * The gigantic pages that a process maps of one memfd, and those of them in ZONE_MOVABLE: one entry of its page table a page, its
 * first, whose PFN tells the zone. `denied` without the right to see PFNs.
 */
export async function readGiganticPages(
  files: HostFiles,
  native: Native,
  pid: number,
  mappings: readonly RamMapping[],
  frames: FrameMap | undefined,
): Promise<Reading<NonNullable<RamBackend['gigantic']>>> {
  const path = `/proc/${pid}/pagemap`;
  if (!frames) return absent(path, 'the zones of the host are not known');
  const first = firstPages(mappings);
  const fd = files.open(path);
  if (fd.state !== 'ok') return fd as Reading<never>;
  try {
    const runs = await native.readPageRuns(fd.value, {
      first,
      count: new Float64Array(first.length).fill(1),
    });
    const present = [...runs.flags.keys()].filter(run => ((runs.flags[run] ?? 0) & PRESENT) !== 0);
    const pfns = new Set(present.map(run => runs.frame[run] ?? 0));
    if (pfns.has(0)) return denied(path, 'PFNs are hidden from this user', grantFor(path));
    const zones = [...pfns].map(pfn => frames.locate(pfn).zone);
    if (zones.includes(null)) return absent(path, 'the zone of a page is not known: the host does not say');
    return ok(path, { pages: pfns.size, inMovable: zones.filter(zone => zone === 'Movable').length });
  } catch (error) {
    return failure(path, error);
  } finally {
    closeSync(fd.value);
  }
}

/** Virtual page numbers of the gigantic pages' first pages; hugetlb mappings begin and end at a multiple of the page. */
function firstPages(mappings: readonly RamMapping[]): Float64Array {
  const pages: number[] = [];
  for (const { start, end } of mappings)
    for (let at = Number(start); at < Number(end); at += GIGANTIC_PAGE) pages.push(at / 4096);
  return Float64Array.from(pages);
}
