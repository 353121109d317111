import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { MemoryBlockState, OpenDevices, PageRun, Resource, Snapshot } from '../snapshot.ts';
import { blockRules } from './blocks.ts';
import { evaluate } from './index.ts';
import { pinningRules } from './pinning.ts';

type Change = Parameters<typeof someSnapshot>[0];
const judge = (snapshot: Snapshot, id: string) =>
  evaluate(
    fromSnapshot(snapshot),
    null,
    [...blockRules, ...pinningRules].filter(rule => rule.id === id),
  );
const brief = (snapshot: Snapshot, id: string) =>
  judge(snapshot, id).findings.map(({ severity, resource }) => [severity, resource]);
const sources = ['maps', 'kernel-memory', 'limits', 'status', 'open-devices', 'memory-blocks', 'btf'].map(
  name => someSource(name),
);
const withRuns = (run: Partial<PageRun>, change: Partial<Resource> = {}): Resource => {
  const one = someResource(change);
  return { ...one, pages: one.pages && { ...one.pages, runs: [someRun(run)] } };
};
const none: OpenDevices = { udmabuf: 1, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] };
const denied = { state: 'denied' as const, detail: 'EACCES', grant: 'root' };

describe('block-held', () => {
  const block = (at: number, change: Partial<MemoryBlockState> = {}): MemoryBlockState => ({
    ...{ block: at, startPfn: at * 32768, node: 0, validZones: ['Movable'], state: 'online' },
    ...{ pinnedPages: null, heldBy: [] },
    ...change,
  });
  const sample = (blocks: readonly MemoryBlockState[] | null, resources: readonly Resource[]) =>
    someSnapshot({ sources, resources, host: { memoryBlocks: blocks } });
  const at = (pfn: number, change: Partial<Resource> = {}) => withRuns({ pfn, zone: 'Movable' }, change);

  test('names the block, the buffer and the process', () => {
    const [finding] = judge(sample([block(1)], [at(32768)]), 'block-held').findings;
    expect(finding).toMatchObject({
      severity: 'warning',
      resource: 7,
      title: '1 memory block of ZONE_MOVABLE is kept from going offline by 1 udmabuf',
      remedy: expect.stringContaining('To free memory1 close dma-buf 7 (256 pages there)'),
    });
    expect(finding?.evidence).toMatchObject([
      {
        source: '/sys/devices/system/memory/memory1',
        value: 'to free memory1 close dma-buf 7 (256 pages there); held by process 189',
      },
    ]);
  });
  test('blocks of several buffers are one finding of the process', () => {
    const snapshot = sample([block(1), block(2)], [at(32768), at(65536, { inode: 8 })]);
    expect(judge(snapshot, 'block-held').findings).toMatchObject([
      { resource: null, title: '2 memory blocks of ZONE_MOVABLE are kept from going offline by 2 udmabufs' },
    ]);
  });
  test.each([
    ['of another zone', block(1, { validZones: ['Normal'] })],
    ['that is offline', block(1, { state: 'offline' })],
    ['beside the pages', block(2)],
  ])('a block %s is no finding', (_, each) => {
    expect(judge(sample([each], [at(32768)]), 'block-held')).toEqual({ findings: [], notChecked: [] });
  });
  test('a buffer that was not read, and blocks that were not, are told', () => {
    const unread = someResource({ inode: 8, pages: null });
    const { findings, notChecked } = judge(sample([block(1)], [at(32768), unread]), 'block-held');
    expect(findings).toHaveLength(1);
    expect(notChecked[0]?.because).toContain('1 of 2 buffers were not read');
    expect(judge(sample(null, [at(32768)]), 'block-held').notChecked[0]?.because).toContain(
      'the memory blocks are not known',
    );
    expect(judge(sample(null, []), 'block-held').notChecked).toEqual([]);
  });
});

