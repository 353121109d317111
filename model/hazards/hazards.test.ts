import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { PageRun, RamBackend, Resource, Snapshot } from '../snapshot.ts';
import { backingRules } from './backing.ts';
import { RULES as ALL_RULES, evaluate } from './index.ts';
import { FACTS, inputsOf } from './inputs.ts';
import { movableRules } from './movable.ts';
import { nodeRules } from './nodes.ts';
import { type Rule, toFinding, toNotChecked } from './rule.ts';

/** The rules about pages; others have tests of their own beside them. */
const RULES = [...backingRules, ...movableRules, ...nodeRules];
const judge = (snapshot: Snapshot) => evaluate(fromSnapshot(snapshot), null, RULES);
const allSources = ['maps', 'kernel-memory', 'zoneinfo', 'memory-blocks', 'pagetypeinfo', 'pagemap'].map(
  name => someSource(name),
);
const withRuns = (runs: readonly PageRun[], change: Partial<Resource> = {}): Resource => {
  const one = someResource();
  const count = runs.reduce((sum, run) => sum + run.count, 0);
  return { ...one, ...change, pages: one.pages && { ...one.pages, count, runs } };
};
type Change = Parameters<typeof someSnapshot>[0];
const sampleOf = (runs: readonly PageRun[], change: Change = {}): Snapshot =>
  someSnapshot({ sources: allSources, resources: [withRuns(runs)], ...change });
const found = (snapshot: Snapshot) =>
  judge(snapshot).findings.map(({ rule, severity, resource }) => [rule, severity, resource]);
const pageRefs = { kernel: { release: '6.1', udmabufEra: 'page-refs' as const, evidence: '' } };
const twoNodes = {
  zones: [0, 1].map(node => ({
    ...{ node, zone: 'Normal', startPfn: node * 2 ** 20, spannedPages: 2 ** 20, presentPages: 2 ** 20 },
    ...{ managedPages: 2 ** 20, freePages: 1, cmaPages: 0, freeCmaPages: 0 },
  })),
  nodes: [0, 1].map(node => ({ node, cpus: [node] })),
};
const [ram] = someSnapshot().target.ram ?? [];
if (!ram) throw new Error('no RAM');
const bound = (mode: string, ...nodes: number[]): RamBackend => ({ ...ram, policy: { mode, nodes } });

describe('what a rule rests on', () => {
  test('every need of every rule is a fact of the table, with the sources that tell it', () => {
    for (const { id, needs } of ALL_RULES) {
      expect(needs.length, id).toBeGreaterThan(0);
      for (const need of needs) expect(Object.keys(FACTS), id).toContain(need);
    }
    for (const [fact, { sources }] of Object.entries(FACTS))
      if (fact !== 'past') expect(sources.length, fact).toBeGreaterThan(0);
  });
  test('inputs carry the state of their sources; one that was not asked is absent', () => {
    const denied = someSource('kernel-memory', { state: 'denied', detail: 'EACCES', grant: 'root' });
    const sample = fromSnapshot(someSnapshot({ sources: [denied, someSource('zoneinfo')] }));
    const [pages, zone, ...others] = inputsOf({ needs: ['pages', 'zone'] }, sample);
    expect(others).toEqual([]);
    expect(pages).toEqual({
      fact: 'pages',
      words: 'pages',
      sources: [denied],
      recheck: `sudo pinscope snapshot --pid ${sample.target.pid} --json`,
    });
    expect(zone?.sources.map(({ name, state }) => [name, state])).toEqual([
      ['zoneinfo', 'ok'],
      ['memory-blocks', 'absent'],
    ]);
  });
});

