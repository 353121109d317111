import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type {
  HugetlbPool,
  PageRun,
  RamBackend,
  Resource,
  Snapshot,
  SourceState,
  UdmabufEra,
} from '../snapshot.ts';
import { evaluate } from './index.ts';

const MIB2 = 2 ** 21;
const GIB = 2 ** 30;
const names = ['maps', 'kernel-memory', 'zoneinfo', 'memory-blocks', 'pagetypeinfo', 'pagemap', 'hugepages'];
const sources = [...names, 'memfds', 'hugetlb-cgroup', 'btf'].map(name => someSource(name));
const without = (name: string, change: Partial<SourceState> = {}) => [
  ...sources.filter(each => each.name !== name),
  someSource(name, { state: 'denied', detail: 'EACCES', grant: 'root', ...change }),
];
type Change = Parameters<typeof someSnapshot>[0];
const judge = (rule: string, change: Change) => {
  const snapshot: Snapshot = someSnapshot({ sources, ...change });
  const { findings, notChecked } = evaluate(fromSnapshot(snapshot));
  return {
    found: findings.filter(each => each.rule === rule),
    because: notChecked.find(each => each.rule === rule)?.because ?? null,
  };
};
const nothing = { found: [], because: null };

const pool = (change: Partial<HugetlbPool> = {}): HugetlbPool => ({
  ...{ pageSizeBytes: MIB2, node: null, total: 128, free: 10, reserved: 0, surplus: 0, overcommit: 0 },
  ...change,
});
const [some] = someSnapshot().target.ram ?? [];
if (!some) throw new Error('no RAM');
/** 128 pages of 2 MiB, of which this many are there. */
const ram = (there: number, change: Partial<RamBackend> = {}): RamBackend => ({
  ...some,
  allocatedBytes: there * MIB2,
  ...change,
});
const era = (udmabufEra: UdmabufEra | null) => ({ kernel: { release: '', udmabufEra, evidence: '' } });
const noDevices = { virtioGpu: [], balloon: [], virtioMem: [], vfio: [], vdpa: [] };

