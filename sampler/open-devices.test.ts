import { describe, expect, test } from 'vitest';
import { known } from '../model/reading.ts';
import type { FdTable } from '../native/index.ts';
import { fixture, hasFixture, hosts } from '../test/fixtures.ts';
import { type RecordedHost, recordedHosts } from '../test/recorded-host.ts';
import { LISTED_LINKS } from './broker-protocol.ts';
import { readOpenDevices } from './open-devices.ts';

const recorded = recordedHosts();

describe.each(hosts.filter(host => hasFixture(host, '/proc/qemu')))('QEMU on %s', name => {
  test('has /dev/udmabuf open, and nothing else of these', async () => {
    const host = recorded(name);
    const pid = host.pidOf('qemu');
    const links = fixture(name, '/proc/qemu/fd-stat')
      .split('\n')
      .flatMap(line => known(host.files.link(`/proc/${pid}/fd/${line.split(' ')[0]}`)) ?? []);
    const udmabuf = links.filter(link => link === '/dev/udmabuf').length;
    expect(udmabuf).toBeGreaterThan(0);
    const reading = await readOpenDevices(host.files, host.native, pid);
    expect(reading).toMatchObject({ state: 'ok', source: `/proc/${pid}/fd` });
    expect(known(reading)).toEqual({ udmabuf, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] });
  });
});

describe('a QEMU with devices', () => {
  function withDevices(): RecordedHost {
    const host = recorded();
    host.addProcess(7, 'qemu-system-x86');
    const links = ['/dev/vfio/vfio', '/dev/vfio/3', 'anon_inode:[vfio-device]', '/dev/vhost-vdpa-0'];
    for (const [fd, link] of [...links, 'anon_inode:[eventfd]', 'socket:[9]'].entries())
      host.addFd(7, fd, { link, inode: 40 + fd });
    return host;
  }
  const devices = { udmabuf: 0, vfioGroups: ['/dev/vfio/3'], vfioDevices: 1, iommufd: 0 };

  test('are told apart', async () => {
    const host = withDevices();
    expect(known(await readOpenDevices(host.files, host.native, 7))).toEqual({
      ...devices,
      vdpa: ['/dev/vhost-vdpa-0'],
    });
  });

  const refusing = (host: RecordedHost) => ({
    ...host.native,
    listFds: (path: string): Promise<FdTable> =>
      Promise.reject(Object.assign(new Error(`EACCES: open '${path}'`), { code: 'EACCES' })),
  });
  test('refused and without a broker it is denied, with a grant', async () => {
    const host = withDevices();
    expect(await readOpenDevices(host.files, refusing(host), 7)).toMatchObject({
      state: 'denied',
      grant: expect.stringContaining('grant of pages'),
    });
  });
  test('through the broker, which lists no vhost-vdpa, that part is unknown and not “none”', async () => {
    const host = withDevices();
    const all = await host.native.listFds(host.files.at('/proc/7/fd'), []);
    const asked: (readonly string[])[] = [];
    host.files.usePrivileged({
      open: () => undefined,
      getFd: () => undefined,
      listFds: (_, prefixes) => {
        asked.push(prefixes);
        const listed = prefixes.every(prefix => LISTED_LINKS.some(known => prefix.startsWith(known)));
        return listed ? { ...all, link: all.link.filter(link => !link.includes('vdpa')) } : undefined;
      },
    });
    expect(known(await readOpenDevices(host.files, refusing(host), 7))).toEqual({ ...devices, vdpa: null });
    expect(asked).toHaveLength(2);
  });
  test('of a process that ended nothing is told', async () => {
    expect((await readOpenDevices(recorded().files, recorded().native, 7)).state).toBe('raced');
  });
});
