import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import { evaluate } from './index.ts';

const device = (properties: Record<string, string>, driver = 'virtio-gpu-pci') => ({
  ...{ id: null, driver },
  properties: { blob: 'true', ...properties },
});
const snapshotOf = (
  properties: Record<string, string> | null,
  limits: { listLimit?: number | null; sizeLimitMb?: number | null } = {},
  change: Parameters<typeof someSnapshot>[0] = {},
) =>
  someSnapshot({
    resources: [],
    sources: ['maps', 'cmdline'].map(name => someSource(name)),
    ...change,
    host: { udmabuf: { device: 'ok', listLimit: 1024, sizeLimitMb: 64, ...limits } },
    target: {
      devices: {
        ...{ balloon: [], virtioMem: [], vfio: [], vdpa: [] },
        virtioGpu: properties === null ? [] : [device(properties)],
      },
      ...change.target,
    },
  });
function limitsOf(snapshot: Parameters<typeof fromSnapshot>[0]) {
  const { findings, notChecked } = evaluate(fromSnapshot(snapshot));
  return {
    found: findings.filter(({ rule }) => rule === 'limits'),
    open: notChecked.filter(({ rule }) => rule === 'limits').map(({ because }) => because),
  };
}
const told = (...args: Parameters<typeof snapshotOf>) =>
  limitsOf(snapshotOf(...args)).found.map(({ severity, title }) => `${severity}: ${title}`);

describe('size_limit_mb', () => {
  test.each<[string, Record<string, string>, number, string[]]>([
    ['the default output', {}, 64, []],
    ['the thread’s 1920x1080', { xres: '1920', yres: '1080', max_outputs: '1' }, 64, []],
    [
      '8K',
      { xres: '7680', yres: '4320' },
      64,
      ['warning: 7680x4320 needs 126.6 MiB, and size_limit_mb is 64'],
    ],
    [
      'a lowered limit',
      { xres: '1920', yres: '1080' },
      7,
      ['warning: 1920x1080 needs 7.91 MiB, and size_limit_mb is 7'],
    ],
    ['a lowered limit that is enough', { xres: '1920', yres: '1080' }, 8, []],
    [
      'a page more than the limit',
      { xres: '1025', yres: '1024' },
      4,
      ['warning: 1025x1024 needs 4.00 MiB, and size_limit_mb is 4'],
    ],
    ['exactly the limit', { xres: '1024', yres: '1024' }, 4, []],
    [
      'an output of its own size',
      { 'outputs.1.xres': '7680', 'outputs.1.yres': '4320' },
      64,
      ['warning: 7680x4320 needs 126.6 MiB, and size_limit_mb is 64'],
    ],
    [
      'outputs that fit one by one',
      { xres: '1920', yres: '1080', max_outputs: '16' },
      64,
      ['info: 16 outputs of 1920x1080 in one framebuffer need 126.6 MiB, and size_limit_mb is 64'],
    ],
  ])('%s', (_, properties, sizeLimitMb, expected) => {
    expect(told(properties, { sizeLimitMb, listLimit: 2 ** 20 })).toEqual(expected);
  });
});

