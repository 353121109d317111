import { planBlocks } from '../../model/join/block-plan.ts';
import type { ColourMode } from '../../model/map/classes.ts';
import { DISCONNECTED, type RunColumns, type Sample } from '../../model/run-columns.ts';
import type { Finding } from '../../model/snapshot.ts';

/** Where one sees what a finding is about. */
export type FindingPlace =
  /** Pages of a buffer, on the map. */
  | {
      readonly kind: 'pages';
      readonly inode: number;
      /** Place of the first of them in the buffer. */
      readonly page: number;
      /** Filter that chooses the buffer by them. */
      readonly filter: string;
      readonly mode: ColourMode;
      /** Classes of that colouring that they are in; empty: they are no classes of their own. */
      readonly classes: readonly string[];
    }
  /** A buffer as a whole. */
  | { readonly kind: 'buffer'; readonly inode: number; readonly view: 'resources' | 'timeline' }
  /** The first memory block of those concerned; null: there is none in the sample any more. */
  | { readonly kind: 'block'; readonly block: number | null; readonly section: string }
  /** The process or the machine; `section` is the name of a table there. */
  | {
      readonly kind: 'view';
      readonly view: 'host' | 'sources' | 'timeline';
      readonly section: string | null;
    };

/** What the pages of a rule have in common, in the filter's words and the map's colours. */
interface Common {
  /** Whether a run is meant. */
  readonly is: (run: number) => boolean;
  readonly clause: string;
  readonly mode: ColourMode;
  readonly classes: readonly string[];
}

/** NaN, which no run has, for a name that no run has; -1 would be what is not known. */
function named(runs: RunColumns, name: string): number {
  const at = runs.names.indexOf(name);
  return at < 0 ? Number.NaN : at;
}

function inZone(runs: RunColumns, zone: string): Common {
  const at = named(runs, zone);
  return { is: run => runs.zone[run] === at, clause: `zone == ${zone}`, mode: 'zone', classes: [zone] };
}

/** Rules about single pages of a buffer. */
const PAGES: Readonly<Record<string, (runs: RunColumns, sample: Sample) => Common>> = {
  disconnected: runs => ({
    is: run => runs.backing[run] === DISCONNECTED,
    clause: 'backing == disconnected',
    mode: 'backing',
    classes: [String(DISCONNECTED)],
  }),
  'pin-in-movable': runs => inZone(runs, 'Movable'),
  'unmovable-block-in-movable': runs => {
    const [zone, type] = [named(runs, 'Movable'), named(runs, 'Unmovable')];
    return {
      is: run => runs.zone[run] === zone && runs.migratetype[run] === type,
      clause: 'zone == Movable && migratetype == Unmovable',
      mode: 'migratetype',
      classes: ['Unmovable'],
    };
  },
  'pin-in-cma': runs => {
    const at = named(runs, 'CMA');
    return {
      is: run => runs.migratetype[run] === at,
      clause: 'migratetype == CMA',
      mode: 'migratetype',
      classes: ['CMA'],
    };
  },
  'remote-node': (runs, { target: { cpuNodes, ram } }) => {
    const there = [...new Set(runs.node)].filter(node => node >= 0);
    // Where backends have policies, each page has nodes of its own to agree with: the colours show them, the filter cannot.
    const plain = (cpuNodes?.length ?? 0) > 0 && (ram ?? []).every(({ policy }) => policy === null);
    const remote = plain ? there.filter(node => !cpuNodes?.includes(node)) : [];
    return {
      is: run => remote.length === 0 || remote.includes(runs.node[run] ?? -1),
      clause: remote.map(node => `node == ${node}`).join(' || '),
      mode: 'node',
      classes: remote.map(String),
    };
  },
};

/** Rules about a buffer as a whole that show at its pages: how the map is coloured. */
const COLOURS: Readonly<Record<string, ColourMode>> = {
  amplification: 'folio',
  'zombie-pages': 'folio',
};

/** Rules about how long a buffer lives. */
const LIVES = new Set(['idle-pin', 'long-pin', 'leak', 'outlived']);

/** Tables of Host memory that show what rules about the process and the machine rest on. */
const SECTIONS: Readonly<Record<string, string>> = {
  'private-ram': 'Guest memory',
  'gigantic-in-movable': 'Guest memory',
  'vfio-pairing': 'Guest memory',
  'memlock-bypass': 'Guest memory',
  'discard-possible': 'Guest memory',
  'blob-without-udmabuf': 'Guest memory',
  'pool-starvation': 'hugetlb pools',
  'reserve-underflow': 'hugetlb pools',
  'cgroup-escape': 'hugetlb pools',
  limits: 'Counters and limits',
  'create-refused': 'Counters and limits',
};

/**
 * Where to look for a finding: the pages themselves where the sample has them, else the buffer, else the table about what it rests
 * on. A rule that this program does not know has its buffer, or Host memory.
 */
export function placeOf({ rule, resource: inode }: Finding, sample: Sample): FindingPlace {
  const section = SECTIONS[rule] ?? null;
  if (rule === 'block-held') {
    const first = planBlocks(sample).find(({ alone }) => alone);
    return { kind: 'block', block: first?.block ?? null, section: 'Memory blocks' };
  }
  if (inode === null) return { kind: 'view', view: LIVES.has(rule) ? 'timeline' : 'host', section };
  if (LIVES.has(rule)) return { kind: 'buffer', inode, view: 'timeline' };
  const runs = sample.resources.find(resource => resource.inode === inode)?.pages?.runs;
  const buffer: FindingPlace = { kind: 'buffer', inode, view: 'resources' };
  if (runs === undefined || runs.length === 0) return buffer;
  const colour = COLOURS[rule];
  const common: Common | undefined =
    colour === undefined
      ? PAGES[rule]?.(runs, sample)
      : { is: () => true, clause: '', mode: colour, classes: [] };
  if (common === undefined) return buffer;
  const { is, clause, mode, classes } = common;
  for (let run = 0; run < runs.length; run++) {
    if (!is(run)) continue;
    const terms = [`inode == ${inode}`, clause.includes('||') ? `(${clause})` : clause];
    const filter = terms.filter(term => term !== '').join(' && ');
    return { kind: 'pages', inode, page: runs.index[run] ?? 0, filter, mode, classes };
  }
  return buffer;
}

/** What the button says that leads there. */
export function placeWords(place: FindingPlace): string {
  switch (place.kind) {
    case 'pages':
      return place.classes.length > 0 ? 'Show these pages' : 'Show its pages';
    case 'buffer':
      return place.view === 'timeline' ? 'Show on the timeline' : `Show dma-buf ${place.inode}`;
    case 'block':
      return place.block === null ? `Show ${place.section}` : `Show memory block ${place.block}`;
    case 'view':
      return {
        host: `Show ${place.section ?? 'Host memory'}`,
        sources: 'Show the sources',
        timeline: 'Show the timeline',
      }[place.view];
  }
}
