import { describe, expect, test } from 'vitest';
import { someResource, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { MachineMemory, RamBackend, Refusal, Snapshot } from '../snapshot.ts';
import { printable } from '../text.ts';
import { evaluate } from './index.ts';

type Change = NonNullable<Parameters<typeof someSnapshot>[0]>;
const devices = (properties: Record<string, string> = { blob: 'true', xres: '1920', yres: '1080' }) => ({
  ...{ balloon: [], virtioMem: [], vfio: [], vdpa: [] },
  virtioGpu: [{ id: 'gpu0', driver: 'virtio-gpu-pci', properties }],
});
const [someRam] = someSnapshot().target.ram ?? [];
if (!someRam) throw new Error('no RAM');
const ramOf = (change: Partial<RamBackend>): RamBackend[] => [{ ...someRam, ...change }];
const memory = (change: Partial<MachineMemory> = {}): MachineMemory => ({
  ...{ kind: 'memfd', backend: 'mem1', seal: true, share: true, hugetlbSizeBytes: null, prealloc: false },
  ...change,
});
const allRead = ['maps', 'cmdline', 'machine-memory', 'refusals', 'open-devices'].map(name =>
  someSource(name),
);
/** The thread's QEMU, healthy. */
const qemu = ({ target, ...change }: Change = {}): Snapshot =>
  someSnapshot({
    sources: allRead,
    resources: [],
    ...change,
    target: {
      devices: devices(),
      machineMemory: memory(),
      open: { udmabuf: 1, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] },
      ...target,
    },
  });
const pageRefs = (release: string) => ({
  kernel: { release, udmabufEra: 'page-refs' as const, evidence: 'BTF: pages', traits: [] },
});
const refusal = (text: string, errno: string | null, times = 1): Refusal => ({
  ...{ source: '/var/log/guest.log', errno, times },
  line: `qemu-system-x86_64: warning: ${text}`,
});
const refused = (text: string, errno: string | null, times?: number) => ({
  refusals: [refusal(`virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: ${text}`, errno, times)],
});
const EINVAL = refused('Invalid argument', 'EINVAL', 3);
const ENOMEM = refused('Cannot allocate memory', 'ENOMEM');

function judge(rule: string, snapshot: Snapshot) {
  const { findings, notChecked } = evaluate(fromSnapshot(snapshot));
  return {
    finding: findings.find(each => each.rule === rule),
    because: notChecked.find(each => each.rule === rule)?.because,
  };
}

