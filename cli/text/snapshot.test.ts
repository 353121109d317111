import { describe, expect, test } from 'vitest';
import { RULES } from '../../model/hazards/index.ts';
import type { Resource, Snapshot } from '../../model/snapshot.ts';
import { expectPrintable } from '../../test/printed.ts';
import {
  hostileTexts,
  poisoned,
  someResource,
  someRun,
  someSnapshot,
  someSource,
} from '../../test/snapshots.ts';
import { coloursFor } from './colours.ts';
import { type SnapshotTextOptions, snapshotText } from './snapshot.ts';

const none = coloursFor({});
function text(snapshot: Snapshot, options: Partial<SnapshotTextOptions> = {}): string {
  const printed = snapshotText(snapshot, none, { runs: 12, resource: null, ...options });
  expectPrintable(printed);
  return printed;
}
const withPages = (resource: Resource, change: Partial<NonNullable<Resource['pages']>>): Resource => ({
  ...resource,
  pages: resource.pages && { ...resource.pages, ...change },
});

test('what a person reads', () => {
  const [above, below] = text(someSnapshot()).split(/^(?=None of )/m);
  expect(below?.replace(/\s+/g, ' ')).toBe(
    `None of ${RULES.length} rules fired: ${RULES.map(({ id }) => id).join(', ')}. Nothing else was looked for. `,
  );
  expect(above).toBe(`process  qemu-system-x86 “a guest”, pid 189, user libvirt-qemu (uid 64055)
kernel   6.12.95: udmabuf pins folios (FOLL_PIN), at most 1024 items and 64 MiB a buffer
memory   mem1, memfd 252, 256 MiB in 2 MiB pages, shared at 0x7f8fab000000
locked   memlock limit 8 MiB, VmLck 0 B, VmPin 0 B
monitor  asked over QMP
taken    2026-03-04T05:06:07.000Z

DMA-BUF  NAME   SIZE  PAGES  HOLDS  NODE ZONE TYPE    BACKING          AGE  REFS
      7  -     1 MiB    256  2 MiB  0 Normal Movable  connected  2 min 5 s     2

dma-buf 7 of udmabuf
  created    2026-03-04T05:04:02.000Z
  held by    qemu-system-x86 (189) by fd 18
  attached   to no device
  pages      256 in 1 folio of 2 MiB, 1 pin reference, from kernel-memory
  lies in    256 × node 0 Normal Movable
  backing    256 connected
  INDEX  PAGES       PFN  FOLIO  NODE  ZONE    TYPE      GUEST  OFFSET  BACKING
      0    256  0x10bbf0  2 MiB     0  Normal  Movable  0x3000  0x3000  connected

`);
});

describe('the process', () => {
  test.each([
    ['no name in passwd', { user: null }, 'pid 189, uid 64055\n'],
    ['an unknown uid', { uid: -1, user: null }, 'pid 189, unknown user\n'],
    ['no memlock limit', { memlockLimitBytes: 'unlimited' }, 'locked   no memlock limit, VmLck'],
    ['a limit past 2^53', { memlockLimitBytes: '18446744073709547520' }, 'memlock limit 16384.0 PiB'],
    ['limits that were not read', { memlockLimitBytes: null, vmLckBytes: null }, 'locked   VmPin 0 B\n'],
    ['a busy monitor', { qmp: 'busy' }, 'monitor  busy: another client has it'],
    ['a monitor that is denied', { qmp: 'denied' }, 'monitor  denied to this user'],
    ['no monitor', { qmp: 'none' }, 'monitor  none that we could ask'],
  ] as const)('%s', (_, target, words) => {
    expect(text(someSnapshot({ target }))).toContain(words);
  });

  test('lines that would say nothing are not there', () => {
    const target = {
      memlockLimitBytes: null,
      vmLckBytes: null,
      vmPinBytes: null,
      kind: 'other',
      ram: null,
    } as const;
    expect(text(someSnapshot({ target }))).not.toMatch(/^(locked|monitor|memory)/m);
  });

  test.each([
    ['page-refs', 'plain page references, no pins'],
    ['absent', 'no udmabuf driver'],
    [null, 'era of udmabuf unknown'],
  ] as const)('era %s', (udmabufEra, words) => {
    const kernel = { release: '6.1.0', udmabufEra, evidence: '' };
    expect(text(someSnapshot({ host: { kernel } }))).toContain(words);
  });

  test('memory that is private, or may shrink', () => {
    const [ram] = someSnapshot().target.ram ?? [];
    if (!ram) throw new Error('no memory');
    const printed = text(
      someSnapshot({
        target: { ram: [{ ...ram, share: false, sealed: false, pageSizeBytes: null, id: null }] },
      }),
    );
    expect(printed).toContain(
      'memory   memfd 252, 256 MiB, private: udmabuf never sees what is written there',
    );
    expect(printed.replace(/\n +/g, ' ')).toContain('not sealed against shrinking at 0x');
  });
});