describe('pool-starvation', () => {
  const starved = (pools: HugetlbPool[], backends: RamBackend[], more: Change = {}) =>
    judge('pool-starvation', {
      ...more,
      host: { hugetlb: pools, ...more.host },
      target: { ram: backends, ...more.target },
    });
  test('fires: fewer free pages than holes', () => {
    const { found, because } = starved([pool({ free: 10 })], [ram(100)]);
    expect(found).toMatchObject([
      { severity: 'warning', resource: null, title: '2 MiB pool: 10 pages for 28 that mem1 lacks' },
    ]);
    expect(found[0]?.evidence.map(({ value }) => value)).toEqual(['128, 10, 0, 0, 0', '100 of 128']);
    expect(because).toBeNull();
  });
  test.each([
    ['as many free pages as holes', pool({ free: 28 }), {}, false],
    ['one fewer', pool({ free: 27 }), {}, true],
    ['all of them reserved, perhaps by this memory', pool({ free: 28, reserved: 28 }), {}, false],
    ['reserved, and not by this memory', pool({ free: 28, reserved: 1 }), { reserve: false }, true],
    ['a surplus that may still grow', pool({ free: 20, surplus: 2, overcommit: 10 }), {}, false],
    ['a surplus that may not', pool({ free: 20, surplus: 8, overcommit: 10 }), {}, true],
    [
      'a reservation that has wrapped',
      pool({ free: 28, reserved: '18446744073709551612' }),
      { reserve: false },
      false,
    ],
  ])('%s', (_, one, change, fires) => {
    const { found, because } = starved([one], [ram(100, change)]);
    expect([found.length > 0, because]).toEqual([fires, null]);
  });
  test('two backends share a pool, and two pools are one finding', () => {
    const two = [ram(120), ram(100, { id: 'mem2', inode: 253 })];
    expect(starved([pool({ free: 35 })], two).found[0]?.title).toBe(
      '2 MiB pool: 35 pages for 36 that mem1, mem2 lack',
    );
    const big = ram(0, { id: 'big', inode: 9, pageSizeBytes: GIB, sizeBytes: 2 * GIB });
    const pools = [pool({ free: 0 }), pool({ pageSizeBytes: GIB, free: 1 })];
    expect(starved(pools, [ram(120), big]).found).toMatchObject([
      { title: '2 MiB pool: 0 pages for 8 that mem1 lacks; 1 GiB pool: 1 page for 2 that big lacks' },
    ]);
  });
  test('memory that is all there, of ordinary pages, or not plugged is silent', () => {
    expect(starved([pool({ free: 0 })], [ram(128)])).toEqual(nothing);
    expect(starved([pool({ free: 0 })], [ram(0, { pageSizeBytes: 4096 })])).toEqual(nothing);
    const virtioMem = [{ id: null, driver: 'virtio-mem-pci', properties: { memdev: 'mem1' } }];
    const target = { devices: { ...noDevices, virtioMem } };
    expect(starved([pool({ free: 0 })], [ram(0)], { target })).toEqual(nothing);
  });
  test('a process that makes no buffers is silent, one that will is not', () => {
    const idle = { resources: [] };
    expect(starved([pool({ free: 0 })], [ram(0)], idle)).toEqual(nothing);
    const virtioGpu = [{ id: null, driver: 'virtio-gpu-pci', properties: { blob: 'on' } }];
    const target = { devices: { ...noDevices, virtioGpu } };
    expect(starved([pool({ free: 0 })], [ram(0)], { ...idle, target }).found).toHaveLength(1);
    const open = { udmabuf: 1, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] };
    expect(starved([pool({ free: 0 })], [ram(0)], { ...idle, target: { open } }).found).toHaveLength(1);
  });
  test('where holes are refused whatever the pool has, that is said, as information', () => {
    const { found } = starved([pool({ free: 128 })], [ram(100)], { host: era('page-refs') });
    expect(found).toMatchObject([
      { severity: 'info', title: '28 of 128 huge pages of mem1 were never touched' },
    ]);
    expect(found[0]?.explanation).toContain('EINVAL');
    expect(starved([pool()], [ram(128)], { host: era('page-refs') })).toEqual(nothing);
    expect(starved([pool()], [ram(100)], { host: era('absent') })).toEqual(nothing);
  });
  test('not checked: holes, pools, era or RAM unknown', () => {
    const unasked = ram(0, { allocatedBytes: null });
    expect(starved([pool()], [unasked], { sources: without('memfds') })).toEqual({
      found: [],
      because: 'how much of mem1 is there is not known: memfds is denied (EACCES; needs root)',
    });
    const { allocatedBytes: _, ...older } = ram(0);
    expect(starved([pool()], [older]).because).toContain('how much of mem1 is there is not known');
    expect(
      judge('pool-starvation', {
        host: { hugetlb: null },
        target: { ram: [ram(0)] },
        sources: without('hugepages', { state: 'absent' }),
      }).because,
    ).toContain('hugepages is absent');
    expect(starved([], [ram(0)]).because).toBe('the host tells of no pool of 2 MiB pages');
    expect(starved([pool()], [ram(0)], { host: era(null) }).because).toContain('not known');
    expect(starved([pool()], [ram(0, { pageSizeBytes: null })]).because).toBe(
      'the page size of mem1 is not known',
    );
    expect(judge('pool-starvation', { target: { ram: null }, sources: without('maps') }).because).toContain(
      'maps is denied',
    );
  });
  const zone = { node: 0, startPfn: 1, spannedPages: 9, presentPages: 9, managedPages: 9, freePages: 9 };
  const movable = [{ ...zone, zone: 'Movable', cmaPages: 0, freeCmaPages: 0 }];
  const cma = [{ ...zone, zone: 'Normal', cmaPages: 9, freeCmaPages: 9 }];
  test.each([
    ['ZONE_MOVABLE', movable],
    ['CMA', cma],
  ])('enough pages, but too few outside %s: information', (_, zones) => {
    const at = (fillable: number | null, free = 28) =>
      starved([pool({ free, fillable })], [ram(100)], { host: { zones } });
    const { found, because } = at(27);
    expect(found).toMatchObject([
      {
        severity: 'info',
        resource: null,
        title: '2 MiB pool: 27 of 28 free pages outside ZONE_MOVABLE and CMA, for 28 that mem1 lacks',
      },
    ]);
    expect(found[0]?.evidence.map(({ value }) => value)).toEqual([
      '128, 28, 0, 0, 0',
      '27 of 28',
      '100 of 128',
    ]);
    expect(because).toBeNull();
    expect(at(28)).toEqual(nothing);
    expect(at(0).found[0]?.explanation).toContain('A buffer over a hole fails with ENOMEM');
    expect(at(5, 10).found).toMatchObject([
      { severity: 'warning', title: '2 MiB pool: 10 pages for 28 that mem1 lacks' },
    ]);
  });
  test('not checked: enough pages, of which nobody knows where they lie', () => {
    const { found, because } = starved([pool({ free: 28, fillable: null })], [ram(100)], {
      host: { zones: movable },
      sources: without('free-huge-pages'),
    });
    expect(found).toEqual([]);
    expect(because).toBe(
      'how many of the 28 free pages of the 2 MiB pool lie outside ZONE_MOVABLE and CMA, where a hole has to be filled from, is not known: free-huge-pages is denied (EACCES; needs root)',
    );
    // An older recording.
    const older = starved([pool({ free: 28 })], [ram(100)], { host: { zones: movable } });
    expect(older.because).toContain('free-huge-pages was not read');
    const unread = { host: { zones: null }, sources: without('zoneinfo') };
    expect(starved([pool({ free: 28 })], [ram(100)], unread).because).toContain('zoneinfo is denied');
    expect(starved([pool({ free: 0 })], [ram(100)], { host: { zones: movable } }).because).toBeNull();
  });
});

