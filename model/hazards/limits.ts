import { capital, formatBytes, plural } from '../format.ts';
import type { SampledResource } from '../run-columns.ts';
import {
  blobDevices,
  deviceEvidence,
  deviceName,
  liveBlobs,
  ofBlobs,
  type Screen,
  screens,
  screenText,
} from './blobs.ts';
import {
  type Evidence,
  type Reason,
  type Rule,
  type Severity,
  type Told,
  type Unjudged,
  whyMissing,
} from './rule.ts';

/*
 * udmabuf refuses with EINVAL what is larger than its two parameters (drivers/dma-buf/udmabuf.c): size_limit_mb is compared with all
 * items of one buffer together, list_limit with the number of items of UDMABUF_CREATE_LIST, of which QEMU sends one for each piece
 * of guest memory that is contiguous for the guest. Huge pages of the host do not change that number.
 */

const PARAMETERS = '/sys/module/udmabuf/parameters';

/** Items of the framebuffers of 2025 pages that real Linux guests made, fewest and most (rig, QEMU 7.2). */
const SEEN = { pages: 2025, fewest: 72, most: 271 } as const;

/** What of one limit stands in the way. */
export interface TooSmall {
  readonly limit: 'list_limit' | 'size_limit_mb';
  readonly value: number;
  /** Certain: the resource is refused whatever the guest does; likely: in every guest that was measured; possible: in some. */
  readonly how: 'certain' | 'likely' | 'possible';
  /** What it is too small for; null: for everything. */
  readonly screen: Screen | null;
  /** A value that is enough. */
  readonly enough: number;
  readonly why: string;
}

/** Limits that stand in the way of a configured framebuffer, the surest first. */
export function tooSmall(sample: Unjudged): TooSmall[] {
  const { listLimit, sizeLimitMb } = sample.host.udmabuf;
  const all = screens(sample);
  const found: TooSmall[] = [];
  if (sizeLimitMb !== null && blobDevices(sample).length > 0) {
    const over = largest(all.filter(({ bytes }) => bytes > sizeLimitMb * 2 ** 20));
    const alone = largest(all.filter(({ bytes, outputs }) => outputs === 1 && bytes > sizeLimitMb * 2 ** 20));
    const screen = alone ?? over;
    if (screen)
      found.push({
        ...{ limit: 'size_limit_mb', value: sizeLimitMb, screen, enough: powerAbove(screen.bytes / 2 ** 20) },
        how: alone ? 'certain' : 'possible',
        why: `${screenText(screen)} takes ${formatBytes(screen.bytes)} (4 bytes a pixel) and one buffer may have ${sizeLimitMb} MiB`,
      });
  }
  if (listLimit !== null && blobDevices(sample).length > 0) {
    const screen = largest(all.filter(({ outputs }) => outputs === 1));
    const told = listLimit === 0 ? noList(listLimit, screen) : screen && manyItems(sample, listLimit, screen);
    if (told) found.push(told);
  }
  const order = ['certain', 'likely', 'possible'];
  return found.sort((a, b) => order.indexOf(a.how) - order.indexOf(b.how));
}

const largest = (of: readonly Screen[]): Screen | undefined =>
  of.reduce<Screen | undefined>((most, each) => (most && most.bytes >= each.bytes ? most : each), undefined);
const powerAbove = (value: number): number => 2 ** Math.ceil(Math.log2(Math.max(value, 1)));

const noList = (value: number, screen: Screen | undefined): TooSmall => ({
  ...{ limit: 'list_limit', value, how: 'certain', screen: null },
  enough: Math.max(1024, powerAbove((screen?.bytes ?? 0) / 4096)),
  why: 'QEMU makes every buffer with UDMABUF_CREATE_LIST, and a list may have 0 items',
});

/** How many items the framebuffer takes depends on how broken up the guest's memory is: at most one a page. */
function manyItems(sample: Unjudged, value: number, screen: Screen): TooSmall | undefined {
  const pages = screen.bytes / 4096;
  const own = measured(sample, pages);
  const { fewest, most } = own ? { fewest: own.items, most: own.items } : SEEN;
  const scale = pages / (own ?? SEEN).pages;
  const items = { fewest: fewest * scale, most: most * scale };
  if (items.most <= value || pages <= value) return undefined;
  const basis = own
    ? `a buffer of ${plural(own.pages, 'page')} of this guest took ${plural(own.items, 'item')}`
    : `framebuffers of ${SEEN.pages} pages of freshly started Linux guests took ${SEEN.fewest} to ${SEEN.most} items`;
  return {
    ...{ limit: 'list_limit', value, screen, enough: powerAbove(pages) },
    how: items.fewest > value ? 'likely' : 'possible',
    why: `${screenText(screen)} has ${plural(pages, 'page')} and takes an item for each contiguous piece of guest memory; ${basis}`,
  };
}

