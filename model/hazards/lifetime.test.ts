import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { Holder, OpenDevices, Resource, Snapshot } from '../snapshot.ts';
import { evaluate } from './index.ts';
import { IDLE_MS, LONG_PIN_MS, lifetimeRules } from './lifetime.ts';
import { outlivedRules } from './outlived.ts';
import { Past } from './past.ts';

const start = Date.parse('2026-03-04T05:06:07.000Z');
const iso = (ms: number) => new Date(start + ms).toISOString();
const rules = [...lifetimeRules, ...outlivedRules];
const judge = (snapshot: Snapshot, id: string, past: Past | null = null) =>
  evaluate(
    fromSnapshot(snapshot),
    past,
    rules.filter(rule => rule.id === id),
  );
const denied = { state: 'denied' as const, detail: 'EACCES', grant: 'root' };
const open = ['maps', 'kernel-memory', 'holders', 'open-devices'].map(name => someSource(name));
const hiding = [...open.filter(({ name }) => name !== 'holders'), someSource('holders', denied)];
const mapping = { start: '0x1000', end: '0x2000', perms: 'r--s' };
const holder = (change: Partial<Holder> = {}): Holder => ({
  ...{ pid: 189, comm: 'qemu-system-x86', fds: [18], mappings: [] },
  ...change,
});
const sample = (resource: Partial<Resource>, change: Parameters<typeof someSnapshot>[0] = {}) =>
  someSnapshot({ sources: open, resources: [someResource({ count: 1, ...resource })], ...change });

describe('idle-pin', () => {
  /** Sees the samples in turn, and judges the last by what was before. */
  function watch(...samples: readonly Snapshot[]) {
    const past = new Past();
    for (const each of samples.slice(0, -1)) past.observe(fromSnapshot(each));
    return judge(samples.at(-1) ?? sample({}), 'idle-pin', past);
  }
  const at = (ms: number, resource: Partial<Resource> = {}, sources = open) =>
    sample(resource, { takenAt: iso(ms), sources });

  test('a first sample tells, at most for its age, and is info', () => {
    const { findings, notChecked } = judge(sample({}), 'idle-pin');
    expect(findings).toMatchObject([
      { severity: 'info', resource: 7, title: '1 MiB pinned with no device attached and no mapping' },
    ]);
    expect(findings[0]?.explanation).toContain('at most for 2 min 5 s');
    expect(notChecked).toEqual([]);
  });
  test('a warning once every sample of a minute has seen it so', () => {
    expect(watch(at(0), at(IDLE_MS - 1)).findings).toMatchObject([{ severity: 'info' }]);
    expect(watch(at(0), at(IDLE_MS)).findings).toMatchObject([
      { severity: 'warning', title: '1 MiB pinned with no device attached and no mapping for 1 min' },
    ]);
  });
  test('use in between begins anew, and so does a sample that could not tell', () => {
    const used = at(30_000, { holders: [holder({ mappings: [mapping] })] });
    expect(watch(at(0), used, at(50_000), at(90_000)).findings).toMatchObject([{ severity: 'info' }]);
    const blind = at(30_000, { count: 3 }, hiding);
    expect(watch(at(0), blind, at(90_000)).findings).toMatchObject([{ severity: 'info' }]);
  });
  test.each([
    ['mapped', { holders: [holder({ mappings: [mapping] })] }],
    ['attached', { attachments: [{ device: 'vgem', mapped: null }] }],
    ['mapped, attachments unknown', { holders: [holder({ mappings: [mapping] })], attachments: null }],
    ['another driver’s', { exporter: 'i915' }],
  ])('%s: silent', (_, resource) => {
    expect(judge(sample(resource), 'idle-pin')).toEqual({ findings: [], notChecked: [] });
  });
  test('processes that hide matter only where the file has more references than were seen', () => {
    expect(judge(sample({ count: 1 }, { sources: hiding }), 'idle-pin').findings).toHaveLength(1);
    for (const count of [2, null]) {
      const { findings, notChecked } = judge(sample({ count }, { sources: hiding }), 'idle-pin');
      expect(findings).toEqual([]);
      expect(notChecked[0]?.because).toContain(
        'whether another process maps it is not known: holders is denied',
      );
    }
  });
  test('attachments that were not read are not “none”', () => {
    const sources = [someSource('maps'), someSource('holders'), someSource('kernel-memory', denied)];
    expect(judge(sample({ attachments: null }, { sources }), 'idle-pin').notChecked[0]?.because).toBe(
      'of 1 buffer, whether a device is attached is not known: kernel-memory is denied (EACCES; needs root)',
    );
  });
});

