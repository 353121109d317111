import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { deflater, inflate } from '../../sampler/session-bytes.ts';
import { someResource, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import { exportRedacted } from './export.ts';
import { SessionFile } from './reader.ts';
import { Redactor } from './redact.ts';
import { joined, SessionWriter } from './writer.ts';

/** What a user would not want others to read, wherever a snapshot may have it. */
const SECRETS = [
  'payroll-prod',
  'alice.smith',
  'acme-agent',
  'acme-compose',
  'window of alice',
  'ram-for-payroll',
  'gpu-of-alice',
  'payroll-chardev',
  '/home/alice',
  'my machines',
  'qmp.sock',
  'build7.acme.example',
  'acme-tool',
];

const device = (id: string, properties: Record<string, string>) => ({
  id,
  driver: 'virtio-gpu-pci',
  properties,
});
const snapshot = (minute: number) =>
  someSnapshot({
    takenAt: `2026-03-04T05:0${minute}:07.000Z`,
    target: {
      name: 'payroll-prod',
      user: 'alice.smith',
      comm: minute === 0 ? 'qemu-system-x86' : 'acme-agent',
      ram: someSnapshot().target.ram?.map(backend => ({ ...backend, id: 'ram-for-payroll' })) ?? null,
      devices: {
        virtioGpu: [device('gpu-of-alice', { blob: 'true', xres: '1920', chardev: 'payroll-chardev' })],
        balloon: [],
        virtioMem: [],
        vfio: [],
        vdpa: [device('v', { path: '/home/alice/vdpa' })],
      },
      qmp: 'none',
      hugetlbCgroup:
        someSnapshot().target.hugetlbCgroup?.map(row => ({ ...row, path: '/payroll-prod.scope' })) ?? null,
    },
    resources: [
      someResource({
        name: 'window of alice',
        holders: [{ pid: 5, comm: 'acme-compose', fds: [3], mappings: [] }],
      }),
    ],
    findings: [
      {
        rule: 'remote-node',
        severity: 'warning',
        resource: 7,
        title: 'the memory backend ram-for-payroll asks for node 1',
        explanation: 'payroll-prod runs as alice.smith; see /home/alice/my machines/qmp.sock.',
        remedy: 'Nothing.',
        evidence: [
          {
            source: '/proc/5/maps',
            field: 'ram-for-payroll: policy',
            value: 'acme-compose',
            recheck: 'cat /proc/5/maps',
          },
        ],
        reference: 'docs/HAZARDS.md#remote-node',
      },
    ],
    notChecked: [
      { rule: 'x', because: 'QMP: build7.acme.example is not this machine; guest addresses are unknown' },
    ],
    sources: [
      someSource('qmp', {
        state: 'absent',
        detail: 'build7.acme.example is not this machine; guest addresses are unknown',
      }),
      someSource('maps', { detail: '/proc/5/maps' }),
      someSource('monitor', { state: 'absent', detail: 'connect ENOENT /home/alice/my machines/qmp.sock' }),
    ],
  });

test('no name and no path survives, and what a session is for does', async () => {
  const parts: Uint8Array[] = [];
  const writer = new SessionWriter({
    header: {
      createdAt: '2026-03-04T05:00:07.000Z',
      periodMs: 1000,
      redacted: false,
      title: 'payroll-prod on /home/alice',
      openAt: 1,
    },
    deflater,
    write: async bytes => void parts.push(bytes),
  });
  for (const minute of [0, 1, 2]) {
    await writer.add(fromSnapshot(snapshot(minute)));
    const detail = 'spawn /opt/acme-tool/bin failed for payroll-prod';
    await writer.event({ at: '2026-03-04T05:06:07.000Z', kind: 'failed', count: null, detail });
  }
  await writer.end();
  const original = gunzipSync(joined(parts)).toString('ascii');
  for (const secret of SECRETS) expect(original).toContain(secret);

  const copy: Uint8Array[] = [];
  await exportRedacted(
    await SessionFile.open(joined(parts), inflate),
    deflater,
    async bytes => void copy.push(bytes),
  );
  const text = gunzipSync(joined(copy)).toString('ascii');
  for (const secret of SECRETS) expect(text).not.toContain(secret);

  const file = await SessionFile.open(joined(copy), inflate);
  expect(file.header).toMatchObject({ redacted: true, openAt: 1, title: 'vm-1 on (path redacted)' });
  expect(file.count).toBe(3);
  const [before, after] = [fromSnapshot(snapshot(2)), await file.sample(2)];
  expect(after?.resources[0]?.pages).toEqual(before.resources[0]?.pages);
  expect(after?.host).toEqual(before.host);
  expect(after?.target).toMatchObject({ name: 'vm-1', user: 'user-1', comm: 'process-2', pid: 189 });
  expect((await file.sample(0))?.target.comm).toBe('qemu-system-x86');
  expect(after?.findings[0]).toMatchObject({
    title: 'the memory backend ram-1 asks for node 1',
    evidence: [{ source: '/proc/5/maps', recheck: 'cat /proc/5/maps', value: 'process-1' }],
  });
  expect(after?.target.devices?.virtioGpu[0]?.properties).toMatchObject({ blob: 'true', xres: '1920' });
});

test('what QEMU printed keeps its message alone; backends and addresses of a migration go', () => {
  const line =
    'acme: payroll-prod: warning: virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Invalid argument';
  const source = '/home/alice/logs of payroll-prod';
  const memory = someSnapshot().target.machineMemory;
  const target = {
    refusals: [{ source, line, errno: 'EINVAL', times: 1 }],
    migration: { incoming: 'tcp:build7.acme.example:4444', capabilities: ['xbzrle'], status: null },
    ...(memory ? { machineMemory: { ...memory, backend: 'ram-for-payroll' } } : {}),
  };
  const finding = {
    ...{ rule: 'create-refused', severity: 'error' as const, resource: null, title: '', explanation: '' },
    ...{ remedy: '', reference: '', evidence: [{ source, field: '', value: line, recheck: '' }] },
  };
  const redacted = new Redactor().snapshot(someSnapshot({ target, findings: [finding] }));
  const message = 'virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Invalid argument';
  expect(redacted.target.refusals).toEqual([
    { source: '(path redacted)', line: message, errno: 'EINVAL', times: 1 },
  ]);
  expect(redacted.findings[0]?.evidence[0]).toMatchObject({ source: '(path redacted)', value: message });
  for (const secret of [...SECRETS, 'acme']) expect(JSON.stringify(redacted)).not.toContain(secret);
  expect(redacted.target.migration?.capabilities).toEqual(['xbzrle']);
});

test('the same name has the same placeholder in every sample, another name another', () => {
  const redactor = new Redactor();
  const named = (name: string) => redactor.snapshot(someSnapshot({ target: { name } })).target.name;
  expect([named('a'), named('b'), named('a')]).toEqual(['vm-1', 'vm-2', 'vm-1']);
});