describe('nothing to see', () => {
  test('no dma-buf', () => {
    const printed = text(someSnapshot({ resources: [], target: { kind: 'other', name: null } }));
    expect(printed).toContain('\nThis process holds no dma-buf.\n');
    expect(printed).not.toContain('Not read');
  });

  test('another user’s process: denied, not none', () => {
    const maps = someSource('maps', {
      state: 'denied',
      detail: '/proc/189/maps: EACCES: not permitted',
      grant: 'root',
    });
    const printed = text(someSnapshot({ resources: [], sources: [maps] }));
    expect(printed).toContain('Its dma-bufs are denied to this user: there may be any number of them.');
    expect(printed).not.toContain('holds no');
  });

  test.each([
    [
      'denied',
      { state: 'denied', grant: 'root (CAP_SYS_RAWIO)' },
      'denied',
      'denied; needs root (CAP_SYS_RAWIO)',
    ],
    [
      'absent',
      { state: 'absent', detail: '/proc/kcore: this host has no such file' },
      'not read',
      'not read: /proc/kcore',
    ],
    ['raced', { state: 'raced', detail: 'it changed' }, 'raced', 'raced: the buffer changed'],
    ['made after the walk', {}, 'raced', 'raced: the kernel did not have the buffer'],
  ] as const)('pages that were not read (%s) are no zeros', (_, why, word, words) => {
    const printed = text(
      someSnapshot({
        resources: [someResource({ pages: null, attachments: null })],
        sources: [someSource('kernel-memory', why)],
      }),
    );
    const [row = ''] = printed.split('\n').filter(line => /^ +7 /.test(line));
    expect(row.split(word)).toHaveLength(5);
    expect(printed).toContain(`  pages      ${words}`);
    expect(printed).toContain('  attached   not read');
    expect(printed).not.toMatch(/\b0 pages|\b0 connected|\b0 in/);
  });

  test('no source says why', () => {
    const printed = text(someSnapshot({ resources: [someResource({ pages: null })], sources: [] }));
    expect(printed).toContain('  pages      not read\n');
  });

  test('another exporter’s buffer, and unknown fields', () => {
    const resource = someResource({
      exporter: 'i915',
      sizeBytes: null,
      count: null,
      createdAt: null,
      pages: null,
      holders: [],
    });
    const printed = text(someSnapshot({ resources: [resource] }));
    expect(printed).toMatch(/^ +7 +\(i915\) +\? +- +- +- +- +\? +\?$/m);
    expect(printed).toContain('not a udmabuf: its pages belong to its own driver');
    expect(printed).toContain('held by    no process that we can see');
    expect(printed).toContain('created    unknown');
  });

  test('runs whose place is unknown', () => {
    const run = someRun({
      node: null,
      zone: null,
      migratetype: null,
      gpa: null,
      ramInode: null,
      ramOffset: null,
      backing: 'unknown',
    });
    const printed = text(someSnapshot({ resources: [withPages(someResource(), { runs: [run] })] }));
    expect(printed).toMatch(/0 +256 +0x10bbf0 +2 MiB +\? +\? +\? +\? +\? +unknown$/m);
    expect(printed).toContain('256 unknown');
  });
});

describe('disconnected pages', () => {
  const lost = withPages(someResource({ inode: 9 }), {
    runs: [
      someRun({ count: 250 }),
      someRun({ index: 250, count: 6, backing: 'disconnected', migratetype: 'CMA' }),
    ],
  });
  test('are told in the totals, the row, the detail and the run', () => {
    const printed = text(someSnapshot({ resources: [someResource(), lost] }));
    expect(printed).toContain('2 dma-bufs, 2 MiB, 512 pages; 6 pages in 1 of them disconnected');
    expect(printed).toMatch(/^ +9 .* 0 Normal Movable \+1 +6 disconnected /m);
    expect(printed).toContain('  backing    250 connected, 6 disconnected');
    expect(printed).toContain('  lies in    250 × node 0 Normal Movable, 6 × node 0 Normal CMA');
  });
  test('are red', () => {
    const colours = { ...none, bad: (line: string) => `<${line}>` };
    const printed = snapshotText(someSnapshot({ resources: [someResource(), lost] }), colours, {
      runs: 1,
      resource: null,
    });
    const red = printed.split('\n').filter(line => /^<.*>$/.test(line));
    expect(red).toEqual([
      expect.stringContaining('6 disconnected'),
      '<  … 1 more of 2 runs, 1 of them disconnected; --runs all shows them>',
    ]);
    expect(printed).toContain('250 connected, <6 disconnected>');
  });
});

