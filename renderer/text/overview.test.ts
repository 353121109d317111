import { expect, test } from 'vitest';
import { heldMemory } from '../../model/held.ts';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import type { Finding, Snapshot } from '../../model/snapshot.ts';
import { hostileTexts, someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import {
  absentSources,
  eraText,
  headline,
  heldText,
  limitsText,
  memlockText,
  severityCounts,
  topBy,
  uncheckedRules,
  unseenSources,
} from './overview.ts';

const finding = (severity: Finding['severity'], resource: number | null, title: string): Finding => ({
  rule: 'r',
  severity,
  resource,
  title,
  explanation: '',
  remedy: '',
  evidence: [],
  reference: '',
});
const sampleOf = (change: Parameters<typeof someSnapshot>[0]): Sample => fromSnapshot(someSnapshot(change));
const notChecked: Snapshot['notChecked'] = [{ rule: 'pin-in-cma', because: 'cma was not read' }];

test('the headline is the worst finding, with how many there are', () => {
  const one = headline(sampleOf({ findings: [finding('warning', 7, '4 of 9 pages x')] }));
  expect(one).toEqual({ severity: 'warning', text: '1 warning: dma-buf 7: 4 of 9 pages x.', detail: '' });
  const many = [finding('info', null, 'a'), finding('error', 3, 'b'), finding('error', 4, 'c')];
  expect(headline(sampleOf({ findings: many, notChecked }))).toEqual({
    severity: 'error',
    text: '2 errors and 1 note. The worst: dma-buf 3: b.',
    detail: '1 rule could not look at everything; below is why.',
  });
  expect(severityCounts([...many, finding('warning', null, 'd')])).toBe('2 errors, 1 warning and 1 note');
});

test('a muted finding is counted and named as such; where all are muted, nothing is said to be found or not', () => {
  const findings = [finding('error', 3, 'b'), finding('warning', 7, 'a')];
  const sample = sampleOf({ findings });
  expect(headline(sample, findings.slice(1))).toEqual({
    severity: 'warning',
    text: '1 error and 1 warning (1 muted). The worst that is heard: dma-buf 7: a.',
    detail: '',
  });
  const none = headline(sample, []);
  expect([none.severity, none.text]).toEqual([null, '1 error and 1 warning (2 muted).']);
  expect(none.detail).toMatch(/Every rule that fires is muted/);
});

test('nothing found is never called safe, and nothing read is never called nothing found', () => {
  const denied = [someSource('maps', { state: 'denied' })];
  const texts = [
    headline(sampleOf({})),
    headline(sampleOf({ notChecked })),
    headline(sampleOf({ resources: [] })),
    headline(sampleOf({ resources: [], sources: denied, notChecked })),
  ].map(({ text, detail }) => `${text} ${detail}`);
  expect(new Set(texts).size).toBe(4);
  for (const text of texts) expect(text).not.toMatch(/\b(safe\b(?!\.)|all good|healthy|nothing is wrong)/);
  expect(texts[0]).toMatch(/^No rule fires\. .*does not make anything safe/);
  expect(texts[1]).toMatch(/^No rule fires, but 1 rule could not look at everything/);
  expect(texts[2]).toMatch(/holds no dma-buf now/);
  expect(texts[3]).toMatch(/^Whether anything is wrong cannot be told\. .*any number of them/);
});

test('what is held says pages, folios and repeats only where they differ', () => {
  const { pages } = someResource();
  const of = (runs: ReturnType<typeof someRun>[]) => someResource({ pages: pages && { ...pages, runs } });
  const told = (resources: Snapshot['resources']) => {
    const sample = sampleOf({ resources });
    return heldText(heldMemory(sample), sample.resources, 4096);
  };
  const small = someRun({ pfn: 100, count: 4, folioBytes: 4096 });
  expect(told([of([small])])).toBe('1 buffer holds 4 distinct pages, 16 KiB.');
  expect(told([of([small]), of([small])])).toBe(
    '2 buffers hold 4 distinct pages, 16 KiB. They have 8 entries: some pages occur more than once and are counted once.',
  );
  expect(told([of([someRun({ pfn: 512, count: 4 })]), someResource({ pages: null })])).toBe(
    '1 buffer holds 4 distinct pages, 16 KiB. These lie in folios of 2 MiB, and a folio is held as a whole. The pages of 1 more were not read.',
  );
  expect(told([someResource({ pages: null })])).toBe('Which pages these buffers hold was not read.');
});

test('limits and eras that were not read are unknown, never a number', () => {
  const { resources } = sampleOf({});
  expect(limitsText({ device: 'denied', listLimit: null, sizeLimitMb: null }, [])).toBe(
    'A udmabuf may have an unknown number of ranges (list_limit) and an unknown size (size_limit_mb). This user may not open /dev/udmabuf.',
  );
  expect(limitsText({ device: 'absent', listLimit: null, sizeLimitMb: null }, [])).toBe(
    '/dev/udmabuf does not exist here.',
  );
  expect(limitsText({ device: 'ok', listLimit: 1024, sizeLimitMb: 64 }, resources)).toBe(
    'A udmabuf may have 1024 ranges (list_limit) and 64 MiB (size_limit_mb); the largest here is 1 MiB. This user may open /dev/udmabuf.',
  );
  const eras = (['folio-pins', 'page-refs', 'absent', null] as const).map(udmabufEra =>
    eraText({ release: '6.1', udmabufEra, evidence: '' }),
  );
  expect(new Set(eras).size).toBe(4);
  expect(eras[1]).not.toMatch(/pinn|\bpins whole/);
  const sample = sampleOf({ target: { memlockLimitBytes: null } });
  expect(memlockText(sample.target, heldMemory(sample))).toMatch(/^RLIMIT_MEMLOCK is unknown, .*hold 4 MiB/);
});

test('what was not read is told with what would grant it, once for one reason, safe to print', () => {
  for (const text of hostileTexts) {
    const sources = [
      someSource('ok'),
      someSource('cma', { state: 'absent' }),
      someSource(text, { state: 'denied', detail: text, grant: text }),
    ];
    expect(absentSources(sources)).toBe('cma');
    const told = unseenSources(sources);
    expect(told).toHaveLength(1);
    expect(told[0]?.text).toMatch(/^denied\. .*Needs /);
    const rules = uncheckedRules([{ rule: text, because: text }]);
    for (const { names, text: words } of [...told, ...rules])
      expect(`${names}${words}`).not.toMatch(/[\p{Cc}\u202e\u2066]/u);
  }
  const denied = { state: 'denied', grant: 'root' } as const;
  const sources = [
    someSource('a', { ...denied, detail: 'a: no' }),
    someSource('b', { state: 'raced', detail: 'it moved' }),
    someSource('c', { ...denied, detail: 'c: no' }),
  ];
  expect(unseenSources(sources)).toEqual([
    { names: 'a, c', text: 'denied. Needs root.', tone: 'warning' },
    { names: 'b', text: 'raced. It moved.', tone: 'warning' },
  ]);
  expect(uncheckedRules(['x', 'y'].map(rule => ({ rule, because: 'cma was not read' })))).toEqual([
    { names: 'x, y', text: 'not checked, because cma was not read', tone: 'plain' },
  ]);
});

test('the largest come first, and those of unknown size not at all', () => {
  const { resources } = sampleOf({
    resources: [5, null, 9, 9].map((sizeBytes, inode) => someResource({ inode, sizeBytes })),
  });
  expect(topBy(resources, 3, ({ sizeBytes }) => sizeBytes).map(({ inode }) => inode)).toEqual([2, 3, 0]);
  expect(topBy(resources, 3, () => Number.NaN)).toEqual([]);
});