describe('from rule to schema', () => {
  const rule: Rule = {
    ...{ id: 'x', severity: 'warning', fires: '', needs: [] },
    check: () => ({ found: [], because: [] }),
  };
  const told = { resource: 7, title: '', explanation: '', remedy: '', evidence: [] };
  test('a finding has the severity of its rule, unless it was told with its own', () => {
    expect(toFinding(rule, told).severity).toBe('warning');
    expect(toFinding(rule, { ...told, severity: 'info' })).toEqual({
      ...told,
      ...{ rule: 'x', severity: 'info', reference: 'docs/HAZARDS.md#x' },
    });
  });
  test('each grant that would help is named once; where none would, there is no such field', () => {
    const root = { because: 'a', grant: 'root' };
    expect(
      toNotChecked(rule, [root, 'b', { ...root, because: 'c' }, { because: 'd', grant: 'kvm' }]),
    ).toEqual({
      ...{ rule: 'x', because: 'a; b; c; d', grant: 'root; kvm' },
    });
    expect(toNotChecked(rule, ['b'])).toEqual({ rule: 'x', because: 'b' });
  });
});

describe('a healthy buffer', () => {
  test('nothing is found and nothing left unchecked', () => {
    expect(judge(sampleOf([someRun()]))).toEqual({ findings: [], notChecked: [] });
  });
  test('pages of type CMA or of a Movable type outside ZONE_MOVABLE say what they are', () => {
    expect(found(sampleOf([someRun({ migratetype: 'Unmovable' })]))).toEqual([]);
  });
});

describe('pin-in-movable', () => {
  const mixed = sampleOf([
    someRun({ count: 3, zone: 'Movable' }),
    someRun({ index: 3, pfn: 0x5000, count: 5 }),
    someRun({ index: 8, pfn: 0x6000, count: 2, zone: 'Movable' }),
  ]);
  test('counts entries and names their PFNs', () => {
    const [finding] = judge(mixed).findings;
    expect(finding).toMatchObject({
      rule: 'pin-in-movable',
      resource: 7,
      title: '5 of 10 pages pinned in ZONE_MOVABLE',
      reference: 'docs/HAZARDS.md#pin-in-movable',
    });
    expect(finding?.evidence.map(({ value }) => value)).toContain('0x10bbf0-0x10bbf2, 0x6000-0x6001');
  });
  test('is never called a pin where udmabuf takes none, nor where nothing tells', () => {
    for (const udmabufEra of ['page-refs', null] as const) {
      const kernel = { release: '', udmabufEra, evidence: '' };
      const { findings } = judge({ ...mixed, host: { ...mixed.host, kernel } });
      expect(findings[0]?.title).toBe('5 of 10 pages held in ZONE_MOVABLE');
      expect(JSON.stringify(findings)).not.toMatch(/\bpinned\b/);
    }
  });
  test('names the memory blocks, a run over a border in both', () => {
    const memoryBlocks = [0, 1, 2].map(block => ({
      ...{ block, startPfn: block * 32768, node: 0, validZones: ['Movable'], state: 'online' },
      ...{ pinnedPages: 0, heldBy: [] },
    }));
    const snapshot = sampleOf([someRun({ pfn: 65535, count: 2, zone: 'Movable' })], {
      host: { memoryBlocks },
    });
    expect(judge(snapshot).findings[0]?.evidence.at(-1)).toMatchObject({
      value: 'memory1, memory2',
      recheck: 'grep . /sys/devices/system/memory/memory{1,2}/valid_zones',
    });
  });
});

describe('block types', () => {
  test.each([
    ['CMA', 'Normal', ['pin-in-cma']],
    ['CMA', 'Movable', ['pin-in-movable', 'pin-in-cma']],
    ['Unmovable', 'Movable', ['pin-in-movable', 'unmovable-block-in-movable']],
    ['HighAtomic', 'Movable', ['pin-in-movable', 'unmovable-block-in-movable']],
    ['Movable', 'Movable', ['pin-in-movable']],
    ['Isolate', 'Movable', ['pin-in-movable']],
  ])('%s in zone %s', (migratetype, zone, rules) => {
    expect(found(sampleOf([someRun({ migratetype, zone })])).map(([rule]) => rule)).toEqual(rules);
  });
});

