import { plural } from '../format.ts';
import type { SampledResource } from '../run-columns.ts';
import { bufferRule, created } from './buffer-rule.ts';
import {
  type Evidence,
  heldWord,
  type Reason,
  type Rule,
  type Told,
  type Unjudged,
  whyMissing,
} from './rule.ts';
import { hiddenHolders, isIdle, recheckMember } from './use.ts';

const names = (inodes: readonly number[]): string =>
  `${inodes.length === 1 ? 'memfd' : 'memfds'} ${inodes.slice(0, 4).join(', ')}${inodes.length > 4 ? ` and ${inodes.length - 4} more` : ''}`;

const withoutFile = (sample: Unjudged, { inode, pages }: SampledResource): Evidence => ({
  source: 'kernel-memory',
  field: 'entries whose page is in no file (folio->mapping is NULL)',
  value: `${pages?.withoutFile} of ${pages?.count}`,
  recheck: recheckMember(sample, inode, '"withoutFile":[0-9]*'),
});
const NOT_TOLD = 'whether its pages are still in a file was not read';
const unread = ({ sources }: Unjudged): Reason =>
  whyMissing('its pages were not read', sources, ['kernel-memory'], 'it changed while it was read');

/** Who of the holders is not the process of the sample; or why that is not known. */
function others(
  { target, sources }: Unjudged,
  resource: SampledResource,
): { readonly who: readonly string[] } | { readonly why: Reason } {
  const why = hiddenHolders('whether its maker still holds it is not known', { sources }, resource);
  if (why !== null) return { why };
  const foreign = resource.holders.filter(({ pid }) => pid !== target.pid);
  return { who: foreign.map(({ pid, comm }) => `${comm} (${pid})`) };
}

const outlived = bufferRule(
  {
    id: 'outlived',
    severity: 'warning',
    fires:
      'A process that makes no udmabufs holds one whose maker is gone, memory and all; info where the memory lives and its owner has let go of the buffer.',
    needs: ['pages', 'holders', 'open-devices', 'ram'],
  },
  (resource, sample) => {
    const { target, sources } = sample;
    // A QEMU made what it holds; its own buffers go with it.
    if (target.kind === 'qemu') return null;
    if (!target.open)
      return whyMissing(
        'whether this process makes udmabufs itself is not known',
        sources,
        ['open-devices'],
        'not read',
      );
    if (target.open.udmabuf > 0) return null;
    const { pages } = resource;
    if (pages === null) return unread(sample);
    if (pages.withoutFile === undefined) return NOT_TOLD;
    const holders = others(sample, resource);
    if ('why' in holders) return holders.why;
    const { who } = holders;
    if (pages.withoutFile === pages.count) {
      return who.length > 0
        ? `whether one of its other holders made it is not known: ${who.slice(0, 4).join(', ')}`
        : makerGone(sample, resource);
    }
    const inodes = [...new Set(pages.runs.ramInode)].filter(inode => !Number.isNaN(inode));
    if (inodes.length === 0) return 'whose memory its pages are is not known: their file could not be read';
    if (target.ram === null)
      return whyMissing(
        'whether its pages are this process’s own is not known',
        sources,
        ['maps'],
        'not read',
      );
    const own = target.ram.some(({ inode }) => inodes.includes(inode));
    return own || who.length > 0 ? null : letGo(sample, resource, inodes);
  },
);

const holdersOf = ({ target }: Unjudged, { inode, count }: SampledResource): Evidence => ({
  source: '/proc/*/fd, /proc/*/maps',
  field: 'processes that hold it',
  value: `this one alone (${target.pid})${count === null ? '' : `, ${plural(count, 'reference')}`}`,
  recheck: `sudo sh -c 'cat /proc/[0-9]*/fdinfo/* 2>/dev/null; true' | grep -c '^ino:[[:space:]]*${inode}$'`,
});

const makerGone = (sample: Unjudged, resource: SampledResource): Omit<Told, 'resource'> => ({
  title: `All ${plural(resource.pages?.count ?? 0, 'page')} outlived the process that made the buffer`,
  explanation:
    'The memfd that this buffer was made from is gone, and this process, which has /dev/udmabuf not open and so seems to have been handed the buffer, is the only one that still holds it. All its pages stay taken until it closes it: memory of a guest that is no more, which no list of that guest’s memory shows.',
  remedy: 'End this process, or have it close the buffer (a viewer: reconnect or close its window).',
  evidence: [withoutFile(sample, resource), holdersOf(sample, resource), created(sample, resource)],
});

const letGo = (
  sample: Unjudged,
  resource: SampledResource,
  inodes: readonly number[],
): Omit<Told, 'resource'> => ({
  severity: 'info',
  title: `Held by this process alone, with pages of ${names(inodes)} of another`,
  explanation: `The memory is that of another process, which does not hold the buffer itself any more: a QEMU whose guest was reset or destroyed the resource, or a client that handed the buffer over and closed it. Its pages stay ${heldWord(sample)} in that memory until this process closes it.`,
  remedy: 'Nothing has to be done while it is shown. Otherwise have this process close it.',
  evidence: [
    {
      source: 'kernel-memory',
      field: 'file of its pages, which this process does not map',
      value: names(inodes),
      recheck: recheckMember(sample, resource.inode, '"ramInode":[0-9]*'),
    },
    holdersOf(sample, resource),
    created(sample, resource),
  ],
});

const zombiePages = bufferRule(
  {
    id: 'zombie-pages',
    severity: 'warning',
    fires:
      'A udmabuf holds pages that belong to no file any more: a warning if they are all that it has and nobody uses it, else info.',
    needs: ['pages'],
  },
  (resource, sample) => {
    const { pages } = resource;
    if (pages === null) return unread(sample);
    if (pages.withoutFile === undefined) return NOT_TOLD;
    if (pages.withoutFile === 0) return null;
    const forNobody = pages.withoutFile === pages.count && isIdle(sample, resource) === true;
    return {
      severity: forNobody ? 'warning' : 'info',
      title: `${pages.withoutFile} of ${plural(pages.count, 'page')} ${heldWord(sample)} and in no file any more`,
      explanation: [
        'The memfd of these pages was punched or truncated there, or is gone, so they are nobody’s memory: no guest and no process can',
        'reach them but through a dma-buf. They are freed when the last buffer of them is closed; until then they stay charged to the',
        'cgroup that had them (memory.current), under none of the headings of its memory.stat, and a hugetlb page is missing in its pool.',
        forNobody ? 'Nobody maps this buffer and no device is attached: it keeps them for nothing.' : '',
      ]
        .join(' ')
        .trim(),
      remedy:
        'Have the guest make the resource anew, or end the processes that hold the buffer. A program that closes its memfd after UDMABUF_CREATE, on purpose, has all its pages like this, and nothing is wrong.',
      evidence: [withoutFile(sample, resource), created(sample, resource)],
    };
  },
);

export const outlivedRules: readonly Rule[] = [outlived, zombiePages];