/** Items and pages of the largest live buffer, if it is large enough to tell of the framebuffer. */
const measured = (sample: Unjudged, pages: number): { items: number; pages: number } | undefined =>
  liveBlobs(sample)
    .flatMap(resource => {
      const items = itemsOf(resource);
      return items === null ? [] : { items, pages: resource.pages?.count ?? 0 };
    })
    .filter(each => each.pages >= pages / 4)
    .sort((a, b) => b.pages - a.pages)[0];

/** Pieces of the buffer that are contiguous in guest memory; null: their places are not known. */
function itemsOf({ pages }: SampledResource): number | null {
  if (!pages) return null;
  const { ramOffset, ramInode, count, length } = pages.runs;
  let items = 0;
  let next = Number.NaN;
  let file = Number.NaN;
  for (let run = 0; run < length; run++) {
    const at = ramOffset[run] ?? Number.NaN;
    const inode = ramInode[run] ?? Number.NaN;
    if (!(at >= 0)) return null;
    if (at !== next || inode !== file) items++;
    next = at + (count[run] ?? 0) * 4096;
    file = inode;
  }
  return items;
}

export const parameterEvidence = ({ host }: Unjudged, limit: TooSmall['limit']): Evidence => ({
  source: PARAMETERS,
  field: limit,
  value: String(limit === 'list_limit' ? host.udmabuf.listLimit : host.udmabuf.sizeLimitMb),
  recheck: `cat ${PARAMETERS}/${limit}`,
});

/** What raises a limit: at once, and for good. udmabuf is built in, so there is no module option. */
export const raise = ({ limit, enough }: Pick<TooSmall, 'limit' | 'enough'>): string =>
  `set ${limit} to ${enough}: echo ${enough} | sudo tee ${PARAMETERS}/${limit} (at once; udmabuf.${limit}=${enough} on the kernel command line for good)`;

function titleOf({ limit, value, how, screen }: TooSmall): string {
  if (screen === null) return `${limit} is ${value}: every blob is refused`;
  const what = screenText(screen);
  if (limit === 'size_limit_mb')
    return `${what} ${screen.outputs === 1 ? 'needs' : 'need'} ${formatBytes(screen.bytes)}, and ${limit} is ${value}`;
  return `${what} ${how === 'likely' ? 'will' : 'may'} need more than the ${plural(value, 'item')} of ${limit}`;
}

const HOW = {
  certain: 'UDMABUF_CREATE_LIST then gives EINVAL, whatever the guest does',
  likely: 'UDMABUF_CREATE_LIST then gives EINVAL, as it would have in every guest that was measured',
  possible: 'UDMABUF_CREATE_LIST then gives EINVAL, which depends on the guest and need not happen',
} as const;

function tell(sample: Unjudged, all: readonly TooSmall[], first: TooSmall): Told {
  const severity: Severity = first.how === 'possible' ? 'info' : 'warning';
  const device = first.screen?.device ?? blobDevices(sample)[0];
  return {
    resource: null,
    severity,
    title: titleOf(first),
    explanation: `${all.map(({ why, how }) => `${capital(why)}. ${HOW[how]}.`).join(' ')} QEMU prints a warning, the guest’s driver “response 0x1200”, and the screen of that mode stays black.`,
    remedy: `${capital(all.map(raise).join('; '))}. Then have the guest make the resource anew (another display mode and back).`,
    evidence: [
      ...all.map(({ limit }) => parameterEvidence(sample, limit)),
      ...(device
        ? [
            deviceEvidence(
              sample,
              device,
              `${deviceName(device)}: ${screens(sample).map(screenText).join(', ')}`,
            ),
          ]
        : []),
    ],
  };
}

export const limitRules: readonly Rule[] = [
  {
    id: 'limits',
    severity: 'warning',
    fires: 'list_limit or size_limit_mb of udmabuf is too small for a configured output.',
    needs: ['devices', 'limits'],
    check: ofBlobs(sample => {
      const { target, sources, host } = sample;
      const because: Reason[] = [];
      if (target.devices === null)
        because.push(
          whyMissing(
            'the outputs of this QEMU are not known',
            sources,
            ['cmdline'],
            'its command line could not be read',
          ),
        );
      for (const [value, name] of [
        [host.udmabuf.listLimit, 'list_limit'],
        [host.udmabuf.sizeLimitMb, 'size_limit_mb'],
      ] as const)
        if (value === null)
          because.push(whyMissing(`${name} is not known`, sources, [`udmabuf ${name}`], 'it was not read'));
      const all = tooSmall(sample);
      const [first] = all;
      return { found: first ? [tell(sample, all, first)] : [], because };
    }),
  },
];