describe('disconnected and private-ram', () => {
  const lost = [
    someRun({ count: 200 }),
    someRun({ index: 200, pfn: 1, count: 56, gpa: '0xcb000', backing: 'disconnected' }),
  ];
  test('an error with guest addresses', () => {
    const [finding] = judge(sampleOf(lost)).findings;
    expect(finding).toMatchObject({ severity: 'error', title: '56 of 256 pages no longer the guest’s' });
    expect(finding?.evidence[0]?.value).toBe('0xcb000-0x102fff');
  });
  test('without guest addresses none are made up', () => {
    const runs = lost.map(run => ({ ...run, gpa: null }));
    expect(JSON.stringify(judge(sampleOf(runs)).findings)).not.toContain('guest addresses');
  });
  test('private RAM is told once, of the process, and is the reason', () => {
    const snapshot = sampleOf(lost, { target: { ram: [{ ...ram, share: false }] } });
    expect(found(snapshot)).toEqual([
      ['private-ram', 'error', null],
      ['disconnected', 'error', 7],
    ]);
    expect(judge(snapshot).findings[1]?.explanation).toContain('mapped private');
  });
  test('private memory of a QEMU without blobs, or of another program, harms nobody', () => {
    const target = { ram: [{ ...ram, share: false }] };
    expect(found(someSnapshot({ sources: allSources, resources: [], target }))).toEqual([]);
    expect(found(someSnapshot({ sources: allSources, target: { ...target, kind: 'other' } }))).toEqual([]);
  });
  test('before the first blob the command line tells', () => {
    const gpu = { id: null, driver: 'virtio-gpu-pci', properties: { blob: 'true' } };
    const devices = { virtioGpu: [gpu], balloon: [], virtioMem: [], vfio: [], vdpa: [] };
    const target = { ram: [{ ...ram, share: false }], devices };
    expect(found(someSnapshot({ sources: allSources, resources: [], target }))).toEqual([
      ['private-ram', 'error', null],
    ]);
  });
});

describe('remote-node', () => {
  const on = (node: number) => [someRun({ node })];
  test.each<[string, number, Change, boolean]>([
    ['CPUs on the other node', 1, { target: { cpuNodes: [0] } }, true],
    ['CPUs on that node', 1, { target: { cpuNodes: [1] } }, false],
    ['policy of the other node', 0, { target: { cpuNodes: [0, 1], ram: [bound('bind', 1)] } }, true],
    ['policy kept', 1, { target: { cpuNodes: [0, 1], ram: [bound('bind', 1)] } }, false],
    ['policy kept, CPUs elsewhere', 1, { target: { cpuNodes: [0], ram: [bound('preferred', 1)] } }, true],
    ['policy of both nodes', 1, { target: { cpuNodes: [1], ram: [bound('interleave', 0, 1)] } }, false],
    ['CPUs on both nodes, no policy', 1, { target: { cpuNodes: [0, 1] } }, false],
    ['CPUs on two nodes, and on a third one the pages', 2, { target: { cpuNodes: [0, 1] } }, true],
    [
      'policy of all nodes, pages where no CPU is',
      2,
      { target: { cpuNodes: [0, 1], ram: [bound('interleave', 0, 1, 2)] } },
      true,
    ],
  ])('%s', (_, node, change, fires) => {
    const snapshot = sampleOf(on(node), { ...change, host: twoNodes });
    expect(found(snapshot)).toEqual(fires ? [['remote-node', 'warning', 7]] : []);
    expect(judge(snapshot).notChecked).toEqual([]);
  });
  test('CPUs or policies that nobody told are not checked, and it is said', () => {
    const unread = judge(sampleOf(on(1), { target: { cpuNodes: [0, 1], devices: null }, host: twoNodes }));
    expect(unread.notChecked).toContainEqual({
      rule: 'remote-node',
      because: expect.stringContaining('policy of its memory is not known'),
    });
    expect(unread.findings).toEqual([]);
    const unknown = judge(sampleOf(on(1), { target: { cpuNodes: null }, host: twoNodes })).notChecked;
    expect(unknown).toEqual([{ rule: 'remote-node', because: expect.stringContaining('not known') }]);
  });
  test('a host of one node cannot have it, whatever is not known of the process', () => {
    const zones = twoNodes.zones.slice(0, 1);
    const snapshot = sampleOf(on(0), { target: { cpuNodes: null }, host: { zones, nodes: null } });
    expect(judge(snapshot)).toEqual({ findings: [], notChecked: [] });
  });
});

