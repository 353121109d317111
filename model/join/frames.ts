import { lastAtOrBelow } from '../ascending.ts';
import type { MemoryBlockState, ZoneState } from '../snapshot.ts';

/** Where a page frame lies; `null`: the host does not say. */
export interface Frame {
  readonly node: number | null;
  readonly zone: string | null;
  /** First PFN behind this one for which the answer may differ. */
  readonly until: number;
}

/**
 * PFN → node and zone, from the spans of /proc/zoneinfo. Spans of different nodes may overlap (interleaved banks), and a span
 * may have holes; where more than one zone spans a PFN, the memory block's own node and `valid_zones` decide, and where they do
 * not, the answer is `null`, not a guess.
 */
export class FrameMap {
  private readonly edges: Float64Array;
  private readonly candidates: readonly (readonly ZoneState[])[];
  private readonly blocks = new Map<number, Pick<MemoryBlockState, 'node' | 'validZones'>>();
  private readonly blockPages: number;

  constructor(
    zones: readonly ZoneState[],
    blocks: readonly Pick<MemoryBlockState, 'startPfn' | 'node' | 'validZones'>[] = [],
    blockBytes = 0,
    pageSize = 4096,
  ) {
    const present = zones.filter(zone => zone.startPfn !== null && zone.spannedPages > 0);
    const edges = new Set<number>([0]);
    for (const zone of present) {
      edges.add(zone.startPfn ?? 0);
      edges.add((zone.startPfn ?? 0) + zone.spannedPages);
    }
    this.edges = Float64Array.from(edges).sort();
    this.candidates = Array.from(this.edges, edge =>
      present.filter(
        ({ startPfn, spannedPages }) => (startPfn ?? 0) <= edge && edge < (startPfn ?? 0) + spannedPages,
      ),
    );
    this.blockPages = blockBytes / pageSize;
    for (const block of blocks) this.blocks.set(block.startPfn, block);
  }

  locate(pfn: number): Frame {
    const at = lastAtOrBelow(this.edges, pfn);
    const zones = this.candidates[at] ?? [];
    const end = this.edges[at + 1] ?? Number.POSITIVE_INFINITY;
    if (zones.length === 1) return { node: zones[0]?.node ?? null, zone: zones[0]?.zone ?? null, until: end };
    if (zones.length === 0 || this.blockPages < 1) return { node: null, zone: null, until: end };
    const start = Math.floor(pfn / this.blockPages) * this.blockPages;
    const until = Math.min(end, start + this.blockPages);
    const block = this.blocks.get(start);
    if (!block) return { node: null, zone: null, until };
    const possible = zones.filter(
      zone =>
        (block.node === null || zone.node === block.node) &&
        (block.validZones.length !== 1 || zone.zone === block.validZones[0]),
    );
    const nodes = new Set(possible.map(zone => zone.node));
    return {
      node: nodes.size === 1 ? (possible[0]?.node ?? null) : null,
      zone: possible.length === 1 ? (possible[0]?.zone ?? null) : null,
      until,
    };
  }
}
