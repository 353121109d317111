import { plural } from '../format.ts';
import type { RamBackend } from '../snapshot.ts';
import { GIGANTIC_PAGE } from '../units.ts';
import { hugetlbRam, makesUdmabufs, ramName, sum } from './guest-memory.ts';
import { type Outcome, type Rule, type Told, type Unjudged, whyMissing } from './rule.ts';

function checkGigantic(sample: Unjudged): Outcome {
  const { host, target, sources } = sample;
  if (target.ram !== null && !makesUdmabufs(sample)) return { found: [], because: [] };
  const { ram, because } = hugetlbRam(sample);
  const gigantic = ram.filter(({ pageSizeBytes }) => (pageSizeBytes ?? 0) >= GIGANTIC_PAGE);
  // The page-refs era takes a page where it lies: pin-in-movable tells of it then.
  const era = host.kernel.udmabufEra;
  if (gigantic.length === 0 || era === 'page-refs' || era === 'absent') return { found: [], because };
  if (era === null) {
    const what = "whether this kernel's udmabuf moves pages out of ZONE_MOVABLE is not known";
    const why = whyMissing(what, sources, ['btf'], 'nothing tells');
    return { found: [], because: [...because, why] };
  }
  const unread = gigantic.filter(each => !each.gigantic);
  const why = unread.map(each =>
    whyMissing(
      `where the 1 GiB pages of ${ramName(each)} lie is not known`,
      sources,
      ['gigantic-pages'],
      'not read',
    ),
  );
  const there = gigantic.filter(each => (each.gigantic?.inMovable ?? 0) > 0);
  return {
    found: there.length > 0 ? [inMovable(target.pid, there)] : [],
    because: [...because, ...why],
  };
}

function inMovable(pid: number, there: readonly RamBackend[]): Told {
  const [movable, all] = [
    sum(there, each => each.gigantic?.inMovable ?? 0),
    sum(there, each => each.gigantic?.pages ?? 0),
  ];
  const names = there.map(ramName).join(', ');
  return {
    resource: null,
    title: `${movable} of ${plural(all, '1 GiB page')} of ${names} in ZONE_MOVABLE: no buffer can be made of them`,
    explanation:
      'UDMABUF_CREATE has to move pages out of ZONE_MOVABLE before it pins them, and the kernel moves no page of 1 GiB. Every buffer that lies over one of these fails with ENOMEM, however much memory is free, and nothing is logged but QEMU’s “UDMABUF_CREATE_LIST: Cannot allocate memory”.',
    remedy:
      'Take the 1 GiB pages from another zone: reserve them at boot without movablecore=, kernelcore= or movable_node, or before memory is onlined as movable; or use hugetlbsize=2M, whose pages do move.',
    evidence: there.map(each => ({
      source: `/proc/${pid}/pagemap, /proc/zoneinfo`,
      field: `1 GiB pages of memfd ${each.inode} in ZONE_MOVABLE, of those that are there`,
      value: `${each.gigantic?.inMovable} of ${each.gigantic?.pages}`,
      recheck: `sudo pinscope snapshot --pid ${pid} --json | tr -d ' \\n' | grep -o '"inode":${each.inode},[^{]*"gigantic":{[^}]*}'`,
    })),
  };
}

export const giganticRules: readonly Rule[] = [
  {
    id: 'gigantic-in-movable',
    severity: 'warning',
    fires: 'A 1 GiB page of guest RAM lies in ZONE_MOVABLE, where the kernel cannot pin it.',
    needs: ['ram', 'gigantic', 'era'],
    check: checkGigantic,
  },
];