describe('long-pin', () => {
  const aged = (ms: number, resource: Partial<Resource> = {}) => sample({ createdAt: iso(-ms), ...resource });
  test.each<[string, Snapshot, string[]]>([
    ['young', aged(LONG_PIN_MS - 1), []],
    ['old, nobody says what it is', aged(LONG_PIN_MS), ['info']],
    ['old and a scanout', aged(LONG_PIN_MS, { virtio: { resourceId: 2, scanout: 0 } }), []],
    ['old and no scanout', aged(LONG_PIN_MS, { virtio: { resourceId: 2, scanout: null } }), ['warning']],
    [
      'old, and its scanout not known',
      aged(LONG_PIN_MS, { virtio: { resourceId: 2, scanout: 'unknown' } }),
      ['info'],
    ],
    [
      'old, one of several that are not shown',
      aged(LONG_PIN_MS, { virtio: { resourceId: null, scanout: null } }),
      ['warning'],
    ],
    ['made while the sample was taken', aged(-5), []],
  ])('%s', (_, snapshot, severities) => {
    const { findings, notChecked } = judge(snapshot, 'long-pin');
    expect(findings.map(({ severity }) => severity)).toEqual(severities);
    expect(notChecked).toEqual([]);
  });
  test('who uses it is told, and whether it is a scanout is not guessed', () => {
    const holders = [holder({ mappings: [mapping] })];
    const [finding] = judge(aged(LONG_PIN_MS, { holders }), 'long-pin').findings;
    expect(finding?.title).toBe('1 MiB pinned for 10 min');
    expect(finding?.explanation).toContain('is not known. qemu-system-x86 (189) maps it.');
  });
  test('the trace is evidence, with the line that made the resource', () => {
    const sources = [...open, someSource('qemu-trace', { detail: '/proc/189/fd/7' })];
    const of = (virtio: Resource['virtio']) =>
      judge({ ...aged(LONG_PIN_MS, { virtio }), sources }, 'long-pin').findings[0];
    const told = of({ resourceId: 18, scanout: null });
    expect(told?.title).toBe('1 MiB pinned for 10 min, and no scanout');
    expect(told?.explanation).toContain('It is resource 18, which is shown on no scanout');
    expect(told?.evidence[1]).toMatchObject({
      source: '/proc/189/fd/7',
      value: 'virtio_gpu_cmd_res_create_blob res 0x12, size 1048576',
      recheck: expect.stringContaining("res 0x12, size 1048576))' '/proc/189/fd/7'"),
    });
    expect(of({ resourceId: null, scanout: null })?.explanation).toContain('one of several resources');
    expect(of({ resourceId: 18, scanout: 'unknown' })?.evidence).toHaveLength(1);
  });
  test('without a trace the way to one is told', () => {
    const sources = [...open, someSource('qemu-trace', { state: 'absent', detail: 'QEMU does not trace' })];
    expect(judge({ ...aged(LONG_PIN_MS), sources }, 'long-pin').findings[0]?.explanation).toContain(
      'is not known (qemu-trace is absent; pinscope doctor --pid 189 --explain long-pin says what would tell).',
    );
  });
  test('without a time of creation it is not checked', () => {
    expect(judge(sample({ createdAt: null }), 'long-pin')).toMatchObject({
      findings: [],
      notChecked: [{ because: expect.stringContaining('when it was made is not known') }],
    });
  });
});

