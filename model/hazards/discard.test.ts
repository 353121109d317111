import { describe, expect, test } from 'vitest';
import { someResource, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { Target } from '../snapshot.ts';
import { evaluate } from './index.ts';

type Change = NonNullable<Parameters<typeof someSnapshot>[0]>;
const sources = ['maps', 'cmdline', 'qmp', 'migration'].map(name => someSource(name));
const none = { virtioGpu: [], balloon: [], virtioMem: [], vfio: [], vdpa: [] };
const device = (driver: string, properties: Record<string, string> = {}) => ({
  id: null,
  driver,
  properties,
});
const balloon = [device('virtio-balloon-pci')];
const reporting = [device('virtio-balloon-pci', { 'free-page-reporting': 'on' })];
const virtioMem = [device('virtio-mem-pci', { memdev: 'm' })];
const vfio = [device('vfio-pci', { host: '01:00.0' })];
const vdpa = [device('vhost-vdpa-device-pci')];

function of(target: Partial<Target>, change: Change = {}) {
  const { findings, notChecked } = evaluate(
    fromSnapshot(someSnapshot({ sources, ...change, target: { devices: none, ...target } })),
  );
  return {
    finding: findings.find(({ rule }) => rule === 'discard-possible'),
    because: notChecked.find(({ rule }) => rule === 'discard-possible')?.because,
  };
}
const severity = (target: Partial<Target>, change?: Change) => of(target, change).finding?.severity;

describe('what may discard, and what forbids it', () => {
  test.each<[string, Partial<Target['devices']>, string | undefined]>([
    ['nothing', {}, undefined],
    ['a plain balloon', { balloon }, 'info'],
    ['a balloon that reports free pages', { balloon: reporting }, 'warning'],
    ['virtio-mem', { virtioMem }, 'info'],
    ['vfio inhibits the balloon', { balloon: reporting, vfio }, undefined],
    ['vfio and virtio-mem coordinate', { virtioMem, vfio }, 'info'],
    ['vdpa inhibits both', { balloon, virtioMem, vdpa }, undefined],
  ])('%s', (_, devices, expected) => {
    expect(severity({ devices: { ...none, ...devices } })).toBe(expected);
  });
  test('a vfio device that was plugged later is seen by its open files', () => {
    const open = { udmabuf: 1, vfioGroups: ['/dev/vfio/12'], vfioDevices: 1, iommufd: 0, vdpa: [] };
    expect(severity({ devices: { ...none, balloon }, open })).toBeUndefined();
    expect(
      severity({ devices: { ...none, balloon }, open: { ...open, vfioGroups: [], vfioDevices: 0 } }),
    ).toBe('info');
  });
});

describe('postcopy', () => {
  const migration = (
    incoming: string | null,
    capabilities: readonly string[] | null,
    status: string | null = null,
  ) => ({ migration: { incoming, capabilities, status } });
  test.each<[string, Partial<Target>, string | undefined]>([
    ['no migration', migration(null, []), undefined],
    ['allowed at a QEMU that waits for one', migration('defer', ['postcopy-ram']), 'warning'],
    ['under way', migration(null, ['postcopy-ram'], 'postcopy-active'), 'warning'],
    ['allowed, nothing coming', migration(null, ['postcopy-ram']), 'info'],
    ['precopy alone', migration('tcp:0:4444', ['xbzrle'], 'active'), undefined],
    ['over', migration('defer', ['postcopy-ram'], 'completed'), undefined],
    ['coming, and nobody can be asked', migration('defer', null), 'info'],
  ])('%s', (_, target, expected) => {
    expect(severity(target)).toBe(expected);
  });
  test('without a monitor it is not checked, and the devices are', () => {
    const noMonitor = [someSource('maps'), someSource('qmp', { state: 'absent', detail: 'no QMP socket' })];
    const target = { ...migration(null, null), devices: { ...none, balloon }, qmp: 'none' as const };
    const { finding, because } = of(target, { sources: noMonitor });
    expect(finding?.severity).toBe('info');
    expect(because).toBe('whether postcopy is allowed is not known: qmp is absent (no QMP socket)');
  });
});

test('buffers are counted, with what they are open to', () => {
  const resources = [
    someResource(),
    someResource({ inode: 8 }),
    someResource({ inode: 9, exporter: 'i915' }),
  ];
  const { finding } = of({ devices: { ...none, balloon } }, { resources });
  expect(finding).toMatchObject({ resource: null, title: 'Pages of 2 live buffers could be discarded' });
  expect(finding?.explanation).toMatch(/^The balloon virtio-balloon-pci discards/);
  expect(finding?.evidence.at(-1)).toMatchObject({ value: '2, 2 MiB' });
});
test('without a live buffer there is nothing to lose; with one of another program neither', () => {
  const devices = { ...none, balloon: reporting };
  expect(of({ devices }, { resources: [] })).toEqual({ finding: undefined, because: undefined });
  expect(severity({ devices, kind: 'other' })).toBeUndefined();
});
test('devices or buffers that are not known are not checked', () => {
  expect(of({ devices: null }).because).toContain('the devices of this QEMU are not known');
  const denied = [someSource('maps', { state: 'denied', detail: 'EACCES', grant: 'root' })];
  expect(of({}, { sources: denied, resources: [] }).because).toContain('the dma-bufs of this process');
});