describe('list_limit', () => {
  const hd = { xres: '1920', yres: '1080' };
  test.each([
    ['the default', 1024, []],
    ['what the most scattered guest took', 271, []],
    ['one less', 270, ['info: 1920x1080 may need more than the 270 items of list_limit']],
    [
      'less than the least scattered guest took',
      71,
      ['warning: 1920x1080 will need more than the 71 items of list_limit'],
    ],
    ['none at all', 0, ['warning: list_limit is 0: every blob is refused']],
  ])('%s', (_, listLimit, expected) => {
    expect(told(hd, { listLimit })).toEqual(expected);
  });
  test('no more items than pages', () => {
    expect(told({ xres: '64', yres: '64' }, { listLimit: 4 })).toEqual([]);
  });

  /** A framebuffer of 2025 pages in pieces of `each` pages of guest memory, its host pages all contiguous. */
  const pieces = (each: number, pages = 2025) => {
    const runs = Array.from({ length: Math.ceil(pages / each) }, (_, i) =>
      someRun({
        index: i * each,
        pfn: 0x1000 + i * each,
        count: Math.min(each, pages - i * each),
        ramOffset: i * each * 8192,
      }),
    );
    const one = someResource({ sizeBytes: pages * 4096 });
    return [{ ...one, pages: one.pages && { ...one.pages, count: pages, runs } }];
  };
  test('a guest that was measured tells more than others', () => {
    expect(told(hd, { listLimit: 300 }, { resources: pieces(5) })).toEqual([
      'warning: 1920x1080 will need more than the 300 items of list_limit',
    ]);
    expect(told(hd, { listLimit: 100 }, { resources: pieces(1000) })).toEqual([]);
  });
  test('neighbours in guest memory are one item, wherever the host has them', () => {
    const [one] = pieces(1);
    const runs = one?.pages?.runs.map(run => ({ ...run, ramOffset: run.index * 4096, pfn: 9 * run.pfn }));
    const resources = one?.pages && runs ? [{ ...one, pages: { ...one.pages, runs } }] : [];
    expect(told(hd, { listLimit: 2 }, { resources })).toEqual([]);
  });
  test('a small buffer (a cursor) does not tell of a framebuffer', () => {
    expect(told(hd, { listLimit: 1024 }, { resources: pieces(1, 4) })).toEqual([]);
  });
});

describe('what is shown', () => {
  test('the worst first, one finding for all, with what raises each', () => {
    const { found } = limitsOf(snapshotOf({ xres: '1920', yres: '1080' }, { listLimit: 0, sizeLimitMb: 4 }));
    expect(found).toHaveLength(1);
    expect(found[0]?.remedy).toContain('echo 8 | sudo tee /sys/module/udmabuf/parameters/size_limit_mb');
    expect(found[0]?.remedy).toContain('udmabuf.list_limit=2048');
    expect(found[0]?.evidence.map(({ field, value }) => [field, value])).toEqual([
      ['size_limit_mb', '4'],
      ['list_limit', '0'],
      ['-device virtio-gpu-pci', 'virtio-gpu-pci: 1920x1080'],
    ]);
  });
});

describe('nothing to say, and not checked', () => {
  test('a QEMU without blobs, a device of virgl, another program', () => {
    expect(told(null, { listLimit: 0 })).toEqual([]);
    expect(told({ blob: 'off' }, { listLimit: 0 })).toEqual([]);
    expect(told({}, { listLimit: 0 }, { target: { kind: 'other' } })).toEqual([]);
    const virtioGpu = [device({}, 'virtio-vga-gl')];
    const devices = { virtioGpu, balloon: [], virtioMem: [], vfio: [], vdpa: [] };
    expect(told({}, { listLimit: 0 }, { target: { devices } })).toEqual([]);
  });
  test('limits that were not read; what was, is judged', () => {
    const sources = [
      someSource('maps'),
      someSource('udmabuf list_limit', { state: 'absent', detail: 'this host has no such file' }),
    ];
    const { found, open } = limitsOf(
      snapshotOf({ xres: '7680', yres: '4320' }, { listLimit: null }, { sources }),
    );
    expect(found).toHaveLength(1);
    expect(open).toEqual([
      'list_limit is not known: udmabuf list_limit is absent (this host has no such file)',
    ]);
  });
  test('a command line that was not read', () => {
    const sources = [someSource('maps'), someSource('cmdline', { state: 'raced', detail: 'gone' })];
    const { open } = limitsOf(snapshotOf({}, {}, { sources, target: { devices: null } }));
    expect(open).toEqual(['the devices of this QEMU are not known: cmdline is raced (gone)']);
  });
});
