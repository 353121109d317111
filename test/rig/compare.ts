/** Comparing a snapshot with other sources of the same facts. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import type { Finding, PageRun, Resource, Snapshot } from '../../model/snapshot.ts';
import type { CaseContext } from './case.ts';
import { type BufferEvent, expandPages } from './guest/buffers.ts';

export function resourceOf(snapshot: Snapshot, inode: number): Resource {
  const resource = snapshot.resources.find(row => row.inode === inode);
  if (!resource) throw new Error(`the snapshot has no dma-buf ${inode}`);
  return resource;
}

/** The pages of a resource; throws with the reason when they were not read. */
export function pagesOf(snapshot: Snapshot, inode: number): NonNullable<Resource['pages']> {
  const { pages } = resourceOf(snapshot, inode);
  if (!pages)
    throw new Error(
      `no pages of ${inode}: ${JSON.stringify(snapshot.sources.filter(s => s.state !== 'ok'))}`,
    );
  return pages;
}

/** One value a page, in buffer order. */
export function perPage<T>(runs: readonly PageRun[], of: (run: PageRun, i: number) => T): T[] {
  return runs.flatMap(run => Array.from({ length: run.count }, (_, i) => of(run, i)));
}

export const pfnsOf = (runs: readonly PageRun[]): number[] => perPage(runs, (run, i) => run.pfn + i);

/** How many of the helper's own PFNs (pagemap of its memfd mapping) the snapshot has at the same place. */
export function samePfns(runs: readonly PageRun[], witness: BufferEvent): { same: number; of: number } {
  const theirs = expandPages(witness.pages ?? []);
  const ours = pfnsOf(runs);
  return {
    same: theirs.filter((pfn, i) => pfn !== null && pfn === ours[i]).length,
    of: Math.max(theirs.length, ours.length),
  };
}

export function checkPfns(
  t: CaseContext,
  what: string,
  runs: readonly PageRun[],
  witness: BufferEvent,
): void {
  const entries = witness.sizeBytes / 4096;
  t.equal(`${what}: PFNs equal to the program’s own pagemap`, samePfns(runs, witness), {
    same: entries,
    of: entries,
  });
}

/** Zone and node of a page as sysfs tells them for its memory block: another path through the kernel than zoneinfo's. */
export class BlockWitness {
  private readonly blockPages: number;
  constructor() {
    const bytes = readFileSync('/sys/devices/system/memory/block_size_bytes', 'utf8').trim();
    this.blockPages = Number.parseInt(bytes, 16) / 4096;
  }

  /** `zone: null` where the block spans several. */
  of(pfn: number): { zone: string | null; node: number | null } {
    const directory = `/sys/devices/system/memory/memory${Math.floor(pfn / this.blockPages)}`;
    const zones = readFileSync(`${directory}/valid_zones`, 'utf8').trim().split(' ');
    const nodes = readdirSync(directory).flatMap(name => /^node(\d+)$/.exec(name)?.[1] ?? []);
    return {
      zone: zones.length === 1 && zones[0] !== 'none' ? (zones[0] ?? null) : null,
      node: nodes.length === 1 ? Number(nodes[0]) : null,
    };
  }
}

/** Checks every page's zone and node against its memory block, where that is of one zone. Returns how many could be. */
export function checkPlaces(t: CaseContext, what: string, runs: readonly PageRun[]): number {
  const witness = new BlockWitness();
  const wrong: unknown[] = [];
  let compared = 0;
  for (const run of runs) {
    for (let i = 0; i < run.count; i++) {
      const { zone, node } = witness.of(run.pfn + i);
      if (zone === null) continue;
      compared++;
      if (run.zone !== zone || run.node !== node)
        wrong.push({ pfn: run.pfn + i, ours: [run.zone, run.node], sysfs: [zone, node] });
    }
  }
  t.equal(`${what}: zone and node equal to those of the memory block`, wrong.slice(0, 3), []);
  return compared;
}

/** kpageflags bits (include/uapi/linux/kernel-page-flags.h). */
export const KPF = { head: 15, tail: 16, huge: 17, thp: 22 } as const;

/** Flags of one page. */
export function pageFlags(pfn: number): bigint {
  const data = Buffer.alloc(8);
  const fd = openSync('/proc/kpageflags', 'r');
  try {
    readSync(fd, data, 0, 8, pfn * 8);
  } finally {
    closeSync(fd);
  }
  return data.readBigUInt64LE();
}

/** 512-byte blocks that a memfd has: grows when something touches a hole. */
export function allocatedBlocks(pid: number, fd: number): number {
  return statSync(`/proc/${pid}/fd/${fd}`).blocks;
}

/** Each shell line of evidence prints something here. */
export async function checkRechecks(t: CaseContext, findings: readonly Finding[]): Promise<void> {
  // The line is for a user's shell: there, sudo asks, and pinscope is on the PATH.
  const words = `sudo() { "$@"; }; pinscope() { ${process.execPath} ${t.root}/dist/cli/pinscope.js "$@"; }; set -o pipefail; `;
  const silent: string[] = [];
  const lines = new Set(findings.flatMap(({ evidence }) => evidence.map(({ recheck }) => recheck)));
  for (const line of lines) {
    const printed = await t.sh(words + line).catch((error: Error) => `!${error.message}`);
    if (printed.trim() === '' || printed.startsWith('!')) silent.push(`${line}: ${printed}`);
  }
  t.ok(`${lines.size} shell lines of evidence show something`, lines.size > 0 && silent.length === 0, silent);
}
