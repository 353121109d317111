/**
 * What a value of a field is, and so how it is written:
 * `count`: a whole number, decimal or `0x…`; `size`: bytes, with a unit or without; `duration`: with a unit;
 * `address`: a whole number, or for guest addresses a size; `text`: any; `word`: one of a few words.
 */
export type FieldType = 'count' | 'size' | 'duration' | 'address' | 'text' | 'word';

export interface Field {
  readonly id: string;
  readonly type: FieldType;
  /**
   * `resource`: one value. `several`: any number of values. `pages`: a value for every page run, unknown as a whole while the
   * pages were not read.
   */
  readonly of: 'resource' | 'several' | 'pages';
  /** A sentence for the help and for completion. */
  readonly help: string;
  /** A comparison that makes sense. */
  readonly example: string;
  /** All words that there are, in their order; without it, words come from the host. */
  readonly words?: readonly string[];
  /** Whether `<` and `>` work on its words. */
  readonly ordered?: true;
}

/** Severities as a field has them: in this order. */
export const SEVERITIES = ['none', 'info', 'warning', 'error'] as const;

/** Every field of the language, in the order of the help. docs/FILTER.md is checked against it. */
export const FIELDS = [
  {
    id: 'inode',
    type: 'count',
    of: 'resource',
    help: 'Inode of the dma-buf.',
    example: 'inode == 42',
  },
  {
    id: 'name',
    type: 'text',
    of: 'resource',
    help: 'Name that was given to the dma-buf; none where it has no name.',
    example: 'name ~ cursor',
  },
  {
    id: 'exporter',
    type: 'text',
    of: 'resource',
    help: 'Driver that exported the dma-buf.',
    example: 'exporter == udmabuf',
  },
  { id: 'size', type: 'size', of: 'resource', help: 'Size of the buffer.', example: 'size >= 8MiB' },
  {
    id: 'pages',
    type: 'count',
    of: 'resource',
    help: 'Entries of the buffer, 4 KiB each; a page that occurs twice counts twice.',
    example: 'pages == 2025',
  },
  {
    id: 'holds',
    type: 'size',
    of: 'resource',
    help: 'Bytes of the distinct folios that its pages lie in.',
    example: 'holds > 16MiB',
  },
  {
    id: 'folios',
    type: 'count',
    of: 'resource',
    help: 'Number of those distinct folios.',
    example: 'folios > 100',
  },
  {
    id: 'pins',
    type: 'count',
    of: 'resource',
    help: 'FOLL_PIN references, one per folio in each list item; 0 before Linux 6.11.',
    example: 'pins > 0',
  },
  {
    id: 'refs',
    type: 'count',
    of: 'resource',
    help: 'References on the dma-buf: fds, mappings and importers of all processes.',
    example: 'refs > 2',
  },
  {
    id: 'age',
    type: 'duration',
    of: 'resource',
    help: 'Since the buffer was created, at the time of the sample.',
    example: 'age > 10min',
  },
  {
    id: 'zone',
    type: 'word',
    of: 'pages',
    help: 'Zone that a page lies in.',
    example: 'zone == Movable',
  },
  {
    id: 'node',
    type: 'count',
    of: 'pages',
    help: 'NUMA node that a page lies on.',
    example: 'node != 0',
  },
  {
    id: 'migratetype',
    type: 'word',
    of: 'pages',
    help: 'Migratetype of the pageblock that a page lies in.',
    example: 'migratetype == CMA',
  },
  {
    id: 'folio',
    type: 'size',
    of: 'pages',
    help: 'Size of the folio that a page belongs to.',
    example: 'folio >= 2MiB',
  },
  {
    id: 'backing',
    type: 'word',
    of: 'pages',
    help: 'Whether a page still is the guest’s: connected, disconnected or unknown.',
    example: 'backing == disconnected',
    words: ['connected', 'disconnected'],
  },
  {
    id: 'pfn',
    type: 'address',
    of: 'pages',
    help: 'Page frame number of a page.',
    example: 'pfn == 0x10000..0x17fff',
  },
  {
    id: 'gpa',
    type: 'address',
    of: 'pages',
    help: 'Guest physical address: equal where it lies inside a page.',
    example: 'gpa == 0x100003f80',
  },
  {
    id: 'ram',
    type: 'count',
    of: 'pages',
    help: 'Inode of the memfd (guest RAM) that a page comes from.',
    example: 'ram == 1240',
  },
  {
    id: 'holder',
    type: 'text',
    of: 'several',
    help: 'Program name of a process that is seen to hold the dma-buf.',
    example: 'holder ~ weston',
  },
  {
    id: 'pid',
    type: 'count',
    of: 'several',
    help: 'Pid of a process that is seen to hold it.',
    example: 'pid == 182',
  },
  {
    id: 'device',
    type: 'text',
    of: 'several',
    help: 'Device that is attached to the dma-buf.',
    example: 'device ~ 0000:00:02.0',
  },
  {
    id: 'attached',
    type: 'word',
    of: 'resource',
    help: 'Whether any device is attached: yes or no.',
    example: 'attached == yes',
    words: ['no', 'yes'],
  },
  {
    id: 'mapped',
    type: 'word',
    of: 'several',
    help: 'Whether an attached device has a mapping of it now: yes or no.',
    example: 'mapped == yes',
    words: ['no', 'yes'],
  },
  {
    id: 'resource',
    type: 'count',
    of: 'resource',
    help: 'Number of the virtio-gpu resource.',
    example: 'resource == 3',
  },
  {
    id: 'scanout',
    type: 'count',
    of: 'resource',
    help: 'Scanout that shows the virtio-gpu resource; none where it is not shown.',
    example: 'scanout == 0',
  },
  {
    id: 'severity',
    type: 'word',
    of: 'resource',
    help: 'Worst finding about the buffer. None does not mean that it is safe: rules may not have run.',
    example: 'severity >= warning',
    words: SEVERITIES,
    ordered: true,
  },
  {
    id: 'rule',
    type: 'text',
    of: 'several',
    help: 'Rule of a finding about the buffer; not decidable where that rule could not run.',
    example: 'rule == disconnected',
  },
] as const satisfies readonly Field[];

export type FieldId = (typeof FIELDS)[number]['id'];

const byId: ReadonlyMap<string, Field> = new Map(FIELDS.map(field => [field.id, field]));

/** The field of a name; field names ignore case. */
export function fieldOf(name: string): (Field & { readonly id: FieldId }) | undefined {
  return byId.get(name.toLowerCase()) as (Field & { readonly id: FieldId }) | undefined;
}

/** Words that people use for a field, beside its name: only ever suggested. */
export const OTHER_WORDS: Readonly<Record<string, FieldId>> = {
  bytes: 'size',
  comm: 'holder',
  count: 'refs',
  disconnected: 'backing',
  dmabuf: 'inode',
  driver: 'exporter',
  finding: 'rule',
  importer: 'device',
  memfd: 'ram',
  numa: 'node',
  process: 'holder',
  type: 'migratetype',
};

/** What operators a field takes. */
export function operatorsOf(field: Field): readonly Operator[] {
  if (field.type === 'text') return ['==', '!=', '~', '!~'];
  if (field.type === 'word' && !field.ordered) return field.words ? ['==', '!='] : ['==', '!=', '~', '!~'];
  return ['==', '!=', '<', '<=', '>', '>='];
}

export const OPERATORS = ['==', '!=', '<=', '>=', '!~', '<', '>', '~'] as const;
export type Operator = (typeof OPERATORS)[number];
