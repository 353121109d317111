import { formatBytes, formatSpan, formatVirtio, plural } from '../../model/format.ts';
import type { PageRun, Resource, Snapshot, SourceState } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hex } from '../../model/units.ts';
import type { Colours } from './colours.ts';
import { type FilterResult, filterLines } from './filter.ts';
import { findingLines } from './findings.ts';
import { table, WIDTH } from './table.ts';
import { shorten, widthOf, wrap } from './width.ts';

export interface SnapshotTextOptions {
  /** Page runs shown of each resource in detail. */
  readonly runs: number;
  /** Only this resource, in detail. */
  readonly resource: number | null;
  /** The filter that chose the resources; without it they are all. */
  readonly filter?: FilterResult | null;
}

/** Up to so many resources are shown in detail unasked. */
const DETAILED = 4;

/** The snapshot for a person, at most 100 columns. What could not be read is named at the end, with what would grant it. */
export function snapshotText(snapshot: Snapshot, colours: Colours, options: SnapshotTextOptions): string {
  const { resources } = snapshot;
  const filter = options.filter ?? null;
  const lines = [...targetLines(snapshot, colours), ''];
  if (filter) lines.push(...filterLines(filter, colours));
  if (filter ? filter.of === 0 : resources.length === 0) {
    lines.push(noResources(snapshot));
  } else if (resources.length > 0) {
    if (resources.length > 1) lines.push(...totals(resources, colours));
    const [heading = '', ...rows] = resourceTable(snapshot);
    lines.push(colours.bold(heading), ...rows.map((row, i) => paintRow(row, resources[i], colours)));
    const chosen =
      options.resource !== null
        ? resources.filter(({ inode }) => inode === options.resource)
        : resources.length <= DETAILED
          ? resources
          : [];
    for (const resource of chosen)
      lines.push('', ...resourceLines(resource, snapshot, colours, options.runs));
    if (chosen.length === 0) {
      const example = resources.find(isDisconnected) ?? resources[0];
      lines.push('', colours.dim(`Add --resource ${example?.inode} for the pages of that one.`));
    }
  }
  lines.push(...findingLines(snapshot, colours, options.resource), ...unreadLines(snapshot, colours));
  return `${lines.map(line => line.trimEnd()).join('\n')}\n`;
}

/** `KEY       text`, wrapped under itself. */
function field(key: string, text: string, indent: string, keyWidth: number): string[] {
  return wrap(text, WIDTH - indent.length - keyWidth).map(
    (part, i) => `${indent}${(i === 0 ? key : '').padEnd(keyWidth)}${part}`,
  );
}

function targetLines({ target, host, takenAt }: Snapshot, colours: Colours): string[] {
  const name = target.name === null ? '' : ` “${shorten(printable(target.name), 60)}”`;
  const uid = target.uid < 0 ? 'unknown user' : `uid ${target.uid}`;
  const user = target.user ? `user ${printable(target.user)} (${uid})` : uid;
  const { kernel, udmabuf } = host;
  const era =
    kernel.udmabufEra === 'folio-pins'
      ? 'udmabuf pins folios (FOLL_PIN)'
      : kernel.udmabufEra === 'page-refs'
        ? 'udmabuf takes plain page references, no pins'
        : kernel.udmabufEra === 'absent'
          ? 'no udmabuf driver'
          : 'era of udmabuf unknown';
  const limits =
    udmabuf.listLimit === null || udmabuf.sizeLimitMb === null
      ? ''
      : `, at most ${plural(udmabuf.listLimit, 'item')} and ${udmabuf.sizeLimitMb} MiB a buffer`;
  const locked = [
    target.memlockLimitBytes === null
      ? null
      : target.memlockLimitBytes === 'unlimited'
        ? 'no memlock limit'
        : `memlock limit ${formatBytes(Number(target.memlockLimitBytes))}`,
    target.vmLckBytes === null ? null : `VmLck ${formatBytes(target.vmLckBytes)}`,
    target.vmPinBytes === null ? null : `VmPin ${formatBytes(target.vmPinBytes)}`,
  ].filter(part => part !== null);
  const rows: [string, string][] = [
    ['process', `${colours.bold(printable(target.comm))}${name}, pid ${target.pid}, ${user}`],
    ['kernel', `${kernel.release === '' ? 'unknown' : printable(kernel.release)}: ${era}${limits}`],
    ...(target.ram ?? []).map((ram): [string, string] => [
      'memory',
      [
        `${ram.id === null ? '' : `${shorten(printable(ram.id), 40)}, `}memfd ${ram.inode}, ${formatBytes(ram.sizeBytes)}`,
        ram.pageSizeBytes === null ? '' : ` in ${formatBytes(ram.pageSizeBytes)} pages`,
        ram.share ? ', shared' : colours.bad(', private: udmabuf never sees what is written there'),
        ram.sealed === false ? colours.warn(', not sealed against shrinking') : '',
        ` at ${printable(ram.hva)}`,
      ].join(''),
    ]),
    ...(locked.length > 0 ? [['locked', locked.join(', ')] as [string, string]] : []),
    ...(target.kind === 'qemu' ? [['monitor', monitorText(target.qmp)] as [string, string]] : []),
    ['taken', printable(takenAt)],
  ];
  return rows.flatMap(([key, value]) => field(key, value, '', 9));
}