describe('what was not read', () => {
  const denied = { state: 'denied' as const, detail: '/proc/kcore: EACCES', grant: 'root (CAP_SYS_RAWIO)' };
  test('denied pages: no rule about pages is silent', () => {
    const sources = [someSource('maps'), someSource('kernel-memory', denied)];
    const { findings, notChecked } = judge(
      someSnapshot({ sources, resources: [someResource({ pages: null })] }),
    );
    expect(findings).toEqual([]);
    expect(notChecked.map(({ rule }) => rule)).toEqual(
      RULES.filter(({ needs }) => needs.includes('pages')).map(({ id }) => id),
    );
    for (const { because, grant } of notChecked) {
      expect(because).toBe(
        'the pages of all 1 buffer were not read: kernel-memory is denied (/proc/kcore: EACCES; needs root (CAP_SYS_RAWIO))',
      );
      expect(grant).toBe('root (CAP_SYS_RAWIO)');
    }
  });
  test('one buffer of two: what was read is judged, the other is told', () => {
    const resources = [withRuns([someRun({ zone: 'Movable' })]), someResource({ inode: 8, pages: null })];
    const { findings, notChecked } = judge(someSnapshot({ sources: allSources, resources }));
    expect(findings.map(({ rule, resource }) => [rule, resource])).toEqual([['pin-in-movable', 7]]);
    expect(notChecked[0]?.because).toContain('1 of 2 buffers were not read: they changed');
  });
  test('a zone that the host does not tell is not “not Movable”', () => {
    const runs = [someRun({ count: 6, zone: null }), someRun({ index: 6, pfn: 9, count: 4 })];
    expect(judge(sampleOf(runs)).notChecked).toEqual(
      ['pin-in-movable', 'unmovable-block-in-movable'].map(rule => ({
        rule,
        because: 'the zone of 6 of 10 pages is unknown: the host does not say',
      })),
    );
  });
  test('a process whose dma-bufs may not be listed is not one without', () => {
    const sources = [someSource('maps', { ...denied, detail: '/proc/189/maps: EACCES' })];
    const { notChecked } = judge(someSnapshot({ sources, resources: [], target: { ram: null } }));
    expect(notChecked.map(({ rule }) => rule)).toEqual(RULES.map(({ id }) => id));
  });
  test('buffers of other drivers are nobody’s business here', () => {
    const resources = [someResource({ exporter: 'i915', pages: null })];
    expect(judge(someSnapshot({ sources: allSources, resources }))).toEqual({ findings: [], notChecked: [] });
  });
});

const anyRun = fc.record({
  pfn: fc.nat(2 ** 30),
  count: fc.integer({ min: 1, max: 600 }),
  node: fc.constantFrom(null, 0, 1),
  zone: fc.constantFrom(null, 'DMA32', 'Normal', 'Movable'),
  migratetype: fc.constantFrom(null, 'Movable', 'Unmovable', 'CMA', 'Isolate'),
  gpa: fc.constantFrom(null, '0x1000', '0x7ffff000'),
  ramInode: fc.constantFrom(null, 252, 253),
  backing: fc.constantFrom('connected' as const, 'disconnected' as const, 'unknown' as const),
});
const anyResources = fc.array(fc.option(fc.array(anyRun, { maxLength: 12 })), { maxLength: 5 }).map(buffers =>
  buffers.map((runs, inode) => {
    if (runs === null) return someResource({ inode, pages: null });
    let index = 0;
    const placed = runs.map(run => {
      const whole = someRun({ ...run, index });
      index += run.count;
      return whole;
    });
    return withRuns(placed, { inode });
  }),
);
const anySample = fc
  .record({
    resources: anyResources,
    udmabufEra: fc.constantFrom(null, 'page-refs' as const, 'folio-pins' as const),
    cpuNodes: fc.constantFrom(null, [0], [0, 1]),
    share: fc.boolean(),
    read: fc.boolean(),
  })
  .map(({ resources, udmabufEra, cpuNodes, share, read }) =>
    someSnapshot({
      resources,
      sources: read ? allSources : [],
      host: { ...twoNodes, kernel: { release: '', udmabufEra, evidence: '' } },
      target: { cpuNodes, ram: [{ ...ram, share }] },
    }),
  );

