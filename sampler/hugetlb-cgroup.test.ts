import { afterEach, describe, expect, test } from 'vitest';
import { RecordedHost } from '../test/recorded-host.ts';
import { readHugetlbCgroup } from './hugetlb-cgroup.ts';

const open: RecordedHost[] = [];
afterEach(() => {
  for (const host of open.splice(0)) host.close();
});
/** A process in these cgroups, on a host whose cgroup v2 is mounted there. */
function hostOf(cgroup: string, mount = '/sys/fs/cgroup') {
  const host = new RecordedHost();
  open.push(host);
  host.write('/proc/5/cgroup', cgroup);
  if (mount) host.write(`${mount}/cgroup.controllers`, 'cpu memory hugetlb pids\n');
  const charge = (path: string, bytes: number) => {
    host.write(`${mount}${path}/hugetlb.2MB.current`, `${bytes}\n`);
    host.write(`${mount}${path}/hugetlb.2MB.rsvd.current`, '0\n');
    host.write(`${mount}${path}/hugetlb.2MB.max`, 'max\n');
  };
  return { host, charge };
}
const read = ({ host }: { host: RecordedHost }) => readHugetlbCgroup(host.files, 5);

describe('the cgroup whose limits count', () => {
  test('its own', () => {
    const made = hostOf('0::/machine.slice/a.scope\n');
    made.charge('/machine.slice/a.scope', 4096);
    made.charge('/machine.slice', 8192);
    expect(read(made)).toMatchObject({
      state: 'ok',
      source: '/sys/fs/cgroup/…/hugetlb.*',
      value: [{ path: '/machine.slice/a.scope', currentBytes: 4096, limitBytes: null }],
    });
  });
  test('the nearest above with the controller', () => {
    const made = hostOf('0::/a/b/c\n');
    made.charge('/a', 8192);
    made.host.write('/sys/fs/cgroup/a/b/c/memory.current', '0\n');
    expect(read(made)).toMatchObject({ state: 'ok', value: [{ path: '/a', currentBytes: 8192 }] });
  });
  test('none: the root, and a host that does not count', () => {
    expect(read(hostOf('0::/\n'))).toMatchObject({ state: 'ok', value: [] });
    const made = hostOf('0::/a\n');
    made.host.write('/sys/fs/cgroup/a/memory.current', '0\n');
    expect(read(made)).toMatchObject({ state: 'ok', value: [] });
  });
  test('beside cgroup v1', () => {
    const made = hostOf('3:memory:/x\n0::/a\n', '/sys/fs/cgroup/unified');
    made.charge('/a', 1);
    expect(read(made)).toMatchObject({ state: 'ok', value: [{ path: '/a' }] });
  });
});

test.each([
  ['the hugetlb controller of v1', '4:hugetlb:/x\n0::/a\n', '/sys/fs/cgroup', /cgroup v1/],
  ['no cgroup v2 of the process', '4:memory:/x\n', '/sys/fs/cgroup', /version 2/],
  ['outside the namespace', '0::/../x\n', '/sys/fs/cgroup', /outside the cgroup namespace/],
  ['not mounted', '0::/a\n', '', /not mounted/],
  ['not understood', 'a\n', '/sys/fs/cgroup', /not understood/],
])('absent, with the reason: %s', (_, cgroup, mount, detail) => {
  expect(read(hostOf(cgroup, mount))).toMatchObject({
    state: 'absent',
    detail: expect.stringMatching(detail),
  });
});