describe('create-refused', () => {
  const of = (change?: Change) => judge('create-refused', qemu(change));
  test('healthy: silent, whatever the kernel', () => {
    expect(of()).toEqual({ finding: undefined, because: undefined });
    expect(of({ host: pageRefs('6.1.192') }).finding).toBeUndefined();
  });

  test('the resources that the trace names', () => {
    const [told] = EINVAL.refusals;
    const named = (...resources: { resourceId: number; sizeBytes: number | null }[]) =>
      of({ target: { refusals: told ? [{ ...told, resources }] : [] } }).finding?.explanation;
    expect(named({ resourceId: 26, sizeBytes: 8294400 })).toContain(
      'By its trace it was resource 26 of 7.91 MiB, and 2 that it does not name. ',
    );
    const three = [1, 2, 3].map(resourceId => ({ resourceId, sizeBytes: null }));
    expect(named(...three)).toContain('By its trace they were resource 1, resource 2 and resource 3. ');
    expect(named()).not.toContain('trace');
  });

  test('a refusal and a cause that still stands: an error with one fix', () => {
    const { finding } = of({
      target: { ...EINVAL, machineMemory: memory({ seal: false }), ram: ramOf({ sealed: false }) },
    });
    expect(finding).toMatchObject({
      severity: 'error',
      title: 'QEMU was refused a buffer 3 times (EINVAL)',
      remedy: 'Start QEMU without seal=off at the memory-backend-memfd.',
    });
    expect(finding?.explanation).toContain(
      'It is refused because the memfd of mem1 has no F_SEAL_SHRINK (seal=off)',
    );
    expect(finding?.evidence.map(({ field }) => field)).toEqual([
      'message of QEMU, 3 times',
      'seal of the memory backend',
      'seals of memfd 252',
    ]);
  });

  test('EINVAL without a certain cause: what is left, in order', () => {
    const { finding } = of({ target: EINVAL });
    expect(finding?.severity).toBe('warning');
    expect(finding?.explanation).toMatch(/\(1\) .*more than 1024 pieces.*\(2\) .*larger than 64 MiB/);
    expect(finding?.explanation).not.toContain('SEAL');
  });
  test('EINVAL: a limit below the configured framebuffer is the cause', () => {
    const udmabuf = { device: 'ok' as const, listLimit: 1024, sizeLimitMb: 4 };
    const { finding } = of({ target: EINVAL, host: { udmabuf } });
    expect(finding?.severity).toBe('error');
    expect(finding?.remedy).toMatch(/^Set size_limit_mb to 8: echo 8 \| sudo tee \S+size_limit_mb \(/);
  });
  test('EINVAL: huge pages that are not there, of older drivers only', () => {
    const target = { ...EINVAL, machineMemory: memory({ hugetlbSizeBytes: 2 ** 21 }) };
    expect(of({ target, host: pageRefs('6.1.192') }).finding?.explanation).toContain('was not there yet');
    expect(of({ target }).finding?.explanation).not.toContain('was not there yet');
    const filled = { ...target, machineMemory: memory({ hugetlbSizeBytes: 2 ** 21, prealloc: true }) };
    expect(of({ target: filled, host: pageRefs('6.1.192') }).finding?.explanation).not.toContain(
      'was not there yet',
    );
  });

  const pool = (free: number) => ({
    ...{ pageSizeBytes: 2 ** 21, node: null, total: 300, free, reserved: 0, surplus: 0, overcommit: 0 },
  });
  const zone = (name: string, presentPages: number) => ({
    ...{ node: 0, zone: name, startPfn: 1, spannedPages: presentPages, presentPages },
    ...{ managedPages: presentPages, freePages: 1, cmaPages: 0, freeCmaPages: 0 },
  });
  const huge = { ...ENOMEM, machineMemory: memory({ hugetlbSizeBytes: 2 ** 21 }) };
  test.each<[string, Change, RegExp, RegExp]>([
    ['an empty pool', { target: huge, host: { hugetlb: [pool(0)] } }, /\(1\) .*none free/, /ZONE_MOVABLE/],
    [
      'a pool in ZONE_MOVABLE',
      { target: huge, host: { hugetlb: [pool(7)], zones: [zone('Movable', 9)] } },
      /\(1\) .*may all lie in ZONE_MOVABLE.*\(2\) .*something else holds/,
      /none free/,
    ],
    [
      'a pool in ZONE_MOVABLE, as was read',
      { target: huge, host: { hugetlb: [{ ...pool(7), fillable: 2 }], zones: [zone('Movable', 9)] } },
      /\(1\) .*of the free ones of the pool \(7\) only 2 lie outside/,
      /may all lie/,
    ],
    [
      'a pool beside ZONE_MOVABLE',
      { target: huge, host: { hugetlb: [{ ...pool(7), fillable: 7 }], zones: [zone('Movable', 9)] } },
      /\(1\) .*something else holds/,
      /huge page of the resource/,
    ],
    [
      'no huge pages: a page that something else holds',
      { target: ENOMEM, host: { zones: [zone('Movable', 9)] } },
      /\(1\) .*something else holds.*\(2\) memory was short/,
      /huge page/,
    ],
    [
      'neither Movable nor CMA',
      { target: ENOMEM, host: { zones: [zone('Normal', 9)] } },
      /because memory was short/,
      /something else holds/,
    ],
    [
      'an older driver moves nothing',
      { target: ENOMEM, host: pageRefs('6.1') },
      /because memory was short/,
      /holds/,
    ],
  ])('ENOMEM: %s', (_, change, words, never) => {
    const { finding } = of(change);
    expect(finding?.explanation).toMatch(words);
    expect(finding?.explanation).not.toMatch(never);
    expect(finding?.severity).toBe('warning');
  });
  test('ENOMEM: a 1 GiB page in ZONE_MOVABLE stands alone', () => {
    const machineMemory = memory({ hugetlbSizeBytes: 2 ** 30 });
    const ram = (inMovable: number) => ramOf({ pageSizeBytes: 2 ** 30, gigantic: { pages: 4, inMovable } });
    const { finding } = of({ target: { ...ENOMEM, machineMemory, ram: ram(3) } });
    expect(finding).toMatchObject({ severity: 'error' });
    expect(finding?.explanation).toContain('because 3 of the guest’s 1 GiB pages lie in ZONE_MOVABLE');
    expect(of({ target: { ...ENOMEM, machineMemory, ram: ram(0) } }).finding?.severity).toBe('warning');
  });

  test('EBADFD: a hugetlb memfd and a driver of before 6.11', () => {
    const target = {
      ...refused('File descriptor in bad state', 'EBADFD'),
      machineMemory: memory({ hugetlbSizeBytes: 2 ** 21 }),
    };
    expect(of({ target, host: pageRefs('6.6.30') }).finding?.explanation).toContain('6.4 to 6.10');
    expect(of({ target }).finding?.explanation).toContain('No cause that is known');
  });
  test('the device was not to be had', () => {
    const target = { refusals: [refusal('open /dev/udmabuf: Permission denied', 'EACCES')] };
    const node = { uid: 0, gid: 0, mode: 0o600 };
    const udmabuf = { device: 'denied' as const, listLimit: 1024, sizeLimitMb: 64, node };
    expect(of({ target, host: { udmabuf } }).finding?.explanation).toContain(
      'QEMU (user 64055) may not open /dev/udmabuf (0600, owner 0, group 0)',
    );
  });
  test('a mapping that failed afterwards is no refusal', () => {
    const refusals = [
      refusal('virtio_gpu_remap_udmabuf: dmabuf mmap failed: Cannot allocate memory', 'ENOMEM'),
    ];
    expect(of({ target: { refusals } }).finding).toBeUndefined();
  });
  test('an error that is no known one is told as it is', () => {
    const target = refused('Ung\u00fcltiges Argument', null);
    expect(of({ target }).finding).toMatchObject({ title: 'QEMU was refused a buffer 1 time' });
  });

  test.each<[string, Change, string]>([
    ['seal=off', { target: { machineMemory: memory({ seal: false }) } }, 'seal=off'],
    ['a file', { target: { machineMemory: memory({ kind: 'file', seal: null }) } }, 'lies in a file'],
    ['no items', { host: { udmabuf: { device: 'ok', listLimit: 0, sizeLimitMb: 64 } } }, 'list_limit is 0'],
    [
      'huge pages that this kernel does not take',
      { target: { machineMemory: memory({ hugetlbSizeBytes: 2 ** 21 }) }, host: pageRefs('6.6.30-amd64') },
      '6.4 to 6.10',
    ],
  ])('before it happens: %s', (_, change, words) => {
    const { finding } = of(change);
    expect(finding?.severity).toBe('warning');
    expect(finding?.explanation).toContain(words);
    expect(finding?.title).toMatch(/next buffer/);
  });
  test('6.1 took hugetlb memfds: nothing is foreseen from its number, nor where a buffer lies in huge pages', () => {
    const target = { machineMemory: memory({ hugetlbSizeBytes: 2 ** 21 }) };
    expect(of({ target, host: pageRefs('6.1.192') }).finding).toBeUndefined();
    const resources = [someResource()];
    expect(of({ target, host: pageRefs('6.6.30'), resources }).finding).toBeUndefined();
    expect(of({ target, host: pageRefs('6.40.1') }).finding).toBeUndefined();
  });

  test('messages that cannot be read: not checked, and what is certain is still told', () => {
    const detail = 'QEMU’s messages go to a terminal';
    const sources = [...allRead.slice(0, 3), someSource('refusals', { state: 'absent', detail })];
    const target = { refusals: null, machineMemory: memory({ seal: false }) };
    const { finding, because } = of({ sources, target });
    expect(finding?.severity).toBe('warning');
    expect(because).toBe(`what QEMU printed is not known: refusals is absent (${detail})`);
  });
  test('a hostile message and id stay text', () => {
    const line = `x'; rm -rf / #\x1b[2J virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Invalid argument`;
    const target = {
      refusals: [{ source: `/tmp/'; rm -rf /`, line, errno: 'EINVAL', times: 1 }],
      machineMemory: memory({ seal: false, backend: `'; rm -rf /\n` }),
    };
    const { finding } = of({ target });
    for (const text of [finding?.title, finding?.explanation, finding?.remedy])
      expect(printable(text ?? '').replaceAll('\\\\', '\\')).toBe(text);
    expect(finding?.evidence[0]?.value).not.toContain('\x1b');
    for (const { recheck } of finding?.evidence ?? []) expect(recheck).not.toContain('rm -rf');
  });
});

describe('blob-without-udmabuf', () => {
  const of = (change?: Change) => judge('blob-without-udmabuf', qemu(change));
  const closed = { open: { udmabuf: 0, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] } };
  test('healthy: silent, and checked', () => {
    expect(of()).toEqual({ finding: undefined, because: undefined });
  });
  test.each<[string, Partial<MachineMemory>, string]>([
    ['the memfd is not the machine’s memory', { kind: 'anonymous', backend: null, seal: null }, 'anonymous'],
    ['a file', { kind: 'file', seal: null }, 'lies in a file'],
    ['seal=off', { seal: false }, 'seal=off'],
  ])('%s', (_, change, words) => {
    const { finding } = of({ target: { machineMemory: memory(change) } });
    expect(finding).toMatchObject({
      severity: 'error',
      title: 'blob=on, and no blob of this guest can become a buffer',
    });
    expect(finding?.explanation).toContain(words);
  });
  test('where some blobs do become buffers it is not all of them', () => {
    const target = { machineMemory: memory({ kind: 'anonymous', backend: null, seal: null }) };
    expect(of({ target, resources: [someResource()] }).finding?.severity).toBe('warning');
  });
  test('seals that were asked for weigh, of the machine’s memory alone', () => {
    const other = { ...someRam, id: 'other', inode: 9, sealed: false };
    expect(of({ target: { ram: [...ramOf({}), other] } }).finding).toBeUndefined();
    expect(of({ target: { ram: [...ramOf({ sealed: false }), other] } }).finding?.severity).toBe('error');
  });
  test('QEMU has not opened the device: not there, or not allowed', () => {
    const udmabuf = { device: 'absent' as const, listLimit: null, sizeLimitMb: null, node: null };
    expect(of({ target: closed, host: { udmabuf } }).finding?.explanation).toContain('sees no /dev/udmabuf');
    const node = { uid: 0, gid: 0, mode: 0o600 };
    const there = { device: 'ok' as const, listLimit: 1024, sizeLimitMb: 64, node };
    expect(of({ target: closed, host: { udmabuf: there } }).finding?.explanation).toContain('may not open');
  });
  test('a mode that would not let it is nothing, as long as it has it open', () => {
    const node = { uid: 0, gid: 0, mode: 0o600 };
    const udmabuf = { device: 'denied' as const, listLimit: 1024, sizeLimitMb: 64, node };
    expect(of({ host: { udmabuf } }).finding).toBeUndefined();
  });
  test('a kernel without the driver', () => {
    const kernel = { release: '6.1', udmabufEra: 'absent' as const, evidence: '', traits: [] };
    expect(of({ target: { open: null }, host: { kernel } }).finding?.explanation).toContain('CONFIG_UDMABUF');
  });
  test('without blob=on it is nobody’s business', () => {
    const target = { devices: devices({}), machineMemory: memory({ kind: 'anonymous' }) };
    expect(of({ target })).toEqual({ finding: undefined, because: undefined });
  });
  test('what was not read is not checked', () => {
    const sources = allRead.map(source =>
      source.name === 'open-devices'
        ? someSource(source.name, { state: 'denied', detail: 'EACCES', grant: 'root' })
        : source,
    );
    expect(of({ sources, target: { open: null } }).because).toBe(
      'whether QEMU has /dev/udmabuf open is not known: open-devices is denied (EACCES; needs root)',
    );
    expect(of({ target: { machineMemory: null } }).because).toContain('what the guest’s memory lies in');
    expect(of({ target: { devices: null } }).because).toContain('devices of this QEMU');
  });
});
