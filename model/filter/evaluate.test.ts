import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyFilter } from '../../test/filters.ts';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { syntheticSample } from '../../test/synthetic-sample.ts';
import recorded from '../recorded-snapshot.json' with { type: 'json' };
import { fromSnapshot, toSnapshot } from '../run-columns.ts';
import type { Resource, Snapshot } from '../snapshot.ts';
import type { Expression } from './ast.ts';
import { applyFilter } from './evaluate.ts';
import { parseFilter } from './parser.ts';
import { printFilter } from './print.ts';

const recording = recorded as unknown as Snapshot;
const { pid, ram } = recording.target;
const small = ram?.find(({ pageSizeBytes }) => pageSizeBytes === 4096)?.inode;
/** Age of its buffer of this number, ms. */
const age = (inode: number) =>
  Date.parse(recording.takenAt) -
  Date.parse(recording.resources.find(each => each.inode === inode)?.createdAt ?? '');

/** Shown inodes, and how many could not be decided. */
function filter(text: string, snapshot: Snapshot): [number[], number] {
  const { resources, undecided } = applyFilter(parseFilter(text), fromSnapshot(snapshot));
  return [resources.map(({ inode }) => inode), undecided];
}

// ------------------------------------------------------------------------- on recorded and made-up buffers

test.each([
  ['', [1, 2, 3, 4, 5, 6, 7, 8]],
  ['size == 8294400', [1]],
  ['size == 7.91MiB', [1]],
  ['pages == 900', [7, 8]],
  ['backing == disconnected', [7]],
  ['backing != disconnected', [1, 2, 3, 4, 5, 6, 8]],
  ['severity >= warning', [7]],
  ['rule == disconnected', [7]],
  ['folio == 2MiB && holds > 2MiB', [1, 3]],
  ['!(folio >= 2MiB)', [7, 8]],
  [`ram == ${small}`, [7, 8]],
  // Inside the first run of dma-buf 1: pages 11264 to 11271.
  ['pfn == 11267', [1]],
  ['pfn == 0x2c00..0x2c03', [1]],
  ['gpa == 0x200fff', [1]],
  ['gpa >= 4GiB', [7, 8]],
  ['gpa < 0x201000', [1]],
  [`age > ${age(6)}ms`, [1, 2, 3, 4, 5]],
  ['qemu && inode <= 2', [1, 2]],
  ['QEMU-SYSTEM', [1, 2, 3, 4, 5, 6, 7, 8]],
  ['weston', []],
  ['name == none && inode == 3', [3]],
  ['resource == 7', [7]],
  ['scanout == 0', [1]],
  ['attached == no', [1, 2, 3, 4, 5, 6, 7, 8]],
  [`device == none && pid == ${pid} && exporter == UDMABUF`, [1, 2, 3, 4, 5, 6, 7, 8]],
])('of the recording, %j chooses %j', (text, inodes) => {
  expect(filter(text, recording)).toEqual([inodes, 0]);
});

test('what was not read never decides, and is counted', () => {
  const snapshot = someSnapshot({
    resources: [
      someResource({ inode: 1 }),
      someResource({ inode: 2, pages: null, sizeBytes: null, exporter: null, createdAt: null }),
      someResource({
        inode: 3,
        pages: {
          ...pagesOf(),
          runs: [someRun({ zone: null, gpa: null, node: null }), someRun({ zone: 'DMA32' })],
        },
      }),
      someResource({ inode: 4, attachments: null, count: null }),
    ],
  });
  expect(filter('zone == Normal', snapshot)).toEqual([[1, 4], 2]);
  // One run is DMA32, so it is decided; whether another one is Normal is not.
  expect(filter('zone == DMA32', snapshot)).toEqual([[3], 1]);
  expect(filter('zone != DMA32', snapshot)).toEqual([[1, 4], 1]);
  expect(filter('!(zone == DMA32)', snapshot)).toEqual([[1, 4], 1]);
  expect(filter('zone != Normal', snapshot)).toEqual([[], 2]);
  expect(filter('zone == unknown', snapshot)).toEqual([[2, 3], 0]);
  expect(filter('zone != unknown', snapshot)).toEqual([[1, 4], 0]);
  expect(filter('size < 1GiB', snapshot)).toEqual([[1, 3, 4], 1]);
  expect(filter('size < 1GiB || size >= 1GiB', snapshot)).toEqual([[1, 3, 4], 1]);
  expect(filter('size < 1GiB || inode == 2', snapshot)).toEqual([[1, 2, 3, 4], 0]);
  expect(filter('node >= 0', snapshot)).toEqual([[1, 3, 4], 1]);
  expect(filter('refs == 2', snapshot)).toEqual([[1, 2, 3], 1]);
  expect(filter('device == none', snapshot)).toEqual([[1, 2, 3], 1]);
  expect(filter('attached == unknown', snapshot)).toEqual([[4], 0]);
  expect(filter('nosuchword', snapshot)).toEqual([[], 1]);
  expect(filter('age == unknown || name == unknown', snapshot)).toEqual([[2], 0]);
});