describe('many', () => {
  const resources = Array.from({ length: 300 }, (_, i) =>
    someResource({ inode: 1000 + i, name: `buffer ${i}` }),
  );

  test('300 dma-bufs: a row each, the sum, and how to see one', () => {
    const printed = text(someSnapshot({ resources }));
    expect(printed.split('\n').filter(line => /^ +1\d\d\d /.test(line))).toHaveLength(300);
    expect(printed).toContain('300 dma-bufs, 300 MiB, 76800 pages\n');
    expect(printed).toContain('Add --resource 1000 for the pages of that one.');
    expect(printed).not.toContain('INDEX');
  });
  test('the example is one that is wrong', () => {
    const bad = withPages(someResource({ inode: 1299 }), { runs: [someRun({ backing: 'disconnected' })] });
    expect(text(someSnapshot({ resources: [...resources.slice(0, 299), bad] }))).toContain(
      '--resource 1299 ',
    );
  });
  test('one of 300 in detail', () => {
    const printed = text(someSnapshot({ resources }), { resource: 1007 });
    expect(printed).toContain('dma-buf 1007 “buffer 7” of udmabuf');
    expect(printed.match(/^dma-buf /gm)).toHaveLength(1);
  });
  test('sums of what is known, and what is not', () => {
    const unread = { pages: null };
    const unsized = { sizeBytes: null, pages: null };
    const of = (...changes: Partial<Resource>[]) =>
      text(someSnapshot({ resources: changes.map(change => someResource(change)) }));
    expect(of({}, unread)).toContain('2 dma-bufs, 2 MiB, 256 pages and the pages of 1 not read\n');
    expect(of(unread, unread)).toContain('2 dma-bufs, 2 MiB, pages not read\n');
    expect(of({}, unsized)).toContain('2 dma-bufs, 1 MiB and 1 of unknown size, 256 pages and');
    expect(of(unsized, unsized)).toContain('2 dma-bufs, sizes unknown, pages not read\n');
  });
  test('holders: the first few, and how many more', () => {
    const holders = Array.from({ length: 200 }, (_, i) => ({
      pid: 100_000 + i,
      comm: `client ${i}`,
      fds: Array.from({ length: i === 0 ? 100 : 1 }, (_, fd) => fd),
      mappings: i === 1 ? [{ start: '0x1000', end: '0x2000', perms: 'r--s' }] : [],
    }));
    const printed = text(someSnapshot({ resources: [someResource({ holders })] })).replace(/\n {13}/g, ' ');
    expect(printed).toContain(
      'client 0 (100000) by fd 0, 1, 2, 3, 4, 5, 6, 7 and 92 more; client 1 (100001) by fd 0 and 1 mapping;',
    );
    expect(printed).toContain('and 194 other processes');
  });
  test('devices', () => {
    const attachments = Array.from({ length: 30 }, (_, i) => ({
      device: `0000:0${i % 10}:00.0`,
      mapped: [true, false, null][i % 3] ?? null,
    }));
    const printed = text(someSnapshot({ resources: [someResource({ attachments })] }));
    const traced = text(
      someSnapshot({ resources: [someResource({ virtio: { resourceId: 3, scanout: 0 } })] }),
    );
    expect(traced).toMatch(/virtio-gpu +resource 3, scanout 0/);
    expect(printed).not.toContain('virtio-gpu');
    expect(printed).toContain('0000:00:00.0 (mapped), 0000:01:00.0 (not mapped), 0000:02:00.0,');
  });
  test('runs: so many as asked for, and how many more', () => {
    const runs = Array.from({ length: 2025 }, (_, i) => someRun({ index: i, count: 1 }));
    const snapshot = someSnapshot({ resources: [withPages(someResource(), { runs, count: 2025 })] });
    const rows = (printed: string) => printed.split('\n').filter(line => line.includes(' 0x10bbf0 ')).length;
    expect(rows(text(snapshot))).toBe(12);
    expect(text(snapshot)).toContain('… 2013 more of 2025 runs; --runs all shows them');
    expect(rows(text(snapshot, { runs: Number.POSITIVE_INFINITY }))).toBe(2025);
    expect(rows(text(snapshot, { runs: 0 }))).toBe(0);
  });
});