describe('vfio-pairing', () => {
  const vfio = { ...none, vfioGroups: ['/dev/vfio/3'], vfioDevices: 1 };
  const sample = (
    udmabufEra: 'page-refs' | 'folio-pins' | null,
    open: OpenDevices | null,
    run: Partial<PageRun> = {},
    change: Change = {},
  ) =>
    someSnapshot({
      sources,
      resources: [withRuns(run)],
      ...change,
      host: { kernel: { release: '', udmabufEra, evidence: '' } },
      target: { open, ...change.target },
    });
  const movable = { zone: 'Movable' };

  test.each<[string, Snapshot, unknown[]]>([
    ['page-refs, blob in Movable, no device', sample('page-refs', none, movable), [['warning', 7]]],
    [
      'page-refs, blob in CMA, no device',
      sample('page-refs', none, { migratetype: 'CMA' }),
      [['warning', 7]],
    ],
    ['page-refs, blob in Movable, device', sample('page-refs', vfio, movable), [['warning', 7]]],
    ['page-refs, blob elsewhere, no device', sample('page-refs', none), []],
    ['page-refs, device first', sample('page-refs', vfio), [['info', null]]],
    ['folio-pins, device', sample('folio-pins', vfio, movable), [['info', null]]],
    ['folio-pins, no device', sample('folio-pins', none, movable), []],
    [
      'pages that the guest no longer has',
      sample('page-refs', none, { ...movable, backing: 'disconnected' }),
      [],
    ],
    [
      'another program without a device',
      sample('page-refs', none, movable, { target: { kind: 'other' } }),
      [],
    ],
    ['iommufd alone', sample('folio-pins', { ...none, iommufd: 1 }), [['info', null]]],
    ['vdpa', sample('folio-pins', { ...none, vdpa: ['/dev/vhost-vdpa-0'] }), [['info', null]]],
    ['no buffers', sample('page-refs', vfio, {}, { resources: [] }), []],
  ])('%s', (_, snapshot, expected) => {
    expect(brief(snapshot, 'vfio-pairing')).toEqual(expected);
    expect(judge(snapshot, 'vfio-pairing').notChecked).toEqual([]);
  });
  test('is predicted in words that name the command', () => {
    const [finding] = judge(sample('page-refs', none, movable), 'vfio-pairing').findings;
    expect(finding?.title).toBe(
      '256 of 256 pages cannot be pinned for vfio: device_add vfio-pci will fail with ENOMEM',
    );
  });
  test('a device of the command line counts, where open files are not known', () => {
    const device = { id: null, driver: 'vfio-pci', properties: {} };
    const devices = { virtioGpu: [], balloon: [], virtioMem: [], vfio: [device], vdpa: [] };
    const snapshot = sample('folio-pins', null, {}, { target: { devices } });
    expect(brief(snapshot, 'vfio-pairing')).toEqual([['info', null]]);
  });
  test('what is not known is not checked; a prediction stands without the open files', () => {
    const because = (snapshot: Snapshot) => judge(snapshot, 'vfio-pairing').notChecked[0]?.because;
    const shut = [
      ...sources.filter(({ name }) => name !== 'open-devices'),
      someSource('open-devices', denied),
    ];
    expect(because(sample('folio-pins', null, {}, { sources: shut }))).toContain('open-devices is denied');
    expect(because(sample('page-refs', vfio, { zone: null }))).toContain('the zone of all 256 pages');
    expect(because(sample(null, none))).toContain('how this kernel’s udmabuf holds pages is not known');
    const unread = { resources: [someResource({ pages: null })] };
    expect(because(sample('page-refs', none, {}, unread))).toContain('were not read');
    const predicted = sample('page-refs', null, movable, { sources: shut });
    expect(brief(predicted, 'vfio-pairing')).toEqual([['warning', 7]]);
    expect(JSON.stringify(judge(predicted, 'vfio-pairing').findings)).not.toContain(
      'There is no vfio device',
    );
  });
});

describe('memlock-bypass', () => {
  const sample = (target: NonNullable<Change>['target'], resource: Partial<Resource> = {}) =>
    someSnapshot({ sources, target: target ?? {}, resources: [someResource(resource)] });
  test.each([
    ['past the limit', sample({ memlockLimitBytes: '0' }), 1],
    ['one byte past it', sample({ memlockLimitBytes: String(2 ** 20 - 1) }), 1],
    ['at the limit', sample({ memlockLimitBytes: String(2 ** 20) }), 0],
    ['no limit', sample({ memlockLimitBytes: 'unlimited' }), 0],
    ['counted as pinned', sample({ memlockLimitBytes: '0', vmPinBytes: 4096 }), 0],
    ['counted as locked', sample({ memlockLimitBytes: '0', vmLckBytes: 4096 }), 0],
    ['another driver’s buffer', sample({ memlockLimitBytes: '0' }, { exporter: 'i915' }), 0],
  ])('%s', (_, snapshot, times) => {
    const { findings, notChecked } = judge(snapshot, 'memlock-bypass');
    expect(findings.map(({ severity }) => severity)).toEqual(Array(times).fill('info'));
    expect(notChecked).toEqual([]);
  });
  test('sizes and the limit are in the title, root is told apart', () => {
    const [finding] = judge(sample({ memlockLimitBytes: '65536', uid: 0 }), 'memlock-bypass').findings;
    expect(finding?.title).toBe('1 MiB in udmabufs, past RLIMIT_MEMLOCK of 64 KiB, and counted nowhere');
    expect(finding?.explanation).toContain('CAP_IPC_LOCK');
  });
  test.each([
    ['limit', sample({ memlockLimitBytes: null }), 'RLIMIT_MEMLOCK is not known'],
    ['counters', sample({ vmPinBytes: null }), 'VmPin and VmLck are not known'],
    ['sizes', sample({}, { sizeBytes: null }), 'the size of 1 buffer is not known'],
    ['driver', sample({}, { exporter: null, pages: null }), 'which driver made 1 buffer is not known'],
  ])('unknown: %s', (_, snapshot, because) => {
    expect(judge(snapshot, 'memlock-bypass')).toMatchObject({
      findings: [],
      notChecked: [{ because: expect.stringContaining(because) }],
    });
  });
});