const pagesOf = () => {
  const { pages } = someResource();
  if (pages === null) throw new Error('no pages');
  return pages;
};

test('a buffer in two zones is in either, and != means that no page is there', () => {
  const runs = [someRun({ zone: 'Normal' }), someRun({ zone: 'Movable' })];
  const snapshot = someSnapshot({ resources: [someResource({ pages: { ...pagesOf(), runs } })] });
  for (const chosen of [
    'zone == Normal',
    'zone == Movable',
    'zone == Normal && zone == Movable',
    'zone ~ mov',
  ])
    expect(filter(chosen, snapshot)).toEqual([[7], 0]);
  for (const left of ['zone != Normal', 'zone != Movable', 'zone !~ mov', '!(zone == Normal)'])
    expect(filter(left, snapshot)).toEqual([[], 0]);
});

test('attached devices, mappings, scanouts, and rules that did not run', () => {
  const snapshot = someSnapshot({
    resources: [
      someResource({
        inode: 1,
        attachments: [
          { device: 'gpu', mapped: true },
          { device: 'vfio', mapped: null },
        ],
      }),
      someResource({
        inode: 2,
        attachments: [{ device: 'vfio', mapped: null }],
        virtio: { resourceId: 3, scanout: null },
      }),
      someResource({ inode: 3, virtio: { resourceId: 4, scanout: 1 } }),
    ],
    notChecked: [{ rule: 'far-node', because: 'no nodes' }],
  });
  expect(filter('mapped == yes', snapshot)).toEqual([[1], 1]);
  // That of the device without a reading may be anything.
  expect(filter('mapped == none', snapshot)).toEqual([[3], 1]);
  expect(filter('device == VFIO', snapshot)).toEqual([[1, 2], 0]);
  expect(filter('device != vfio', snapshot)).toEqual([[3], 0]);
  expect(filter('scanout == 1', snapshot)).toEqual([[3], 1]);
  expect(filter('scanout == none', snapshot)).toEqual([[2], 1]);
  expect(filter('resource > 3', snapshot)).toEqual([[3], 1]);
  const partly = someSnapshot({
    resources: [
      someResource({ inode: 1, virtio: { resourceId: 3, scanout: 'unknown' } }),
      someResource({ inode: 2, virtio: { resourceId: null, scanout: null } }),
    ],
  });
  expect(filter('scanout == none', partly)).toEqual([[2], 1]);
  expect(filter('scanout == 0', partly)).toEqual([[], 1]);
  expect(filter('resource == 3', partly)).toEqual([[1], 1]);
  expect(filter('rule == far-node', snapshot)).toEqual([[], 3]);
  expect(filter('rule == disconnected', snapshot)).toEqual([[], 0]);
  expect(filter('rule == none', snapshot)).toEqual([[], 3]);
  expect(filter('severity == none', snapshot)).toEqual([[1, 2, 3], 0]);
});

// ------------------------------------------------------------------------- against a second, naive evaluation

/** All values of a field, `null` for unknown ones, from the objects of the JSON schema. Pages are one value each. */
function valuesOf(field: string, resource: Resource, snapshot: Snapshot): (number | string | null)[] {
  const { pages, holders, attachments, virtio } = resource;
  const ofPages = (
    of: (run: NonNullable<typeof pages>['runs'][number], page: number) => number | string | null,
  ) =>
    pages === null
      ? [null]
      : pages.runs.flatMap(run => Array.from({ length: run.count }, (_, i) => of(run, i)));
  const findings = snapshot.findings.filter(one => one.resource === resource.inode);
  switch (field) {
    case 'inode':
      return [resource.inode];
    case 'name':
      return resource.name === null && resource.exporter !== null ? [] : [resource.name];
    case 'exporter':
      return [resource.exporter];
    case 'size':
      return [resource.sizeBytes];
    case 'pages':
      return [pages === null ? null : pages.count];
    case 'holds':
      return [pages === null ? null : pages.folioBytes];
    case 'folios':
      return [pages === null ? null : pages.folios];
    case 'pins':
      return [pages === null ? null : pages.pinReferences];
    case 'refs':
      return [resource.count];
    case 'age':
      return [resource.createdAt && Date.parse(snapshot.takenAt) - Date.parse(resource.createdAt)];
    case 'zone':
      return ofPages(run => run.zone);
    case 'node':
      return ofPages(run => run.node);
    case 'migratetype':
      return ofPages(run => run.migratetype);
    case 'folio':
      return ofPages(run => run.folioBytes);
    case 'backing':
      return ofPages(run => (run.backing === 'unknown' ? null : run.backing));
    case 'pfn':
      return ofPages((run, i) => run.pfn + i);
    case 'gpa':
      return ofPages((run, i) => run.gpa && Number(run.gpa) + 4096 * i);
    case 'ram':
      return ofPages(run => run.ramInode);
    case 'holder':
      return holders.map(({ comm }) => comm);
    case 'pid':
      return holders.map(({ pid }) => pid);
    case 'device':
      return attachments === null ? [null] : attachments.map(({ device }) => device);
    case 'attached':
      return [attachments && (attachments.length > 0 ? 'yes' : 'no')];
    case 'mapped':
      return attachments === null
        ? [null]
        : attachments.map(({ mapped }) => (mapped === null ? null : mapped ? 'yes' : 'no'));
    case 'resource':
      return [virtio === null ? null : virtio.resourceId];
    case 'scanout':
      if (virtio === null || virtio.scanout === 'unknown') return [null];
      return virtio.scanout === null ? [] : [virtio.scanout];
    case 'severity':
      return [
        ['error', 'warning', 'info'].find(each => findings.some(({ severity }) => severity === each)) ??
          'none',
      ];
    case 'rule':
      return findings.map(({ rule }) => rule);
    default:
      throw new Error(field);
  }
}