/** Pages of which so many are in no file. */
const lost = (withoutFile: number | undefined, change: Partial<Resource> = {}): Partial<Resource> => {
  const { pages } = someResource();
  if (!pages) throw new Error('no pages');
  const { withoutFile: _, ...rest } = pages;
  const runs = [someRun(withoutFile === 256 ? { ramInode: null, backing: 'disconnected' } : {})];
  return { pages: { ...rest, runs, ...(withoutFile === undefined ? {} : { withoutFile }) }, ...change };
};

describe('zombie-pages', () => {
  test.each<[string, Partial<Resource>, [string, string][]]>([
    ['none', lost(0), []],
    ['some', lost(3), [['info', '3 of 256 pages pinned and in no file any more']]],
    ['all, for nobody', lost(256), [['warning', '256 of 256 pages pinned and in no file any more']]],
    [
      'all, and mapped',
      lost(256, { holders: [holder({ mappings: [mapping] })] }),
      [['info', '256 of 256 pages pinned and in no file any more']],
    ],
  ])('%s', (_, resource, expected) => {
    const { findings, notChecked } = judge(sample(resource), 'zombie-pages');
    expect(findings.map(({ severity, title }) => [severity, title])).toEqual(expected);
    expect(notChecked).toEqual([]);
  });
  test('all, and whether somebody maps it is not known: no more than info', () => {
    const snapshot = sample(lost(256, { count: 5 }), { sources: hiding });
    expect(judge(snapshot, 'zombie-pages').findings).toMatchObject([{ severity: 'info' }]);
  });
  test('pages that were not read, and recordings that do not have it, are not checked', () => {
    expect(judge(sample({ pages: null }), 'zombie-pages').notChecked).toHaveLength(1);
    expect(judge(sample(lost(undefined)), 'zombie-pages').notChecked).toHaveLength(1);
  });
});

describe('outlived', () => {
  const none: OpenDevices = { udmabuf: 0, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] };
  const viewer = (
    resource: Partial<Resource>,
    target: Partial<Snapshot['target']> = {},
    sources = open,
  ): Snapshot =>
    sample(resource, { sources, target: { kind: 'other', comm: 'viewer', open: none, ram: [], ...target } });
  const two = [holder(), holder({ pid: 200, comm: 'compositor' })];

  test('the maker is gone, memory and all', () => {
    expect(judge(viewer(lost(256)), 'outlived')).toMatchObject({
      findings: [
        {
          severity: 'warning',
          resource: 7,
          title: 'All 256 pages outlived the process that made the buffer',
        },
      ],
      notChecked: [],
    });
  });
  test('the memory lives and its owner has let go: info', () => {
    expect(judge(viewer(lost(0)), 'outlived').findings).toMatchObject([
      { severity: 'info', title: 'Held by this process alone, with pages of memfd 252 of another' },
    ]);
  });
  const [ram] = someSnapshot().target.ram ?? [];
  test.each([
    ['its maker holds it too', viewer(lost(0, { count: 2, holders: two }))],
    ['the memory is its own', viewer(lost(0), { ram: ram ? [ram] : [] })],
    ['it makes udmabufs itself', viewer(lost(256), { open: { ...none, udmabuf: 1 } })],
    ['it is a QEMU', viewer(lost(256), { kind: 'qemu' })],
  ])('silent where %s', (_, snapshot) => {
    expect(judge(snapshot, 'outlived')).toEqual({ findings: [], notChecked: [] });
  });
  test.each([
    ['open devices', viewer(lost(256), { open: null }), 'whether this process makes udmabufs'],
    ['pages', viewer({ pages: null }), 'its pages were not read'],
    ['hidden holders', viewer(lost(256, { count: 4 }), {}, hiding), 'whether its maker still holds it'],
    ['other holders', viewer(lost(256, { count: 2, holders: two })), 'compositor (200)'],
    ['own memory', viewer(lost(0), { ram: null }), 'this process’s own'],
  ])('not checked: %s', (_, snapshot, because) => {
    expect(judge(snapshot, 'outlived')).toMatchObject({
      findings: [],
      notChecked: [{ because: expect.stringContaining(because) }],
    });
  });
});
