import { formatBytes, plural } from '../format.ts';
import { DISCONNECTED } from '../run-columns.ts';
import { type PageHit, pageRule, ranges } from './page-rule.ts';
import {
  type Evidence,
  type Outcome,
  type Reason,
  type Rule,
  recheckRuns,
  type Told,
  type Unjudged,
  whyMissing,
} from './rule.ts';
import { udmabufs } from './use.ts';

/** Who else pins guest memory for long (FOLL_LONGTERM) in this process. */
interface LongTerm {
  /** Words and where they were read; empty: nobody that is known. */
  readonly evidence: readonly Evidence[];
  /** Why there may be one that is not known; null: all are. */
  readonly because: Reason | null;
}

function longTerm({ target, sources }: Unjudged): LongTerm {
  const { pid, devices, open } = target;
  const fds: Evidence[] = [];
  const row = (field: string, values: readonly string[], pattern: string) => {
    if (values.length === 0) return;
    fds.push({
      source: `/proc/${pid}/fd`,
      field,
      value: values.join(', '),
      recheck: `sudo ls -l /proc/${pid}/fd | grep '${pattern}'`,
    });
  };
  if (open) {
    row('vfio groups and devices that are open', open.vfioGroups, '/dev/vfio/');
    row(
      'vfio devices that are open',
      open.vfioDevices > 0 ? [String(open.vfioDevices)] : [],
      'anon_inode:.vfio-device',
    );
    row('fds of /dev/iommu that are open', open.iommufd > 0 ? [String(open.iommufd)] : [], '/dev/iommu');
    row('vhost-vdpa devices that are open', open.vdpa ?? [], '/dev/vhost-vdpa');
  }
  const configured = [...(devices?.vfio ?? []), ...(devices?.vdpa ?? [])];
  if (configured.length > 0) {
    fds.push({
      source: `/proc/${pid}/cmdline`,
      field: 'devices of the command line',
      value: [...new Set(configured.map(({ driver }) => driver))].join(', '),
      recheck: `tr '\\0' '\\n' </proc/${pid}/cmdline | grep -E 'vfio|vdpa'`,
    });
  }
  // Where vhost-vdpa could not be listed, the word of the command line stands.
  const why = open
    ? null
    : whyMissing('which devices it has open is not known', sources, ['open-devices'], 'not read');
  return { evidence: fds, because: fds.length > 0 ? null : why };
}

/** The pages that a page-refs udmabuf holds where a long-term pin has to move them away, and cannot. */
const blocked = (has: boolean) =>
  pageRule({
    id: 'vfio-pairing',
    severity: 'warning',
    fires: '',
    needs: ['zone', 'migratetype'],
    test: runs => {
      const movable = runs.names.indexOf('Movable');
      const cma = runs.names.indexOf('CMA');
      // What the guest no longer has, vfio does not pin.
      return run =>
        runs.backing[run] !== DISCONNECTED &&
        (runs.zone[run] === movable || (cma >= 0 && runs.migratetype[run] === cma));
    },
    tell: hit => (has ? pinFails(hit) : deviceAddFails(hit)),
  });

const held = (hit: PageHit): Evidence => ({
  source: 'kernel-memory',
  field: 'PFNs held in ZONE_MOVABLE or CMA',
  value: ranges(hit, hit.runs.pfn),
  recheck: recheckRuns(hit.sample, hit.resource.inode, '"\\(zone":"Movable\\|migratetype":"CMA\\)"'),
});

const WHY = [
  'vfio, iommufd and vdpa pin all guest memory with FOLL_LONGTERM, which has to move pages out of ZONE_MOVABLE and CMA first.',
  'This kernel’s udmabuf holds these pages by plain references that migration does not expect, so they cannot be moved, and the',
].join(' ');

const deviceAddFails = (hit: PageHit): Omit<Told, 'resource'> => ({
  title: `${hit.pages} of ${plural(hit.of, 'page')} cannot be pinned for vfio: device_add vfio-pci will fail with ENOMEM`,
  explanation: `${WHY} pin fails with ENOMEM (“vfio_dma_map(…) = -12 (Cannot allocate memory)”). ${hit.sample.target.open ? 'There is no vfio device in this process yet; adding' : 'Adding'} one fails for as long as this buffer lives.`,
  remedy:
    'Add the device before the guest makes blobs (on the command line): vfio then moves the pages before udmabuf takes them. Or destroy the resource in the guest first; or keep guest memory out of ZONE_MOVABLE and CMA; or run a kernel whose udmabuf uses memfd_pin_folios() (6.11 and later).',
  evidence: [held(hit)],
});

const pinFails = (hit: PageHit): Omit<Told, 'resource'> => ({
  title: `${hit.pages} of ${plural(hit.of, 'page')} cannot be pinned for vfio: its next mapping of them will fail with ENOMEM`,
  explanation: `${WHY} pin fails with ENOMEM. This process has such a device already, and these pages were not moved for it: they are outside what it has mapped, or its mapping failed. Adding another device, or a reset that maps the memory again, fails for as long as this buffer lives.`,
  remedy:
    'Destroy the resource in the guest before devices are added; or keep guest memory out of ZONE_MOVABLE and CMA; or run a kernel whose udmabuf uses memfd_pin_folios() (6.11 and later).',
  evidence: [held(hit), ...longTerm(hit.sample).evidence],
});

