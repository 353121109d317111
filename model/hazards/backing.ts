import { DISCONNECTED } from '../run-columns.ts';
import type { RamBackend } from '../snapshot.ts';
import { isOn } from './blobs.ts';
import { distinct, type PageHit, pageRule, ranges, share } from './page-rule.ts';
import {
  type Evidence,
  heldWord,
  mayBeUdmabuf,
  type Rule,
  recheckRuns,
  type Told,
  type Unjudged,
  whyMissing,
} from './rule.ts';

const isPrivate = (ram: RamBackend): boolean => !ram.share;

/** What of this QEMU may have thrown the pages away, by its command line. */
function discarders({ target }: Unjudged): string[] {
  const { devices } = target;
  if (!devices) return [];
  return [...devices.balloon, ...devices.virtioMem].map(({ driver }) => driver);
}

function explain(hit: PageHit): string {
  const { target } = hit.sample;
  const inodes = distinct(hit, hit.runs.ramInode);
  const guest = target.kind === 'qemu' ? 'the guest' : 'the process';
  const lost = `The buffer still holds the pages that it took when it was made; at these places ${guest} has other pages now, or none until it touches them. What ${guest} draws there never reaches the display or the device, which go on showing what was there before: a frozen, stale or black picture, and no error anywhere.`;
  if (target.ram?.some(ram => isPrivate(ram) && inodes.includes(ram.inode)))
    return `${lost} The reason is that this memory is mapped private: see private-ram.`;
  const by = discarders(hit.sample);
  return `${lost} A page leaves its memfd when somebody punches a hole there (balloon, virtio-mem, free page reporting, postcopy); F_SEAL_SHRINK does not prevent it.${by.length > 0 ? ` This QEMU has ${by.join(' and ')}.` : ''}`;
}

function guestEvidence(hit: PageHit): Evidence[] {
  const known = hit.hits.filter(run => (hit.runs.gpa[run] ?? Number.NaN) >= 0);
  if (known.length === 0) return [];
  return [
    {
      source: 'kernel-memory, QMP',
      field: 'guest addresses of the pages',
      value: ranges({ ...hit, hits: known }, hit.runs.gpa, 4096),
      recheck: recheckRuns(hit.sample, hit.resource.inode, '"backing":"disconnected"'),
    },
  ];
}

export const backingRules: readonly Rule[] = [
  pageRule({
    id: 'disconnected',
    severity: 'error',
    fires: 'A udmabuf holds pages that are no longer those of the memory it was made from.',
    needs: ['backing'],
    // A program that maps no memory has none that it could be disconnected from: zombie-pages and outlived tell of it.
    test: (runs, { target }) =>
      target.kind === 'other' && target.ram?.length === 0
        ? () => false
        : run => runs.backing[run] === DISCONNECTED,
    tell: hit => ({
      title: `${share(hit)} no longer the ${hit.sample.target.kind === 'qemu' ? 'guest’s' : 'memfd’s'}`,
      explanation: explain(hit),
      remedy:
        'Have the guest make the resource anew (change the display mode, restart its compositor, reboot). To keep it from happening again, run blob=true without a balloon, virtio-mem, free page reporting or incoming postcopy.',
      evidence: [
        ...guestEvidence(hit),
        {
          source: 'kernel-memory',
          field: `PFNs ${heldWord(hit.sample)} by the buffer and no longer in its memfd`,
          value: ranges(hit, hit.runs.pfn),
          recheck: recheckRuns(hit.sample, hit.resource.inode, '"backing":"disconnected"'),
        },
      ],
    }),
  }),
  {
    id: 'private-ram',
    severity: 'error',
    fires: 'QEMU maps a guest memory backend private and has blob resources.',
    needs: ['ram'],
    check: ({ target, resources, sources }) => {
      if (target.kind !== 'qemu') return { found: [], because: [] };
      if (target.ram === null)
        return {
          found: [],
          because: [whyMissing('the memory of this process is not known', sources, ['maps'], 'not read')],
        };
      const blobs =
        resources.some(mayBeUdmabuf) ||
        (target.devices?.virtioGpu.some(({ properties }) => isOn(properties.blob)) ?? false);
      const lost = target.ram.filter(isPrivate);
      if (!blobs || lost.length === 0) return { found: [], because: [] };
      return { found: [privateRam(target.pid, lost)], because: [] };
    },
  },
];

function privateRam(pid: number, lost: readonly RamBackend[]): Told {
  const names = lost.map(({ id, inode }) => id ?? `memfd ${inode}`).join(', ');
  return {
    resource: null,
    title: `Guest memory ${names} is mapped private`,
    explanation:
      'QEMU maps this memfd copy-on-write, so whatever the guest writes goes to private copies, while udmabuf takes the pages of the memfd itself. Every blob is disconnected from birth and shows zeroes or old contents. QEMU starts like that without a warning: its check looks only for a memfd with seals.',
    remedy: 'Start QEMU with share=on at the memory-backend-memfd (its default), or leave share=off away.',
    evidence: lost.map(({ inode, hva }) => ({
      source: `/proc/${pid}/maps`,
      field: `permissions of the mapping of memfd ${inode} at ${hva}`,
      value: 'private (…p)',
      recheck: `sudo grep -E '^${hva.replace(/^0x/, '')}-.* ${inode} ' /proc/${pid}/maps`,
    })),
  };
}
