import { formatBytes, formatSpan, plural } from '../../model/format.ts';
import type { PageRun, Resource, Snapshot } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hex } from '../../model/units.ts';
import type { Colours } from './colours.ts';
import { shorten, table } from './table.ts';

export interface SnapshotTextOptions {
  /** Page runs shown of each resource in detail. */
  readonly runs: number;
  /** Only this resource, in detail. */
  readonly resource: number | null;
}

const WIDTH = 100;
/** Up to so many resources are shown in detail unasked. */
const DETAILED = 4;

/** The snapshot for a person, at most 100 columns. What could not be read is named at the end, with what would grant it. */
export function snapshotText(snapshot: Snapshot, colours: Colours, options: SnapshotTextOptions): string {
  const { resources } = snapshot;
  const lines = [...targetLines(snapshot, colours), ''];
  if (resources.length === 0) {
    lines.push('This process holds no dma-buf that we can see.');
  } else {
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
      lines.push(
        '',
        colours.dim(`Add --resource ${resources[0]?.inode} for the pages of one of them, --json for all.`),
      );
    }
  }
  const unread = snapshot.sources.filter(({ state }) => state !== 'ok');
  if (unread.length > 0) {
    lines.push('', colours.bold('Not read'));
    for (const { name, state, detail, grant } of unread) {
      const text = `${printable(detail)}${grant ? `; needs ${grant}` : ''}`;
      lines.push(
        ...wrap(text, WIDTH - 26).map(
          (part, i) => `  ${(i === 0 ? name : '').padEnd(16)}${(i === 0 ? state : '').padEnd(8)}${part}`,
        ),
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

function targetLines({ target, host, takenAt }: Snapshot, colours: Colours): string[] {
  const name = target.name === null ? '' : ` “${printable(target.name)}”`;
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
      : `, at most ${udmabuf.listLimit} items and ${udmabuf.sizeLimitMb} MiB a buffer`;
  const locked = [
    target.memlockLimitBytes === null
      ? null
      : `memlock limit ${target.memlockLimitBytes === 'unlimited' ? 'none' : formatBytes(Number(target.memlockLimitBytes))}`,
    target.vmLckBytes === null ? null : `VmLck ${formatBytes(target.vmLckBytes)}`,
    target.vmPinBytes === null ? null : `VmPin ${formatBytes(target.vmPinBytes)}`,
  ].filter(part => part !== null);
  const rows: [string, string][] = [
    ['process', `${colours.bold(printable(target.comm))}${name}, pid ${target.pid}, uid ${target.uid}`],
    ['kernel', `${printable(kernel.release)}: ${era}${limits}`],
    ...(target.ram ?? []).map((ram): [string, string] => [
      'memory',
      [
        `${ram.id === null ? '' : `${printable(ram.id)}, `}memfd ${ram.inode}, ${formatBytes(ram.sizeBytes)}`,
        ram.pageSizeBytes === null ? '' : ` in ${formatBytes(ram.pageSizeBytes)} pages`,
        ram.share ? ', shared' : colours.bad(', private: udmabuf never sees what is written there'),
        ram.sealed === false ? colours.warn(', not sealed against shrinking') : '',
        ` at ${ram.hva}`,
      ].join(''),
    ]),
    ...(locked.length > 0 ? [['locked', locked.join(', ')] as [string, string]] : []),
    ...(target.kind === 'qemu' ? [['monitor', monitorText(target.qmp)] as [string, string]] : []),
    ['taken', takenAt],
  ];
  return rows.flatMap(([key, value]) =>
    wrap(value, WIDTH - 9).map((part, i) => `${(i === 0 ? key : '').padEnd(9)}${part}`),
  );
}

function monitorText(qmp: Snapshot['target']['qmp']): string {
  return {
    ok: 'asked over QMP',
    busy: 'busy: another client has it, so guest addresses are unknown',
    none: 'none that we could ask, so guest addresses are unknown',
    denied: 'denied to this user, so guest addresses are unknown',
  }[qmp];
}

function resourceTable({ resources, takenAt }: Snapshot): string[] {
  return table(
    [
      { title: 'DMA-BUF', align: 'right' },
      { title: 'NAME', max: 14 },
      { title: 'SIZE', align: 'right' },
      { title: 'PAGES', align: 'right' },
      { title: 'HOLDS', align: 'right' },
      { title: 'WHERE', max: 24 },
      { title: 'BACKING', max: 16 },
      { title: 'AGE', align: 'right' },
      { title: 'REFS', align: 'right' },
    ],
    resources.map(resource => {
      const { pages } = resource;
      return [
        String(resource.inode),
        printable(resource.name ?? (resource.exporter === 'udmabuf' ? '-' : `(${resource.exporter ?? '?'})`)),
        resource.sizeBytes === null ? '?' : formatBytes(resource.sizeBytes),
        pages ? String(pages.count) : 'not read',
        pages ? formatBytes(pages.folioBytes) : 'not read',
        pages ? summary(pages.runs, placeOf) : 'not read',
        pages ? backingText(pages.runs) : 'not read',
        resource.createdAt === null ? '?' : formatSpan(Date.parse(takenAt) - Date.parse(resource.createdAt)),
        resource.count === null ? '?' : String(resource.count),
      ];
    }),
  );
}

function paintRow(row: string, resource: Resource | undefined, colours: Colours): string {
  return resource?.pages?.runs.some(({ backing }) => backing === 'disconnected') ? colours.bad(row) : row;
}

const placeOf = (run: PageRun): string => `${run.node ?? '?'} ${run.zone ?? '?'} ${run.migratetype ?? '?'}`;

/** One value, or how many different ones. */
function summary(runs: readonly PageRun[], of: (run: PageRun) => string): string {
  const values = countPages(runs, of);
  const [only] = values.keys();
  return values.size === 1 && only !== undefined ? only : `${values.size} kinds`;
}

function backingText(runs: readonly PageRun[]): string {
  const counts = countPages(runs, ({ backing }) => backing);
  const lost = counts.get('disconnected');
  if (lost !== undefined) return `${lost} disconnected`;
  return counts.has('unknown') ? `${counts.get('unknown')} unknown` : 'connected';
}

function countPages(runs: readonly PageRun[], of: (run: PageRun) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const run of runs) counts.set(of(run), (counts.get(of(run)) ?? 0) + run.count);
  return counts;
}

function resourceLines(resource: Resource, snapshot: Snapshot, colours: Colours, limit: number): string[] {
  const { pages } = resource;
  const exporter = resource.exporter ?? 'unknown exporter';
  const lines = [
    `${colours.bold(`dma-buf ${resource.inode}`)} ${printable(`${resource.name ? `“${resource.name}” ` : ''}of ${exporter}`)}`,
  ];
  const field = (key: string, text: string) => {
    for (const [i, part] of wrap(text, WIDTH - 13).entries())
      lines.push(`  ${(i === 0 ? key : '').padEnd(11)}${part}`);
  };
  field('created', resource.createdAt ?? 'unknown');
  field('held by', resource.holders.map(holderText).join('; '));
  field(
    'attached',
    resource.attachments === null
      ? 'not read'
      : resource.attachments.length === 0
        ? 'to no device'
        : resource.attachments
            .map(
              ({ device, mapped }) =>
                `${printable(device)}${mapped === null ? '' : mapped ? ' (mapped)' : ' (not mapped)'}`,
            )
            .join(', '),
  );
  if (!pages) {
    const why = snapshot.sources.find(({ name }) => name === 'kernel-memory');
    const because =
      resource.exporter !== null && resource.exporter !== 'udmabuf'
        ? 'not a udmabuf: its pages belong to its own driver'
        : `${why?.state ?? 'not read'}${why?.grant ? `; needs ${why.grant}` : ''}`;
    field('pages', because);
    return lines;
  }
  const held =
    pages.pageReferences > 0
      ? plural(pages.pageReferences, 'page reference')
      : plural(pages.pinReferences, 'pin reference');
  field(
    'pages',
    `${pages.count} in ${plural(pages.folios, 'folio')} of ${formatBytes(pages.folioBytes)}, ${held}, from ${pages.source}`,
  );
  const places = [...countPages(pages.runs, placeOf)].map(([place, count]) => `${count} × node ${place}`);
  field('lies in', places.join(', '));
  field(
    'backing',
    [...countPages(pages.runs, ({ backing }) => backing)].map(([b, n]) => `${n} ${b}`).join(', '),
  );
  const [heading = '', ...rows] = table(
    [
      { title: 'INDEX', align: 'right' },
      { title: 'PAGES', align: 'right' },
      { title: 'PFN', align: 'right' },
      { title: 'FOLIO', align: 'right' },
      { title: 'NODE', align: 'right' },
      { title: 'ZONE' },
      { title: 'TYPE' },
      { title: 'GUEST ADDRESS', align: 'right' },
      { title: 'MEMFD OFFSET', align: 'right' },
      { title: 'BACKING' },
    ],
    pages.runs
      .slice(0, limit)
      .map(run => [
        String(run.index),
        String(run.count),
        hex(run.pfn),
        formatBytes(run.folioBytes),
        String(run.node ?? '?'),
        run.zone ?? '?',
        run.migratetype ?? '?',
        run.gpa ?? '?',
        run.ramOffset === null ? '?' : hex(run.ramOffset),
        run.backing,
      ]),
    '  ',
  );
  lines.push(
    colours.dim(heading),
    ...rows.map((row, i) => (pages.runs[i]?.backing === 'disconnected' ? colours.bad(row) : row)),
  );
  if (pages.runs.length > limit) {
    lines.push(
      colours.dim(
        `  … ${pages.runs.length - limit} more of ${pages.runs.length} runs; --runs all shows them`,
      ),
    );
  }
  return lines;
}

function holderText({ pid, comm, fds, mappings }: Resource['holders'][number]): string {
  const parts = [
    ...(fds.length > 0 ? [`fd ${fds.join(', ')}`] : []),
    ...(mappings.length > 0 ? [plural(mappings.length, 'mapping')] : []),
  ];
  return shorten(`${printable(comm)} (${pid}) by ${parts.join(' and ')}`, WIDTH - 13);
}

/** Breaks at blanks; a longer word is left whole. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.length - 1;
    const joined = lines[last] === '' ? word : `${lines[last]} ${word}`;
    if (joined.length <= width || lines[last] === '') lines[last] = joined;
    else lines.push(word);
  }
  return lines;
}