function monitorText(qmp: Snapshot['target']['qmp']): string {
  return {
    ok: 'asked over QMP',
    busy: 'busy: another client has it, so guest addresses are unknown',
    none: 'none that we could ask, so guest addresses are unknown',
    denied: 'denied to this user, so guest addresses are unknown',
  }[qmp];
}

/** Nothing to see, and nothing that we may see, are different answers. */
function noResources({ sources }: Snapshot): string {
  // Whoever may not see the mappings may not see the open files.
  return sources.some(({ name, state }) => name === 'maps' && state === 'denied')
    ? 'Its dma-bufs are denied to this user: there may be any number of them.'
    : 'This process holds no dma-buf.';
}

/** Sums of what can be added. Folios can not: two buffers may hold the same one. */
function totals(resources: readonly Resource[], colours: Colours): string[] {
  const sized = resources.flatMap(({ sizeBytes }) => (sizeBytes === null ? [] : [sizeBytes]));
  const read = resources.flatMap(({ pages }) => (pages ? [pages] : []));
  const unread = resources.filter(resource => !resource.pages && isUdmabuf(resource)).length;
  const lost = resources.filter(isDisconnected);
  const pages = sum(
    lost.map(({ pages }) => countPages(pages?.runs ?? [], backingOf).get('disconnected') ?? 0),
  );
  const text = [
    `${plural(resources.length, 'dma-buf')}, ${sized.length > 0 ? formatBytes(sum(sized)) : 'sizes unknown'}`,
    sized.length > 0 && sized.length < resources.length
      ? ` and ${resources.length - sized.length} of unknown size`
      : '',
    read.length > 0 ? `, ${plural(sum(read.map(({ count }) => count)), 'page')}` : '',
    unread > 0 ? (read.length > 0 ? ` and the pages of ${unread} not read` : ', pages not read') : '',
    lost.length > 0
      ? colours.bad(
          `; ${plural(pages, 'page')} in ${lost.length} of them disconnected: the memfd has other pages there now`,
        )
      : '',
  ].join('');
  return [...wrap(text, WIDTH), ''];
}

function resourceTable(snapshot: Snapshot): string[] {
  const { resources, takenAt } = snapshot;
  return table(
    [
      { title: 'DMA-BUF', align: 'right' },
      { title: 'NAME', min: 8 },
      { title: 'SIZE', align: 'right' },
      { title: 'PAGES', align: 'right' },
      { title: 'HOLDS', align: 'right' },
      { title: 'NODE ZONE TYPE', min: 12 },
      { title: 'BACKING', min: 12 },
      { title: 'AGE', align: 'right' },
      { title: 'REFS', align: 'right' },
    ],
    resources.map(resource => {
      const { pages } = resource;
      const unread = whyNoPages(resource, snapshot).word;
      return [
        String(resource.inode),
        printable(resource.name || (resource.exporter === 'udmabuf' ? '-' : `(${resource.exporter ?? '?'})`)),
        resource.sizeBytes === null ? '?' : formatBytes(resource.sizeBytes),
        pages ? String(pages.count) : unread,
        pages ? formatBytes(pages.folioBytes) : unread,
        pages ? mostly(pages.runs, placeOf) : unread,
        pages ? backingText(pages.runs) : unread,
        resource.createdAt === null ? '?' : formatSpan(Date.parse(takenAt) - Date.parse(resource.createdAt)),
        resource.count === null ? '?' : String(resource.count),
      ];
    }),
  );
}

const isUdmabuf = ({ exporter }: Resource): boolean => (exporter ?? 'udmabuf') === 'udmabuf';
const isDisconnected = ({ pages }: Resource): boolean =>
  pages?.runs.some(({ backing }) => backing === 'disconnected') ?? false;

