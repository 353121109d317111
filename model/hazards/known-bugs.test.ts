import { describe, expect, test } from 'vitest';
import { someResource, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { MachineMemory, RamBackend, Target } from '../snapshot.ts';
import { evaluate } from './index.ts';

type Change = NonNullable<Parameters<typeof someSnapshot>[0]>;
const [huge] = someSnapshot().target.ram ?? [];
if (!huge) throw new Error('no RAM');
const small: RamBackend = { ...huge, pageSizeBytes: 4096 };
const kernel = (release: string, udmabufEra: 'page-refs' | 'folio-pins', ...traits: string[]) => ({
  kernel: { release, udmabufEra, evidence: 'BTF', traits },
});
/** As the BTF of these kernels has them. */
const v612 = kernel(
  '6.12.95',
  'folio-pins',
  ...['udmabuf.folios', 'udmabuf.offsets', 'udmabuf.unpin_list', 'dma_buf_attachment.sgt'],
);
const v72 = kernel('7.2.13', 'folio-pins', 'udmabuf.pages', 'udmabuf.nr_pinned', 'udmabuf.pinned_folios');
const v61 = (release: string) => kernel(release, 'page-refs', 'udmabuf.pages', 'dma_buf_attachment.sgt');
const unfilled: MachineMemory = {
  kind: 'memfd',
  ...{ backend: 'mem1', seal: true, share: true, hugetlbSizeBytes: 2 ** 21, prealloc: false },
};

function of(host: Change['host'], target: Partial<Target> = {}, change: Change = {}) {
  const { findings, notChecked } = evaluate(
    fromSnapshot(
      someSnapshot({
        sources: [someSource('maps'), someSource('btf')],
        ...change,
        host: { ...host },
        target,
      }),
    ),
  );
  return {
    finding: findings.find(({ rule }) => rule === 'known-bug'),
    because: notChecked.find(({ rule }) => rule === 'known-bug')?.because,
  };
}
const attached = { resources: [someResource({ attachments: [{ device: 'vgem', mapped: true }] })] };

describe('6.12', () => {
  test('memory on huge pages: both faults, as info, in one finding', () => {
    const { finding } = of(v612, { machineMemory: unfilled });
    expect(finding).toMatchObject({ severity: 'info', resource: null });
    expect(finding?.title).toBe(
      '2 known faults: vmap of buffers on huge pages shows wrong pages; huge pages are taken without a reservation',
    );
    expect(finding?.explanation).toContain('No device is attached now');
  });
  test('a filled pool leaves vmap, ordinary pages leave nothing', () => {
    expect(of(v612).finding?.title).toBe('Known fault: vmap of buffers on huge pages shows wrong pages');
    expect(of(v612, { ram: [small] })).toEqual({ finding: undefined, because: undefined });
  });
  test('an attached device keeps its mapping', () => {
    const { finding } = of(v612, { ram: [small] }, attached);
    expect(finding?.title).toBe('Known fault: a device keeps its mapping until it detaches');
    expect(of(v72, { ram: [small] }, attached).finding).toBeUndefined();
  });
});

test('7.2 has none of them, on huge pages, unfilled, attached', () => {
  expect(of(v72, { machineMemory: unfilled }, attached)).toEqual({ finding: undefined, because: undefined });
});

describe('a driver of before 6.11 and huge pages', () => {
  const target = { machineMemory: unfilled };
  test.each([
    ['6.6.30-amd64', 'warning'],
    ['6.10.1', 'warning'],
    ['6.1.192', 'info'],
    ['6.11.0', 'info'],
    ['5.14.0-503.el9', 'info'],
  ])('%s: %s', (release, severity) => {
    expect(of(v61(release), target, { resources: [] }).finding?.severity).toBe(severity);
  });
  test('a buffer that lies in huge pages shows that they are taken', () => {
    expect(of(v61('6.6.30'), target).finding).toBeUndefined();
  });
  test('ordinary pages', () => {
    const machineMemory = { ...unfilled, hugetlbSizeBytes: null };
    expect(of(v61('6.6.30'), { ram: [small], machineMemory }, { resources: [] }).finding).toBeUndefined();
  });
});

test('a mapping that failed is a file that QEMU does not close', () => {
  const refusal = {
    ...{ source: '/tmp/log', errno: 'ENOMEM', times: 2 },
    line: 'virtio_gpu_remap_udmabuf: dmabuf mmap failed: Cannot allocate memory',
  };
  expect(of(v72, { refusals: [refusal] }).finding).toMatchObject({
    severity: 'warning',
    title: 'Known fault: QEMU could not map 2 buffers, and keeps their pages',
  });
  const line = 'virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Cannot allocate memory';
  expect(of(v72, { refusals: [{ ...refusal, line }] }).finding).toBeUndefined();
});

test('without BTF, or without the memory, it is not checked; older recordings lack the first', () => {
  const sources = [someSource('maps'), someSource('btf', { state: 'absent', detail: 'no such file' })];
  const without = { kernel: { release: '6.12', udmabufEra: null, evidence: '', traits: null } };
  expect(of(without, {}, { sources }).because).toBe(
    'which form of the driver this is is not known: btf is absent (no such file)',
  );
  const older = { kernel: { release: '6.12', udmabufEra: 'folio-pins' as const, evidence: '' } };
  expect(of(older).because).toContain('its structures were not looked at');
  const denied = [
    someSource('maps', { state: 'denied', detail: 'EACCES', grant: 'root' }),
    someSource('btf'),
  ];
  expect(of(v72, { ram: null }, { sources: denied }).because).toContain('the memory of this process');
});