/** true, false, or null for not decidable. */
function naive(expression: Expression, resource: Resource, snapshot: Snapshot): boolean | null {
  const again = (of: Expression) => naive(of, resource, snapshot);
  const either = (all: (boolean | null)[]) => (all.includes(true) ? true : all.includes(null) ? null : false);
  const not = (of: boolean | null) => (of === null ? null : !of);
  switch (expression.kind) {
    case 'or':
      return either([again(expression.left), again(expression.right)]);
    case 'and':
      return not(either([not(again(expression.left)), not(again(expression.right))]));
    case 'not':
      return not(again(expression.term));
    case 'search':
      return either(
        (['name', 'exporter', 'holder'] as const).map(field =>
          again({ kind: 'compare', field, operator: '~', value: { kind: 'text', text: expression.text } }),
        ),
      );
  }
  const { field, operator, value } = expression;
  if (operator === '!=') return not(again({ ...expression, operator: '==' }));
  if (operator === '!~') return not(again({ ...expression, operator: '~' }));
  const values = valuesOf(field, resource, snapshot);
  if (value.kind === 'unknown') return values.includes(null);
  if (value.kind === 'none')
    return values.length === 0
      ? true
      : values.every(one => one === null)
        ? null
        : values.includes(null)
          ? null
          : false;
  const rank = (of: string) => ['none', 'info', 'warning', 'error'].indexOf(of);
  return either(
    values.map(one => {
      if (one === null) return null;
      if (value.kind === 'range') return Number(one) >= value.first && Number(one) <= value.last;
      if (value.kind === 'text' && operator === '~')
        return String(one).toLowerCase().includes(value.text.toLowerCase());
      if (value.kind === 'text' && operator === '==')
        return String(one).toLowerCase() === value.text.toLowerCase();
      const [a, b] =
        value.kind === 'text' ? [rank(String(one)), rank(value.text)] : [Number(one), value.number];
      // An address is inside a page: the page has all addresses from its first to its last.
      const end = field === 'gpa' ? a + 4095 : a;
      switch (operator) {
        case '<':
          return a < b;
        case '<=':
          return a <= b;
        case '>':
          return end > b;
        case '>=':
          return end >= b;
        default:
          return a <= b && end >= b;
      }
    }),
  );
}

const shown = (expression: Expression, snapshot: Snapshot) => {
  const verdicts = snapshot.resources.map(resource => naive(expression, resource, snapshot));
  return {
    inodes: snapshot.resources.filter((_, i) => verdicts[i]).map(({ inode }) => inode),
    undecided: verdicts.filter(verdict => verdict === null).length,
  };
};

test.each([
  ['the recording', { ...recording, resources: recording.resources.slice(1) }],
  [
    'made-up buffers, some unread',
    toSnapshot(syntheticSample({ resources: 12, runsPerResource: 3, pagesPerRun: 2, unread: 3 })),
  ],
])('the columns of %s say what a naive evaluation of the objects says', (_, snapshot) => {
  const sample = fromSnapshot(snapshot);
  fc.assert(
    fc.property(anyFilter, expression => {
      const { resources, undecided } = applyFilter(expression, sample);
      expect({ inodes: resources.map(({ inode }) => inode), undecided }, printFilter(expression)).toEqual(
        shown(expression, snapshot),
      );
    }),
    { numRuns: 500 },
  );
});