/** Why a resource has no pages: a word for a cell, and a text. */
function whyNoPages(resource: Resource, { sources }: Snapshot): { word: string; text: string } {
  if (!isUdmabuf(resource)) return { word: '-', text: 'not a udmabuf: its pages belong to its own driver' };
  const why = sources.find(({ name }) => name === 'kernel-memory');
  switch (why?.state) {
    case 'denied':
      return { word: 'denied', text: `denied; needs ${printable(why.grant ?? 'root')}` };
    case 'raced':
      return { word: 'raced', text: 'raced: the buffer changed while it was read' };
    case 'ok':
      return { word: 'raced', text: 'raced: the kernel did not have the buffer when its memory was read' };
    default:
      return { word: 'not read', text: `not read${why ? `: ${printable(why.detail)}` : ''}` };
  }
}

function paintRow(row: string, resource: Resource | undefined, colours: Colours): string {
  return resource && isDisconnected(resource) ? colours.bad(row) : row;
}

const placeOf = (run: PageRun): string =>
  printable(`${run.node ?? '?'} ${run.zone ?? '?'} ${run.migratetype ?? '?'}`);
const backingOf = (run: PageRun): PageRun['backing'] => run.backing;

/** The value of most pages, and how many others there are. */
function mostly(runs: readonly PageRun[], of: (run: PageRun) => string): string {
  const [most, ...others] = [...countPages(runs, of)].sort(([, a], [, b]) => b - a);
  return `${most?.[0] ?? '-'}${others.length > 0 ? ` +${others.length}` : ''}`;
}

function backingText(runs: readonly PageRun[]): string {
  const counts = countPages(runs, backingOf);
  const lost = counts.get('disconnected');
  if (lost !== undefined) return `${lost} disconnected`;
  return counts.has('unknown') ? `${counts.get('unknown')} unknown` : 'connected';
}

function countPages<K>(runs: readonly PageRun[], of: (run: PageRun) => K): Map<K, number> {
  const counts = new Map<K, number>();
  for (const run of runs) {
    const key = of(run);
    counts.set(key, (counts.get(key) ?? 0) + run.count);
  }
  return counts;
}

function resourceLines(resource: Resource, snapshot: Snapshot, colours: Colours, limit: number): string[] {
  const { pages } = resource;
  const exporter = resource.exporter ?? 'unknown exporter';
  const title = shorten(
    printable(`${resource.name ? `“${resource.name}” ` : ''}of ${exporter}`),
    WIDTH - 9 - String(resource.inode).length,
  );
  const lines = [`${colours.bold(`dma-buf ${resource.inode}`)} ${title}`];
  const add = (key: string, text: string) => lines.push(...field(key, text, '  ', 11));
  add('created', printable(resource.createdAt ?? 'unknown'));
  add('held by', holdersText(resource.holders));
  add('attached', attachedText(resource.attachments));
  if (resource.virtio) add('virtio-gpu', formatVirtio(resource.virtio));
  if (!pages) {
    add('pages', whyNoPages(resource, snapshot).text);
    return lines;
  }
  const held =
    pages.pageReferences > 0
      ? plural(pages.pageReferences, 'page reference')
      : plural(pages.pinReferences, 'pin reference');
  add(
    'pages',
    `${pages.count} in ${plural(pages.folios, 'folio')} of ${formatBytes(pages.folioBytes)}${pages.folios > 1 ? ' together' : ''}, ${held}, from ${printable(pages.source)}`,
  );
  const places = [...countPages(pages.runs, placeOf)].map(([place, count]) => `${count} × node ${place}`);
  add('lies in', places.join(', '));
  const paint = { connected: (text: string) => text, disconnected: colours.bad, unknown: colours.warn };
  add(
    'backing',
    [...countPages(pages.runs, backingOf)]
      .map(([b, n]) => (paint[b] ?? colours.warn)(`${n} ${b}`))
      .join(', '),
  );
  const shown = pages.runs.slice(0, limit);
  if (shown.length > 0) {
    const [heading = '', ...rows] = runTable(shown);
    lines.push(
      colours.dim(heading),
      ...rows.map((row, i) => (shown[i]?.backing === 'disconnected' ? colours.bad(row) : row)),
    );
  }
  if (pages.runs.length > limit) {
    const more = pages.runs.length - limit;
    const lost = pages.runs.slice(limit).filter(({ backing }) => backing === 'disconnected').length;
    const text = `  … ${more} more of ${pages.runs.length} runs${lost > 0 ? `, ${lost} of them disconnected` : ''}; --runs all shows them`;
    lines.push(lost > 0 ? colours.bad(text) : colours.dim(text));
  }
  return lines;
}

