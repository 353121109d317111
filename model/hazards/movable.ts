import { plural } from '../format.ts';
import { distinct, type PageHit, pageRule, ranges, share } from './page-rule.ts';
import { type Evidence, heldWord, type Rule, recheckRuns, type Unjudged } from './rule.ts';

/*
 * Pages that have to stay movable and cannot move: udmabuf's own reference is unexpected to migration (mm/migrate.c
 * folio_expected_ref_count), so every attempt ends with -EAGAIN for as long as the buffer lives.
 */

/** Blocks named in evidence; the others are counted. */
const NAMED_BLOCKS = 6;

/** The spans of a zone on the nodes of the hit pages, as zoneinfo has them. */
function zoneEvidence(hit: PageHit, zone: string): Evidence[] {
  const nodes = distinct(hit, hit.runs.node);
  return (hit.sample.host.zones ?? [])
    .filter(each => each.zone === zone && each.startPfn !== null && nodes.includes(each.node))
    .map(({ node, startPfn, spannedPages }) => ({
      source: '/proc/zoneinfo',
      field: `node ${node}, zone ${zone}: start_pfn, spanned`,
      value: `${startPfn}, ${spannedPages}`,
      recheck: `awk '/^Node/{n=$2$4} n=="${node},${zone}"&&/start_pfn|spanned/' /proc/zoneinfo`,
    }));
}

