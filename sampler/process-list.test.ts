import { describe, expect, test } from 'vitest';
import { fixture, hasFixture, hosts } from '../test/fixtures.ts';
import { dmabufInfo, recordedHosts, statText } from '../test/recorded-host.ts';
import { listProcesses } from './process-list.ts';
import { readUsers } from './users.ts';

const recorded = recordedHosts();

describe.each(hosts.filter(host => hasFixture(host, '/proc/qemu')))('%s', name => {
  const host = recorded(name);
  test('QEMU first, then who holds most', async () => {
    const { processes, hiddenProcesses, schema, takenAt } = await listProcesses(host);
    expect([schema, hiddenProcesses]).toEqual(['pinscope.processes/1', 0]);
    expect(Number.isNaN(Date.parse(takenAt))).toBe(false);
    expect(processes.map(({ kind }) => kind)).toEqual(
      [...processes.map(({ kind }) => kind)].sort((a, b) => Number(b === 'qemu') - Number(a === 'qemu')),
    );
    const qemu = processes.find(({ pid }) => pid === host.pidOf('qemu'));
    expect(qemu).toMatchObject({ kind: 'qemu', name: 'a guest,with commas', uid: 0, user: null });
    for (const row of processes) {
      const process = host.names.find(its => host.pidOf(its) === row.pid) ?? '';
      const links = [...host.names].includes(process)
        ? fixture(name, `/proc/${process}/fd-stat`)
            .split('\n')
            .filter(line => {
              const info = `/proc/${process}/fdinfo/${line.split(' ')[0]}`;
              return (
                line !== '' && hasFixture(name, info) && fixture(name, info).includes('exp_name:\tudmabuf')
              );
            })
        : [];
      const sizes = new Map(links.map(line => [line.split(' ')[2], Number(line.split(' ')[3])]));
      expect([row.buffers, row.bufferBytes]).toEqual([
        sizes.size,
        [...sizes.values()].reduce((a, b) => a + b, 0),
      ]);
    }
  });
});

test('what is in the list and what is not', async () => {
  const host = recorded();
  host.write('/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n');
  host.addProcess(2, 'qemu-system-arm', ['qemu-system-aarch64', '-name', 'second\nname']);
  host.addProcess(10, 'weston');
  host.addFd(10, 3, { link: '/dmabuf:', inode: 5, size: 8192, fdinfo: dmabufInfo(8192, 2) });
  host.addProcess(11, 'client', ['client'], 1234);
  host.addFd(11, 3, { link: '/dmabuf:', inode: 5, size: 8192, fdinfo: dmabufInfo(8192, 2) });
  host.addFd(11, 4, { link: '/dmabuf:', inode: 6, size: 4096, fdinfo: dmabufInfo(4096, 1) });
  host.addProcess(12, 'gpu-only');
  host.addFd(12, 3, { link: '/dmabuf:', inode: 9, size: 4096, fdinfo: dmabufInfo(4096, 1, 'amdgpu') });
  host.addProcess(13, 'mapper');
  host.write('/proc/13/maps', '7f00-7f10 r--s 00000000 00:0b 7 /dmabuf:\n');
  host.addProcess(14, 'shell');
  host.addProcess(15, 'qemu-kvm', ['qemu-kvm']);
  host.remove('/proc/15/fd');
  host.addProcess(16, 'qemu-system-x86', []);
  host.write('/proc/16/stat', statText(16, 'qemu-system-x86', 1, 'S', 0x0020_0000));
  const { processes, hiddenProcesses } = await listProcesses(host);
  expect(
    processes.map(({ pid, kind, name, buffers, bufferBytes, user }) => [
      pid,
      kind,
      name,
      buffers,
      bufferBytes,
      user,
    ]),
  ).toEqual([
    [2, 'qemu', 'second\nname', 0, 0, 'alice'],
    [11, 'other', null, 2, 12288, null],
    [10, 'other', null, 1, 8192, 'alice'],
    [13, 'other', null, 1, null, 'alice'],
  ]);
  expect(hiddenProcesses).toBe(0);
  expect(processes[1]?.oldest).toBe('2026-01-02T03:04:05.678Z');
  expect(processes[3]?.oldest).toBeNull();
});

test('no process, no /proc', async () => {
  expect(await listProcesses(recorded())).toMatchObject({ processes: [], hiddenProcesses: 0 });
});

describe('users', () => {
  test('the first line of a uid counts, nonsense does not', () => {
    const host = recorded();
    host.write(
      '/etc/passwd',
      'root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n# x\n:x:5:5::/:\nbad:x:x:1\nlast:x:7:7::/:',
    );
    expect(readUsers(host.files)).toEqual(
      new Map([
        [0, 'root'],
        [7, 'last'],
      ]),
    );
  });
  test('no passwd', () => {
    expect(readUsers(recorded().files).size).toBe(0);
  });
});