describe('reserve-underflow', () => {
  const wrapped = (reserved: HugetlbPool['reserved'][]) =>
    judge('reserve-underflow', { host: { hugetlb: reserved.map(each => pool({ reserved: each })) } });
  test('fires: the counter of 6.12', () => {
    const { found } = wrapped(['18446744073709551612']);
    expect(found).toMatchObject([
      { severity: 'error', title: 'HugePages_Rsvd is below zero: -4 in the 2 MiB pool' },
    ]);
    expect(found[0]?.evidence[0]).toMatchObject({
      value: '18446744073709551612',
      recheck: 'cat /sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages',
    });
  });
  test.each([[[0]], [[128]], [[null]], [[]], [['9007199254740992']], [[String(2n ** 63n - 1n)]]])(
    'silent: %j',
    reserved => {
      expect(wrapped(reserved)).toEqual(nothing);
    },
  );
  test('two pools are one finding', () => {
    expect(wrapped([String(2n ** 63n), '18446744073709551615']).found).toHaveLength(1);
  });
  test('not checked without the pools', () => {
    const change = { host: { hugetlb: null }, sources: without('hugepages', { state: 'absent' }) };
    expect(judge('reserve-underflow', change)).toEqual({
      found: [],
      because: 'the hugetlb pools are not known: hugepages is absent (EACCES; needs root)',
    });
  });
});