function pairing(sample: Unjudged): Outcome {
  const { mine, because } = udmabufs(sample);
  if (mine.length === 0) return { found: [], because };
  const { evidence, because: unknown } = longTerm(sample);
  const has = evidence.length > 0;
  const open = unknown === null ? because : [...because, unknown];
  switch (sample.host.kernel.udmabufEra) {
    case 'folio-pins':
      return { found: has ? [fine(evidence, PINNED)] : [], because: open };
    case 'page-refs': {
      // Of another program it is not known that it will ever pin its memory for a device.
      if (!has && sample.target.kind !== 'qemu') return { found: [], because: open };
      const outcome = blocked(has).check(sample, null);
      const all = [...outcome.because, ...(unknown === null ? [] : [unknown])];
      if (!has || outcome.found.length > 0 || all.length > 0) return { found: outcome.found, because: all };
      return { found: [fine(evidence, MOVED)], because: [] };
    }
    default:
      return {
        found: [],
        because: [
          ...open,
          whyMissing(
            'how this kernel’s udmabuf holds pages is not known',
            sample.sources,
            ['btf'],
            'neither BTF nor symbols say so',
          ),
        ],
      };
  }
}

const PINNED =
  'Both pin guest memory here, and that is fine in either order: since memfd_pin_folios() (Linux 6.11) udmabuf takes FOLL_PIN with FOLL_LONGTERM as vfio does, moves pages out of ZONE_MOVABLE and CMA before, and a page may carry the pins of both.';
const MOVED =
  'This kernel’s udmabuf holds pages by plain references, which would keep vfio from moving them. Here the device was first: it moved guest memory out of ZONE_MOVABLE and CMA when it was added, and the buffers hold pages that need not move. The other order would fail with ENOMEM.';

const fine = (evidence: readonly Evidence[], explanation: string): Told => ({
  severity: 'info',
  resource: null,
  title: 'vfio, iommufd or vdpa beside udmabufs: fine here',
  explanation,
  remedy: 'Nothing has to be done.',
  evidence,
});

/** Bytes in udmabufs past the limit of what the process may lock, which nothing counts. */
function pastLimit(sample: Unjudged): Outcome {
  const { mine, because } = udmabufs(sample);
  if (mine.length === 0) return { found: [], because };
  const { memlockLimitBytes: limit, vmPinBytes: vmPin, vmLckBytes: vmLck, pid, uid } = sample.target;
  const missing = [...because];
  if (limit === null)
    missing.push(whyMissing('RLIMIT_MEMLOCK is not known', sample.sources, ['limits'], 'not read'));
  if (vmPin === null || vmLck === null)
    missing.push(whyMissing('VmPin and VmLck are not known', sample.sources, ['status'], 'not told'));
  if (limit === null || limit === 'unlimited' || vmPin !== 0 || vmLck !== 0)
    return { found: [], because: missing };
  const bytes = mine.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
  const unsized = mine.filter(({ sizeBytes }) => sizeBytes === null).length;
  if (BigInt(bytes) <= BigInt(limit)) {
    if (unsized > 0)
      missing.push(
        whyMissing(
          `the size of ${plural(unsized, 'buffer')} is not known`,
          sample.sources,
          ['kernel-memory'],
          'not told',
        ),
      );
    return { found: [], because: missing };
  }
  const atLeast = unsized > 0 || because.length > 0 ? 'at least ' : '';
  const limitText = formatBytes(Number(limit));
  return {
    found: [
      {
        resource: null,
        title: `${atLeast}${formatBytes(bytes)} in udmabufs, past RLIMIT_MEMLOCK of ${limitText}, and counted nowhere`,
        explanation: [
          'A udmabuf keeps its pages from being moved or swapped like mlock() and vfio do, but the kernel does not hold it to',
          'RLIMIT_MEMLOCK and adds nothing to VmPin or VmLck. Whoever may open /dev/udmabuf can take memory for good without any',
          'right to lock it; the cgroup of the memory still counts it.',
          uid === 0 ? 'This process is root’s: with CAP_IPC_LOCK the limit would not bind it anyway.' : '',
        ]
          .join(' ')
          .trim(),
        remedy:
          'Nothing has to be done for a trusted QEMU. Give /dev/udmabuf to a group of its own, and hold the process with its cgroup (memory.max): the limit does not.',
        evidence: [
          {
            source: `/proc/${pid}/limits`,
            field: 'Max locked memory (soft)',
            value: `${limit} bytes`,
            recheck: `sudo grep 'Max locked memory' /proc/${pid}/limits`,
          },
          {
            source: `/proc/${pid}/status`,
            field: 'VmPin, VmLck',
            value: '0, 0',
            recheck: `grep -E 'VmPin|VmLck|CapEff' /proc/${pid}/status`,
          },
          {
            source: `/proc/${pid}/fdinfo`,
            field: `sizes of ${plural(mine.length - unsized, 'udmabuf')} together`,
            value: `${bytes} bytes`,
            recheck: `sudo sh -c 'cat /proc/${pid}/fdinfo/* 2>/dev/null; true' | awk '/^size:/{s=$2} /^exp_name:.*udmabuf/{n+=s} END{print n+0}'`,
          },
        ],
      },
    ],
    because: missing,
  };
}

export const pinningRules: readonly Rule[] = [
  {
    id: 'vfio-pairing',
    severity: 'warning',
    fires:
      'udmabuf holds guest pages where a long-term pin of the same process (vfio, iommufd, vdpa) cannot move them; told as fine where both get on.',
    needs: ['open-devices', 'devices', 'era', 'pages', 'zone', 'migratetype'],
    check: pairing,
  },
  {
    id: 'memlock-bypass',
    severity: 'info',
    fires: 'udmabufs hold more than RLIMIT_MEMLOCK allows while VmPin and VmLck are 0.',
    needs: ['buffers', 'memlock'],
    check: pastLimit,
  },
];