/** The hotplug blocks that hold the hit pages. */
function blockEvidence(hit: PageHit): Evidence[] {
  const { memoryBlocks, memoryBlockBytes } = hit.sample.host;
  if (!memoryBlocks || memoryBlockBytes === null) return [];
  const blockPages = memoryBlockBytes / 4096;
  const there = new Set(memoryBlocks.map(({ block }) => block));
  const blocks = new Set<number>();
  for (const run of hit.hits) {
    const first = hit.runs.pfn[run] ?? 0;
    const last = first + (hit.runs.count[run] ?? 1) - 1;
    for (let at = Math.floor(first / blockPages); at <= Math.floor(last / blockPages); at++)
      if (there.has(at)) blocks.add(at);
  }
  const ascending = [...blocks].sort((a, b) => a - b);
  const [one] = ascending;
  if (one === undefined) return [];
  const more = ascending.length - NAMED_BLOCKS;
  const named = ascending.slice(0, NAMED_BLOCKS);
  const files = named.length === 1 ? `memory${one}` : `memory{${named.join(',')}}`;
  return [
    {
      source: '/sys/devices/system/memory',
      field: 'blocks that cannot go offline now',
      value: `${named.map(block => `memory${block}`).join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
      recheck: `grep . /sys/devices/system/memory/${files}/valid_zones`,
    },
  ];
}

const frames = (hit: PageHit, attribute: 'zone' | 'migratetype', value: string): Evidence => ({
  source: 'kernel-memory',
  field: `PFNs ${heldWord(hit.sample)} in ${attribute === 'zone' ? 'the zone' : `${value} pageblocks`}`,
  value: ranges(hit, hit.runs.pfn),
  recheck: recheckRuns(hit.sample, hit.resource.inode, `"${attribute}":"${value}"`),
});

/** Why pages are there at all: the older driver moves none, the newer one moves all. */
function whyThere(sample: Unjudged, place: string): string {
  switch (sample.host.kernel.udmabufEra) {
    case 'page-refs':
      return `This kernel's udmabuf takes a plain page reference at UDMABUF_CREATE and moves nothing, so guest memory that lies in ${place} is held right there.`;
    case 'folio-pins':
      return `Since memfd_pin_folios() (Linux 6.11) UDMABUF_CREATE moves pages out of ${place} before it pins them, so no page should be pinned there: this kernel behaves differently.`;
    default:
      return `It is not known whether this kernel's udmabuf moves pages out of ${place} before it holds them.`;
  }
}

const newerKernel = ({ host }: Unjudged): string =>
  host.kernel.udmabufEra === 'folio-pins'
    ? 'Report it with the evidence below to linux-mm'
    : 'Or run a kernel whose udmabuf uses memfd_pin_folios() (6.11 and later)';

export const movableRules: readonly Rule[] = [
  pageRule({
    id: 'pin-in-movable',
    severity: 'warning',
    fires: 'A udmabuf holds pages that lie in ZONE_MOVABLE.',
    needs: ['zone'],
    test: runs => {
      const movable = runs.names.indexOf('Movable');
      return run => runs.zone[run] === movable;
    },
    tell: hit => ({
      title: `${share(hit)} ${heldWord(hit.sample)} in ZONE_MOVABLE`,
      explanation: [
        'ZONE_MOVABLE promises that every page in it can be moved away, so that its memory can be unplugged. These pages cannot',
        'move while the buffer lives: taking one of their memory blocks offline does not fail, it loops (“migrating pfn …',
        'failed”) until a signal ends it, and a long-term pin of the same pages (vfio, iommufd, RDMA) fails.',
        whyThere(hit.sample, 'ZONE_MOVABLE'),
      ].join(' '),
      remedy: `Destroy the resource in the guest, or end the process, before memory is taken offline; or keep guest memory out of ZONE_MOVABLE (no movablecore=, kernelcore= or online_movable on this host). ${newerKernel(hit.sample)}.`,
      evidence: [...zoneEvidence(hit, 'Movable'), frames(hit, 'zone', 'Movable'), ...blockEvidence(hit)],
    }),
  }),
  pageRule({
    id: 'unmovable-block-in-movable',
    severity: 'warning',
    fires:
      'A udmabuf holds pages of ZONE_MOVABLE whose pageblock is of another type than Movable, CMA or Isolate.',
    needs: ['zone', 'migratetype'],
    test: runs => {
      const movable = runs.names.indexOf('Movable');
      const fine = ['Movable', 'CMA', 'Isolate'].map(name => runs.names.indexOf(name));
      return run => runs.zone[run] === movable && !fine.includes(runs.migratetype[run] ?? -1);
    },
    tell: hit => {
      const types = distinct(hit, hit.runs.migratetype).map(type => hit.runs.names[type] ?? '?');
      return {
        title: `${share(hit)} ${heldWord(hit.sample)} in ${types.join(' and ')} blocks of ZONE_MOVABLE`,
        explanation: [
          `The kernel has the pageblocks of these pages down as ${types.join(' and ')}, inside a zone that has to stay movable, and a`,
          'udmabuf holds pages in them. The type alone does not make a block unmovable (memory reserved at boot is of this type too),',
          'the held pages do; and compaction moves no page into such a block.',
        ].join(' '),
        remedy: 'As for pin-in-movable: destroy the resource, or keep guest memory out of ZONE_MOVABLE.',
        evidence: [
          ...types.map(type => frames(hit, 'migratetype', type)),
          ...(hit.sample.host.migratetypes ?? [])
            .filter(({ zone, type, blocks }) => zone === 'Movable' && types.includes(type) && blocks > 0)
            .map(({ node, type, blocks }) => ({
              source: '/proc/pagetypeinfo',
              field: `node ${node}, zone Movable: blocks of type ${type}`,
              value: String(blocks),
              recheck: `sudo grep -A1000 'Number of blocks' /proc/pagetypeinfo | grep -E 'Number|Movable'`,
            })),
        ],
      };
    },
  }),
  pageRule({
    id: 'pin-in-cma',
    severity: 'warning',
    fires: 'A udmabuf holds pages that lie in CMA pageblocks.',
    needs: ['migratetype'],
    test: runs => {
      const cma = runs.names.indexOf('CMA');
      return run => runs.migratetype[run] === cma;
    },
    tell: hit => ({
      title: `${share(hit)} ${heldWord(hit.sample)} in CMA pageblocks`,
      explanation: [
        'CMA lends its memory to movable pages on condition that they go away when a device needs a contiguous piece. These pages',
        'cannot move while the buffer lives: cma_alloc() has to pass over every piece with one of them in it, and fails once no other',
        'is left (counted as cma_alloc_fail in /proc/vmstat).',
        whyThere(hit.sample, 'CMA'),
      ].join(' '),
      remedy: `Destroy the resource in the guest, or end the process, before the device asks for memory; a hugetlb memory backend takes its pages from a pool that was filled before. ${newerKernel(hit.sample)}.`,
      evidence: [
        frames(hit, 'migratetype', 'CMA'),
        ...(hit.sample.host.zones ?? [])
          .filter(zone => (zone.cmaPages ?? 0) > 0 && distinct(hit, hit.runs.node).includes(zone.node))
          .map(({ node, zone, cmaPages }) => ({
            source: '/proc/zoneinfo',
            field: `node ${node}, zone ${zone}: cma`,
            value: plural(cmaPages ?? 0, 'page'),
            recheck: `awk '/^Node/{n=$2$4} n=="${node},${zone}"&&$1=="cma"' /proc/zoneinfo`,
          })),
      ],
    }),
  }),
];