describe('hostile', () => {
  const big = 2 ** 52;
  const huge = someResource({
    inode: 2 ** 32 - 1,
    sizeBytes: Number.MAX_SAFE_INTEGER,
    name: 'n'.repeat(31),
    count: 2 ** 31,
    createdAt: '1970-01-01T00:00:00.000Z',
    pages: {
      source: 'kernel-memory',
      count: 2 ** 31,
      folioBytes: Number.MAX_SAFE_INTEGER,
      folios: 2 ** 31,
      pinReferences: 2 ** 40,
      pageReferences: 0,
      runs: [
        someRun({
          index: 2 ** 31 - 1,
          pfn: 2 ** 40 - 1,
          count: 2 ** 31 - 1,
          node: 1023,
          folioBytes: 1023 * 2 ** 20,
          migratetype: 'HighAtomic',
          gpa: `0x${(big - 4096).toString(16)}`,
          ramOffset: big - 4096,
          backing: 'disconnected',
        }),
      ],
    },
  });
  test('numbers as big as they come stay whole', () => {
    const printed = text(someSnapshot({ resources: [huge, huge] }));
    for (const number of ['4294967295', '2147483648', '0xffffffffff', '0xffffffffff000', '1023 MiB']) {
      expect(printed).toContain(number);
    }
  });

  const KEEP = [
    'schema',
    'takenAt',
    'createdAt',
    'state',
    'udmabufEra',
    'kind',
    'qmp',
    'backing',
    'memlockLimitBytes',
    'device',
  ];
  const whole = someSnapshot({
    resources: [
      someResource({ name: 'x', attachments: [{ device: 'x', mapped: null }] }),
      someResource({ exporter: 'other', pages: null }),
      huge,
    ],
    sources: [
      someSource('a', { state: 'denied', grant: 'root' }),
      someSource('b', { state: 'raced' }),
      someSource('c', { state: 'absent' }),
    ],
  });
  test.each(hostileTexts.map(value => [JSON.stringify(value).slice(0, 40), value]))(
    'every text is %s',
    (_, value) => {
      text(poisoned(whole, KEEP, value), { runs: 100 });
    },
  );
});

describe('Not read', () => {
  const section = (snapshot: Snapshot) => /\nNot read\n([\s\S]*)$/.exec(text(snapshot))?.[1] ?? '';
  const missing = (name: string) =>
    someSource(name, { state: 'absent', detail: `/${name}: this host has no such file` });

  test('columns stay apart, and long texts are wrapped under themselves', () => {
    const sources = [
      someSource('a source with a long name', {
        state: 'denied',
        detail: 'word '.repeat(30).trim(),
        grant: 'root',
      }),
      someSource('maps', { state: 'raced', detail: 'gone' }),
    ];
    const lines = section(someSnapshot({ sources })).trimEnd().split('\n');
    expect(lines).toEqual([
      `  a source with a long name  denied  ${'word '.repeat(12).trim()}`,
      `${' '.repeat(37)}${'word '.repeat(12).trim()}`,
      `${' '.repeat(37)}word word word word word word; needs root`,
      '  maps                       raced   gone',
    ]);
  });

  test('what nobody misses here is not listed', () => {
    const sources = [
      'cma',
      'hugepages',
      'vmstat',
      '/dev/udmabuf',
      'udmabuf list_limit',
      'udmabuf size_limit_mb',
      'btf',
    ];
    expect(section(someSnapshot({ sources: [someSource('maps'), ...sources.map(missing)] }))).toBe('');
    const idle = ['kernel-memory', 'bufinfo', 'zoneinfo', 'pagetypeinfo', 'memory-blocks'];
    expect(section(someSnapshot({ resources: [], sources: idle.map(missing) }))).toBe('');
  });

  test('what would have said something is', () => {
    const names = ['kernel-memory', 'bufinfo', 'qmp', 'status'];
    const printed = section(
      someSnapshot({
        resources: [someResource({ pages: null, attachments: null })],
        sources: names.map(missing),
      }),
    );
    for (const name of names) expect(printed).toContain(`  ${name} `);
    expect(section(someSnapshot({ sources: ['zoneinfo', 'memory-blocks'].map(missing) }))).toMatch(
      /zoneinfo.*\n.*memory-blocks/,
    );
  });

  test('refused, raced, old and not understood always', () => {
    const sources = [
      someSource('cma', { state: 'denied', grant: 'root' }),
      someSource('vmstat', { state: 'raced' }),
      someSource('hugepages', { state: 'stale' }),
      someSource('/dev/udmabuf', { state: 'absent', detail: '/x: not understood: line 3' }),
    ];
    expect(section(someSnapshot({ sources })).trimEnd().split('\n')).toHaveLength(4);
  });

  test('an answer without end is cut', () => {
    const sources = [someSource('qmp', { state: 'absent', detail: 'x '.repeat(50_000) })];
    expect(section(someSnapshot({ sources })).length).toBeLessThan(1000);
  });
});