function runTable(runs: readonly PageRun[]): string[] {
  return table(
    [
      { title: 'INDEX', align: 'right' },
      { title: 'PAGES', align: 'right' },
      { title: 'PFN', align: 'right' },
      { title: 'FOLIO', align: 'right' },
      { title: 'NODE', align: 'right' },
      { title: 'ZONE', min: 4 },
      { title: 'TYPE', min: 4 },
      { title: 'GUEST', align: 'right' },
      { title: 'OFFSET', align: 'right' },
      { title: 'BACKING', min: 6 },
    ],
    runs.map(run => [
      String(run.index),
      String(run.count),
      hex(run.pfn),
      formatBytes(run.folioBytes),
      String(run.node ?? '?'),
      printable(run.zone ?? '?'),
      printable(run.migratetype ?? '?'),
      printable(run.gpa ?? '?'),
      run.ramOffset === null ? '?' : hex(run.ramOffset),
      printable(run.backing),
    ]),
    { indent: '  ' },
  );
}

function attachedText(attachments: Resource['attachments']): string {
  if (attachments === null) return 'not read';
  if (attachments.length === 0) return 'to no device';
  return attachments
    .map(
      ({ device, mapped }) =>
        `${printable(device)}${mapped === null ? '' : mapped ? ' (mapped)' : ' (not mapped)'}`,
    )
    .join(', ');
}

/** Holders named in detail; a buffer of a hundred processes is told by their number. */
const NAMED = 6;
/** fds named of a holder. */
const FDS = 8;

function holdersText(holders: Resource['holders']): string {
  if (holders.length === 0) return 'no process that we can see';
  const named = holders.slice(0, NAMED).map(({ pid, comm, fds, mappings }) => {
    const more = fds.length > FDS ? ` and ${fds.length - FDS} more` : '';
    const parts = [
      ...(fds.length > 0 ? [`fd ${fds.slice(0, FDS).join(', ')}${more}`] : []),
      ...(mappings.length > 0 ? [plural(mappings.length, 'mapping')] : []),
    ];
    return `${printable(comm)} (${pid}) by ${parts.join(' and ')}`;
  });
  const others = holders.length - named.length;
  return [
    ...named,
    ...(others > 0 ? [`and ${plural(others, 'other process', 'other processes')}`] : []),
  ].join('; ');
}

/** Longest text of a source that is shown: a monitor may answer at any length. */
const DETAIL = 480;

function unreadLines(snapshot: Snapshot, colours: Colours): string[] {
  const rows = snapshot.sources.filter(source => isMissed(source, snapshot));
  if (rows.length === 0) return [];
  const cells = rows.map(
    row => [shorten(printable(row.name), 30), shorten(printable(row.state), 8)] as const,
  );
  const nameWidth = Math.max(...cells.map(([name]) => widthOf(name)));
  const stateWidth = Math.max(...cells.map(([, state]) => widthOf(state)));
  return [
    '',
    colours.bold('Not read'),
    ...rows.flatMap(({ detail, grant }, i) => {
      const [name, state] = cells[i] ?? ['', ''];
      const pad = (text: string, width: number) => text + ' '.repeat(width - widthOf(text));
      const key = `${pad(name, nameWidth)}  ${pad(state, stateWidth)}  `;
      const text = `${shorten(printable(detail), DETAIL)}${grant ? `; needs ${printable(grant)}` : ''}`;
      return wrap(text, WIDTH - 2 - widthOf(key)).map(
        (part, n) => `  ${n === 0 ? key : ' '.repeat(widthOf(key))}${part}`,
      );
    }),
  ];
}

/**
 * Whether a reader of this view misses it. What is refused, raced or old always; what the machine does not have only where it
 * would have said something here. A text that we do not understand is always told: it is our fault.
 */
function isMissed({ name, state, detail }: SourceState, { target, resources }: Snapshot): boolean {
  if (state === 'ok') return false;
  if (state !== 'absent' || detail.includes('not understood')) return true;
  const mine = resources.filter(isUdmabuf);
  const pages = mine.some(resource => resource.pages !== null);
  switch (name) {
    case 'kernel-memory':
      return mine.length > 0;
    case 'zoneinfo':
    case 'pagetypeinfo':
    case 'memory-blocks':
    case 'pagemap':
      return pages;
    case 'bufinfo':
      return resources.some(({ attachments }) => attachments === null);
    case 'qmp':
      return target.kind === 'qemu';
    // kernel-memory says it where it matters; the others are no part of this view.
    case 'btf':
    case 'cma':
    case 'hugepages':
    case 'nodes':
    case 'vmstat':
    case '/dev/udmabuf':
    case 'udmabuf list_limit':
    case 'udmabuf size_limit_mb':
    case 'machine-memory':
    case 'migration':
    case 'refusals':
    case 'qemu-trace':
      return false;
    default:
      return true;
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