describe('any sample', () => {
  test('one finding a rule and resource, in order, of pages that are there', () => {
    fc.assert(
      fc.property(anySample, snapshot => {
        const { findings } = judge(snapshot);
        const keys = findings.map(({ rule, resource }) => `${rule} ${resource}`);
        expect(new Set(keys).size).toBe(keys.length);
        const rank = ['error', 'warning', 'info'];
        const order = findings.map(
          ({ severity, resource }) => rank.indexOf(severity) * 1e6 + (resource ?? -1),
        );
        expect(order).toEqual([...order].sort((a, b) => a - b));
        for (const { resource, title, evidence, rule } of findings) {
          expect(RULES.map(({ id }) => id)).toContain(rule);
          expect(evidence.length).toBeGreaterThan(0);
          if (resource === null) continue;
          const pages = snapshot.resources.find(({ inode }) => inode === resource)?.pages;
          const [, hit, of] = /^(\d+) of (\d+) page/.exec(title) ?? [];
          expect(Number(of)).toBe(pages?.count);
          expect(Number(hit)).toBeGreaterThan(0);
          expect(Number(hit)).toBeLessThanOrEqual(pages?.count ?? 0);
        }
      }),
    );
  });

  test('every page is counted by a rule, left out with a reason, or fine: none is lost', () => {
    fc.assert(
      fc.property(anySample, snapshot => {
        const { findings, notChecked } = judge(snapshot);
        const runs = snapshot.resources.flatMap(({ pages }) => pages?.runs ?? []);
        const pagesOf = (rule: string) =>
          findings
            .filter(finding => finding.rule === rule)
            .reduce((sum, { title }) => sum + Number(/^\d+/.exec(title)?.[0]), 0);
        const sum = (of: (run: PageRun) => boolean) =>
          runs.filter(of).reduce((total, { count }) => total + count, 0);
        expect(pagesOf('pin-in-movable')).toBe(sum(({ zone }) => zone === 'Movable'));
        expect(pagesOf('pin-in-cma')).toBe(sum(({ migratetype }) => migratetype === 'CMA'));
        expect(pagesOf('disconnected')).toBe(sum(({ backing }) => backing === 'disconnected'));
        const open = (rule: string) => notChecked.some(each => each.rule === rule);
        const unread = snapshot.resources.some(({ pages }) => pages === null);
        const unlisted = snapshot.resources.length === 0 && snapshot.sources.length === 0;
        expect(open('pin-in-movable')).toBe(unlisted || unread || runs.some(({ zone }) => zone === null));
        expect(open('disconnected')).toBe(
          unlisted || unread || runs.some(({ backing }) => backing === 'unknown'),
        );
      }),
    );
  });

  test('where nothing was read, nothing is found and every rule is open', () => {
    const nothing = fc.record({
      count: fc.nat(4),
      state: fc.constantFrom('denied' as const, 'absent' as const, 'raced' as const),
    });
    fc.assert(
      fc.property(nothing, ({ count, state }) => {
        const sources = ['maps', 'kernel-memory', 'zoneinfo'].map(name => someSource(name, { state }));
        const resources = Array.from({ length: count }, (_, inode) =>
          someResource({ inode, pages: null, exporter: null, sizeBytes: null }),
        );
        const none = { zones: null, migratetypes: null, memoryBlocks: null, nodes: null, hugetlb: null };
        const target = { ram: null, devices: null, cpuNodes: null };
        const { findings, notChecked } = judge(someSnapshot({ sources, resources, host: none, target }));
        expect(findings).toEqual([]);
        expect(notChecked.map(({ rule }) => rule)).toEqual(RULES.map(({ id }) => id));
      }),
    );
  });
});

test('names of backends and drivers stay text: a hostile one changes no shell line', () => {
  const id = `x'; rm -rf / #\n\x1b[2J`;
  const target = { cpuNodes: [0, 1], ram: [{ ...bound('bind', 1), id }] };
  const { findings } = judge(
    sampleOf([someRun({ node: 0 })], { host: { ...twoNodes, ...pageRefs }, target }),
  );
  expect(findings.length).toBe(1);
  for (const { recheck } of findings.flatMap(({ evidence }) => evidence))
    expect(recheck).not.toContain('rm -rf');
});
