import recording from '../model/recorded-snapshot.json' with { type: 'json' };
import { CONNECTED, DISCONNECTED, type RunColumns, type Sample, UNKNOWN } from '../model/run-columns.ts';
import type { Finding, MemoryBlockState, Snapshot, ZoneState } from '../model/snapshot.ts';
import { hex } from '../model/units.ts';

export interface SyntheticSize {
  readonly resources: number;
  /** Page runs of each resource. */
  readonly runsPerResource: number;
  /** Pages of each run. */
  readonly pagesPerRun: number;
  /** Pages from one run to the next, at least; without it, what the runs need. */
  readonly apart?: number;
  /** Of the resources, so many whose pages could not be read; the last ones. */
  readonly unread?: number;
}

const PAGE = 4096;
const PAGEBLOCK = 512;
const BLOCK = 32768;
/** First PFN of the memory that buffers lie in: 4 GiB. */
const FIRST = 2 ** 20;
/** Guest address of the memory behind QEMU's gap below 4 GiB (hw/i386/pc.c). */
const GUEST = 2 ** 32;
const NAMES = ['Normal', 'Movable', 'Unmovable', 'Reclaimable', 'CMA'] as const;
const TYPES = [1, 1, 1, 2, 2, 3, 4] as const;

/** A well-mixed number of 32 bits for each number: the sample is the same every time (a step of MurmurHash3). */
function mixed(n: number): number {
  let h = (n + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A number below `size` without a common divisor, so that its multiples come to every place once. */
function stepThrough(size: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let step = Math.max(1, Math.floor(size * 0.618));
  while (divisor(size, step) !== 1) step++;
  return step;
}

/**
 * A sample of any size, for benchmarks and pictures of what no machine at hand holds. Process, kernel and sources are those
 * of the bundled recording; resources and runs are made up, in its form: no page is held twice, runs lie apart from one another
 * in guest and host, zones, nodes and memory blocks agree with the PFNs, and every 50th resource has a disconnected run, and
 * the finding of it. One run in 32 is in no memfd that is known: it has no guest address and an unknown backing.
 */
export function syntheticSample({
  resources: count,
  runsPerResource: runs,
  pagesPerRun: pages,
  apart = pages,
  unread = 0,
}: SyntheticSize): Sample {
  const recorded = recording as unknown as Snapshot;
  const now = Date.parse(recorded.takenAt);
  const [ram] = recorded.target.ram ?? [];
  const example = recorded.findings.find(({ rule }) => rule === 'disconnected');
  if (ram === undefined || example === undefined) throw new Error('the recording lacks RAM or the finding');

  // A run has a slot of its own; every fourth slot stays free. Slots are a power of two, so that folios are aligned.
  const slotPages = 2 ** Math.ceil(Math.log2(Math.max(pages, apart)));
  const slots = runs + Math.ceil(runs / 4);
  const span = Math.ceil((count * slots * slotPages) / BLOCK) * BLOCK;
  const zones = zonesOf(span, recorded.host.zones ?? []);
  const chunkStep = stepThrough(count);
  const slotStep = stepThrough(slots);
  const held = new Map<number, { pages: number; by: Set<number> }>();
  const hold = (inode: number, pfn: number) => {
    for (let at = pfn; at < pfn + pages; ) {
      const block = Math.floor(at / BLOCK);
      const end = Math.min(pfn + pages, (block + 1) * BLOCK);
      const entry = held.get(block) ?? { pages: 0, by: new Set() };
      entry.pages += end - at;
      entry.by.add(inode);
      held.set(block, entry);
      at = end;
    }
  };
  const findings: Finding[] = [];

  const resources = Array.from({ length: count }, (_, r): Sample['resources'][number] => {
    const inode = 1000 + r;
    const big = r % 3 === 0 ? 2 ** Math.min(9, Math.floor(Math.log2(pages))) : 1;
    const chunk = (r * chunkStep) % count;
    const columns = emptyColumns(runs);
    for (let k = 0; k < runs; k++) {
      const pfn = FIRST + (chunk * slots + ((k * slotStep) % slots)) * slotPages;
      const lost = r % 50 === 49 && k === Math.floor(runs / 2);
      const unknown = !lost && mixed(r * 8191 + k) % 32 === 0;
      const zone = zones.find(({ startPfn, spannedPages }) => pfn < (startPfn ?? 0) + spannedPages);
      const offset = (r * slots + k + Math.floor(k / 4)) * slotPages * PAGE;
      columns.index[k] = k * pages;
      columns.pfn[k] = pfn;
      columns.count[k] = pages;
      columns.folioBytes[k] = big * PAGE;
      columns.node[k] = zone?.node ?? -1;
      columns.zone[k] = zone?.zone === 'Movable' ? 1 : 0;
      columns.migratetype[k] =
        zone?.zone === 'Movable' ? 1 : (TYPES[mixed(Math.floor(pfn / PAGEBLOCK)) % TYPES.length] ?? 1);
      columns.gpa[k] = unknown ? Number.NaN : GUEST + offset;
      columns.ramInode[k] = unknown ? Number.NaN : ram.inode;
      columns.ramOffset[k] = unknown ? Number.NaN : offset;
      columns.backing[k] = lost ? DISCONNECTED : unknown ? UNKNOWN : CONNECTED;
      if (r < count - unread) hold(inode, pfn);
    }
    if (r % 50 === 49 && r < count - unread) {
      findings.push({
        ...example,
        resource: inode,
        title: `${pages} of ${runs * pages} pages no longer the guest’s`,
      });
    }
    const folios = runs * Math.ceil(pages / big);
    const named = ['framebuffer', 'cursor', 'glyphs', null][mixed(r) % 4] ?? null;
    return {
      inode,
      sizeBytes: runs * pages * PAGE,
      exporter: 'udmabuf',
      name: named === null ? null : `${named}-${r}`,
      // From a second to about two weeks ago.
      createdAt: new Date(now - Math.round(1000 * 1.0014 ** (mixed(r + 77) % 10_000))).toISOString(),
      count: 1 + (mixed(r + 5) % 4),
      holders: [{ pid: recorded.target.pid, comm: recorded.target.comm, fds: [20 + r], mappings: [] }],
      attachments: r % 7 === 0 ? [{ device: '0000:00:02.0', mapped: r % 14 === 0 }] : [],
      virtio: r % 2 === 0 ? { resourceId: r + 1, scanout: r === 0 ? 0 : null } : null,
      pages:
        r >= count - unread
          ? null
          : {
              source: 'kernel-memory',
              count: runs * pages,
              folioBytes: folios * big * PAGE,
              folios,
              pinReferences: folios,
              pageReferences: 0,
              runs: columns,
            },
    };
  });

  return {
    ...recorded,
    host: {
      ...recorded.host,
      zones,
      nodes: [
        { node: 0, cpus: [0] },
        { node: 1, cpus: [1] },
      ],
      memoryBlocks: memoryBlocks(span, zones, held),
    },
    target: {
      ...recorded.target,
      ram: [
        {
          ...ram,
          sizeBytes: span * PAGE,
          guestRanges: [{ gpa: hex(GUEST), bytes: span * PAGE, offset: 0 }],
        },
      ],
    },
    resources,
    findings,
  };
}

function emptyColumns(length: number): RunColumns {
  const numbers = () => new Float64Array(length);
  return {
    length,
    index: numbers(),
    pfn: numbers(),
    count: numbers(),
    folioBytes: numbers(),
    node: new Int32Array(length),
    zone: new Int16Array(length),
    migratetype: new Int16Array(length),
    gpa: numbers(),
    ramInode: numbers(),
    ramOffset: numbers(),
    backing: new Uint8Array(length),
    names: NAMES,
  };
}

/** A third each: node 0 Normal, node 1 Normal, node 1 Movable; below them the recording's DMA zones. */
function zonesOf(span: number, recorded: readonly ZoneState[]): ZoneState[] {
  const blocks = span / BLOCK;
  const borders = [0, Math.ceil(blocks / 3), Math.ceil((2 * blocks) / 3), blocks].map(
    block => FIRST + block * BLOCK,
  );
  const places = [
    [0, 'Normal'],
    [1, 'Normal'],
    [1, 'Movable'],
  ] as const;
  return [
    ...recorded.filter(({ startPfn, spannedPages }) => startPfn !== null && startPfn + spannedPages <= FIRST),
    ...places.map(([node, zone], i): ZoneState => {
      const startPfn = borders[i] ?? 0;
      const size = (borders[i + 1] ?? 0) - startPfn;
      return {
        node,
        zone,
        startPfn: size === 0 ? null : startPfn,
        spannedPages: size,
        presentPages: size,
        managedPages: size,
        freePages: Math.floor(size / 8),
        cmaPages: 0,
        freeCmaPages: 0,
      };
    }),
  ];
}

function memoryBlocks(
  span: number,
  zones: readonly ZoneState[],
  held: ReadonlyMap<number, { readonly pages: number; readonly by: ReadonlySet<number> }>,
): MemoryBlockState[] {
  return Array.from({ length: span / BLOCK }, (_, i): MemoryBlockState => {
    const block = FIRST / BLOCK + i;
    const startPfn = block * BLOCK;
    const zone = zones.find(of => startPfn < (of.startPfn ?? 0) + of.spannedPages);
    const here = held.get(block);
    return {
      block,
      startPfn,
      node: zone?.node ?? null,
      validZones: zone === undefined ? [] : [zone.zone],
      state: 'online',
      pinnedPages: here?.pages ?? 0,
      heldBy: [...(here?.by ?? [])].sort((a, b) => a - b),
    };
  });
}