describe('cgroup-escape', () => {
  const counts = (currentBytes: number, pageSizeBytes = MIB2) => ({
    ...{ path: '/a', pageSizeBytes, currentBytes, reservedBytes: 0, limitBytes: null },
  });
  const buffers = (...lists: Partial<PageRun>[][]): Resource[] =>
    lists.map((runs, inode) => {
      const one = someResource({ inode });
      return { ...one, pages: one.pages && { ...one.pages, runs: runs.map(run => someRun(run)) } };
    });
  /** Four huge pages: one run over three of them, and the first half of a fourth that two buffers have. */
  const four = buffers(
    [
      { pfn: 512, count: 1536 },
      { index: 1536, pfn: 8192, count: 100 },
    ],
    [{ pfn: 8200, count: 100 }],
  );
  const escaped = (current: number, resources: readonly Resource[] = four, change: Change = {}) =>
    judge('cgroup-escape', {
      resources,
      ...change,
      target: { hugetlbCgroup: [counts(current), counts(0, GIB)], ...change.target },
    });
  test('fires: more held than counted', () => {
    const { found, because } = escaped(3 * MIB2);
    expect(found).toMatchObject([
      {
        severity: 'warning',
        resource: null,
        title: 'Buffers hold 8 MiB in 2 MiB pages, their cgroup counts 6 MiB',
      },
    ]);
    expect(found[0]?.evidence.map(({ field, value }) => [field, value])).toEqual([
      ['bytes of the distinct 2 MiB hugetlb pages that the buffers hold', String(4 * MIB2)],
      ['hugetlb.2MB.current', String(3 * MIB2)],
    ]);
    expect(because).toBeNull();
  });
  test('silent: as many counted as held, each once', () => {
    expect(escaped(4 * MIB2)).toEqual(nothing);
  });
  test('silent: huge pages of shmem, and pages whose memfd is not known', () => {
    expect(escaped(0, four, { target: { ram: [ram(0, { pageSizeBytes: 4096 })] } })).toEqual(nothing);
    expect(escaped(0, buffers([{ ramInode: null }]))).toEqual(nothing);
    const twins = [ram(0), ram(0, { id: 'mem2', pageSizeBytes: 4096 })];
    expect(escaped(0, four, { target: { ram: twins } })).toEqual(nothing);
  });
  test('silent: nothing counts', () => {
    expect(escaped(0, four, { target: { hugetlbCgroup: [] } })).toEqual(nothing);
  });
  test('not checked: the cgroup or the pages unknown', () => {
    expect(
      escaped(0, four, {
        target: { hugetlbCgroup: null },
        sources: without('hugetlb-cgroup', { state: 'absent', detail: 'cgroup v1' }),
      }).because,
    ).toContain('hugetlb-cgroup is absent (cgroup v1');
    expect(
      escaped(0, [someResource({ pages: null })], { sources: without('kernel-memory') }).because,
    ).toContain('kernel-memory is denied');
  });
  test('what was read is enough to tell, what was not is said', () => {
    const { found, because } = escaped(0, [...four, someResource({ inode: 9, pages: null })]);
    expect(found).toHaveLength(1);
    expect(because).toContain('1 of 3 buffers were not read');
  });
  test('a cgroup’s name is no part of the shell line', () => {
    const hugetlbCgroup = [{ ...counts(0), path: `/x'; rm -rf /` }];
    expect(JSON.stringify(escaped(0, four, { target: { hugetlbCgroup } }).found)).not.toContain('rm -rf');
  });
});

describe('gigantic-in-movable', () => {
  const big = (gigantic: { pages: number; inMovable: number } | null) =>
    ram(0, { pageSizeBytes: GIB, sizeBytes: 4 * GIB, gigantic });
  const gigantic = (ram: RamBackend[] | null, change: Change = {}) =>
    judge('gigantic-in-movable', { ...change, target: { ram, ...change.target } });
  test('fires: some of the pages', () => {
    const { found, because } = gigantic([big({ pages: 4, inMovable: 1 })]);
    expect(found).toMatchObject([
      {
        severity: 'warning',
        title: '1 of 4 1 GiB pages of mem1 in ZONE_MOVABLE: no buffer can be made of them',
      },
    ]);
    expect(because).toBeNull();
  });
  test('silent: none of them, pages of 2 MiB, and kernels that move none', () => {
    expect(gigantic([big({ pages: 4, inMovable: 0 })])).toEqual(nothing);
    expect(gigantic([ram(128, { gigantic: null })])).toEqual(nothing);
    const there = [big({ pages: 4, inMovable: 4 })];
    expect(gigantic(there, { host: era('page-refs') })).toEqual(nothing);
    expect(gigantic(there, { host: era('absent') })).toEqual(nothing);
    expect(gigantic(there, { resources: [] })).toEqual(nothing);
  });
  test('not checked: PFNs hidden, era or RAM unknown; an older recording', () => {
    expect(gigantic([big(null)], { sources: without('gigantic-pages') }).because).toBe(
      'where the 1 GiB pages of mem1 lie is not known: gigantic-pages is denied (EACCES; needs root)',
    );
    expect(gigantic([big(null)]).because).toContain('gigantic-pages was not read');
    expect(gigantic([big({ pages: 1, inMovable: 1 })], { host: era(null) }).because).toContain('not known');
    expect(gigantic(null, { sources: without('maps') }).because).toContain('maps is denied');
  });
});
