import { describe, expect, test } from 'vitest';
import { known } from '../model/reading.ts';
import type { NodeState } from '../model/snapshot.ts';
import { loadNative } from '../native/index.ts';
import { fixture, hasFixture, hosts } from '../test/fixtures.ts';
import { withHolder } from '../test/holder.ts';
import { type RecordedHost, recordedHosts } from '../test/recorded-host.ts';
import { HostFiles } from './files.ts';
import { readStat } from './process.ts';
import { SourceLog } from './sources.ts';
import { readKind, readTarget } from './target.ts';

const recorded = recordedHosts();

async function read(host: Pick<RecordedHost, 'files' | 'native'>, pid: number, nodes?: readonly NodeState[]) {
  const stat = readStat(host.files, pid);
  if (stat.state !== 'ok') throw new Error(stat.state);
  const log = new SourceLog();
  const readings = await readTarget(host.files, host.native, stat.value, log, nodes);
  return { ...readings, sources: new Map(log.list().map(source => [source.name, source])) };
}

describe.each(hosts.filter(host => hasFixture(host, '/proc/qemu')))('QEMU on %s', name => {
  const host = recorded(name);
  test('what it is', async () => {
    const { target, sources } = await read(host, host.pidOf('qemu'));
    const kib = (key: string) =>
      Number(new RegExp(`^${key}:\\t *(\\d+) kB$`, 'm').exec(fixture(name, '/proc/qemu/status'))?.[1]) * 1024;
    expect(target).toMatchObject({
      kind: 'qemu',
      comm: 'qemu-system-x86',
      name: 'a guest,with commas',
      uid: 0,
      vmPinBytes: kib('VmPin'),
      vmLckBytes: kib('VmLck'),
      hugetlbBytes: kib('HugetlbPages'),
      memlockLimitBytes: /^Max locked memory +(\S+) /m.exec(fixture(name, '/proc/qemu/limits'))?.[1],
    });
    expect(target.devices?.virtioGpu).toMatchObject([{ id: 'gpu0', driver: 'virtio-gpu-pci' }]);
    expect(target.devices?.balloon).toMatchObject([{ id: 'balloon0' }]);
    // The socket was not recorded.
    expect(target.qmp).toBe('none');
    expect(sources.get('qmp')).toMatchObject({ state: 'absent' });
    for (const source of ['cmdline', 'status', 'limits', 'maps'])
      expect(sources.get(source)?.state).toBe('ok');
  });

  test('its memfds: each once, with its size, its page size, and its backend', async () => {
    const { target, ram } = await read(host, host.pidOf('qemu'));
    const memfds = fixture(name, '/proc/qemu/fd-stat')
      .split('\n')
      .map(line => line.split(' '))
      .filter(([fd]) => fixtureLink(host, fd ?? '').startsWith('/memfd:'))
      .map(([, , inode, size]) => ({ inode: Number(inode), sizeBytes: Number(size) }));
    expect(target.ram?.map(({ inode, sizeBytes }) => ({ inode, sizeBytes }))).toEqual(
      expect.arrayContaining(memfds),
    );
    expect(target.ram).toHaveLength(memfds.length);
    const byId = new Map(target.ram?.map(row => [row.id, row]));
    expect(byId.get('mem1')).toMatchObject({
      sizeBytes: 256 * 2 ** 20,
      pageSizeBytes: 2 ** 21,
      share: true,
      guestRanges: null,
    });
    expect(byId.get('mem2')).toMatchObject({ sizeBytes: 32 * 2 ** 20, pageSizeBytes: 4096 });
    expect(ram.guest).toEqual([]);
    for (const row of target.ram ?? []) {
      const maps = fixture(name, '/proc/qemu/maps');
      const line = maps.split('\n').find(text => new RegExp(` ${row.inode} +/memfd:`).test(text));
      expect(BigInt(row.hva)).toBe(BigInt(`0x${line?.split('-')[0]}`));
    }
  });
});

function fixtureLink(host: RecordedHost, fd: string): string {
  const link = host.files.link(`/proc/${host.pidOf('qemu')}/fd/${fd}`);
  return link.state === 'ok' ? link.value : '';
}

describe('what a process is', () => {
  const host = recorded();
  let next = 100;
  function kindOf(comm: string, words: readonly string[], exe?: string) {
    const pid = next++;
    host.addProcess(pid, comm, words);
    if (exe !== undefined) host.link(`/proc/${pid}/exe`, exe);
    const stat = readStat(host.files, pid);
    if (stat.state !== 'ok') throw new Error(stat.state);
    return readKind(host.files, stat.value);
  }
  test.each([
    ['by its program file', 'guest-7', ['guest'], '/usr/bin/qemu-system-x86_64', 'qemu'],
    ['by its command line', 'guest-7', ['/opt/a b/qemu-system-aarch64'], undefined, 'qemu'],
    ['by its name alone', 'qemu-system-x86', [], undefined, 'qemu'],
    ['a replaced program file', 'x', ['x'], '/usr/bin/qemu-system-x86_64 (deleted)', 'qemu'],
    ['a shell that talks of QEMU', 'bash', ['bash', '-c', 'qemu-system-x86_64'], '/bin/bash', 'other'],
    ['another that calls itself so', 'qemu-system-x86', ['qemu-system-x86_64'], '/usr/bin/python3', 'other'],
    ['anything', 'weston', ['weston'], '/usr/bin/weston', 'other'],
  ])('%s', (_, comm, words, exe, kind) => {
    expect(kindOf(comm, words, exe).kind).toBe(kind);
  });
  test('words with blanks and newlines', () => {
    const { commandLine } = kindOf('q', [
      'qemu-system-x86_64',
      '-name',
      'a b\nc,,d',
      '-qmp',
      'unix:/tmp/a b\nc,server=on',
    ]);
    expect(commandLine?.name).toBe('a b\nc,d');
    expect(commandLine?.monitors).toMatchObject([
      { address: { kind: 'unix', path: '/tmp/a b\nc' }, server: true },
    ]);
  });
  test('without a command line there is none, and nothing is made up', () => {
    expect(kindOf('qemu-system-x86', [])).toEqual({ kind: 'qemu', commandLine: null });
  });
});

describe('monitors', () => {
  const host = recorded();
  test.each([
    ['none', [], /-qmp unix:PATH/],
    ['a human one', ['-monitor', 'unix:/tmp/m,server=on'], /-qmp unix:PATH/],
    ['one that QEMU itself connects to', ['-qmp', 'unix:/tmp/m'], /-qmp unix:PATH/],
    ['a socket that is gone', ['-qmp', 'unix:/tmp/gone,server=on,wait=off'], /guest addresses are unknown/],
  ])('%s', async (_, words, detail) => {
    host.addProcess(50, 'qemu-system-x86', ['qemu-system-x86_64', ...words]);
    const { target, sources } = await read(host, 50);
    expect(target.qmp).toBe('none');
    expect(sources.get('qmp')).toMatchObject({ state: 'absent', detail: expect.stringMatching(detail) });
  });
  test('a process that is no QEMU has none, and misses none', async () => {
    host.addProcess(51, 'weston');
    const { target, sources } = await read(host, 51);
    expect([target.qmp, sources.has('qmp'), target.kind]).toEqual(['none', false, 'other']);
    expect(target.devices).toEqual({ virtioGpu: [], balloon: [], virtioMem: [], vfio: [], vdpa: [] });
  });
});

test('a QEMU whose maps are denied: RAM is unknown, not empty', async () => {
  const host = recorded();
  host.addProcess(60, 'qemu-system-x86', ['qemu-system-x86_64']);
  host.remove('/proc/60/maps');
  const { target, sources } = await read(host, 60);
  expect(target.ram).toBeNull();
  expect(sources.get('maps')?.state).toBe('raced');
});

test('memfds of the same inode on two file systems are two', async () => {
  const host = recorded();
  host.addProcess(61, 'qemu-system-x86', [
    'qemu-system-x86_64',
    ...[
      '-object',
      'memory-backend-memfd,id=a,size=4K',
      '-object',
      'memory-backend-memfd,id=b,size=8K,hugetlb=on,hugetlbsize=2M',
    ],
  ]);
  const lines = [
    '7f0000000000-7f0000001000 rw-s 00000000 00:01 5 /memfd:x (deleted)\n',
    '7f0000010000-7f0000012000 rw-s 00000000 00:02 5 /memfd:x (deleted)\n',
  ];
  host.write('/proc/61/maps', lines.join(''));
  const last = fixture('linux-6.12', '/proc/qemu/smaps').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const fields = (last.find(text => text.includes('/memfd:')) ?? '').split('\n').slice(1).join('\n');
  const withPages = (kB: number) => fields.replace(/^(KernelPageSize: +)\d+/m, `$1${kB}`);
  host.write('/proc/61/smaps', `${lines[0]}${withPages(4)}${lines[1]}${withPages(2048)}`);
  const { target } = await read(host, 61);
  expect(
    target.ram?.map(({ id, inode, sizeBytes, pageSizeBytes, sealed }) => [
      id,
      inode,
      sizeBytes,
      pageSizeBytes,
      sealed,
    ]),
  ).toEqual([
    ['a', 5, 4096, 4096, null],
    ['b', 5, 8192, 2 ** 21, null],
  ]);
});

test('a mapping that is private is told', async () => {
  const host = recorded();
  host.addProcess(62, 'a');
  host.write(
    '/proc/62/maps',
    '7f0000000000-7f0000001000 rw-s 00000000 00:01 5 /memfd:x (deleted)\n' +
      '7f0000010000-7f0000011000 rw-p 00001000 00:01 5 /memfd:x (deleted)\n',
  );
  expect((await read(host, 62)).target.ram).toMatchObject([{ share: false, sizeBytes: 8192 }]);
});

test('a real process: size, page size and seals of its memfd from its fd', async () => {
  await withHolder('shmem', 64 * 4096, async held => {
    const { target } = await read({ files: new HostFiles(), native: loadNative() }, held.pid);
    expect(target).toMatchObject({ pid: held.pid, kind: 'other', uid: process.getuid?.() });
    expect(target.ram).toEqual([
      {
        id: null,
        inode: Number(held.inode),
        sizeBytes: 64 * 4096,
        pageSizeBytes: 4096,
        share: true,
        sealed: false,
        allocatedBytes: 64 * 4096,
        gigantic: null,
        reserve: null,
        hva: `0x${held.address.toString(16)}`,
        policy: null,
        guestRanges: null,
      },
    ]);
  });
});

describe('the nodes that a process may run on', () => {
  const nodes = [
    { node: 0, cpus: [0, 1] },
    { node: 1, cpus: [2, 3] },
    { node: 2, cpus: [] },
  ];
  /** A process whose main thread may run on CPU 0, and two more threads. */
  function threaded(...lists: (string | null)[]) {
    const host = recorded();
    host.addProcess(5, 'threads');
    const status = known(host.files.text('/proc/5/status')) ?? '';
    const allowed = (list: string | null) => (list === null ? '' : `Cpus_allowed_list:\t${list}\n`);
    host.write('/proc/5/status', status + allowed('0'));
    for (const [i, list] of ['0', ...lists].entries())
      host.write(`/proc/5/task/${5 + i}/status`, status + allowed(list));
    return host;
  }
  test.each([
    [['1', '0-1'], [0]],
    [
      ['1', '1-2'],
      [0, 1],
    ],
    [
      ['0', '0-3'],
      [0, 1],
    ],
    [['1', null], null],
  ])('threads on %j: %j', async (lists, expected) => {
    expect((await read(threaded(...lists), 5, nodes)).target.cpuNodes).toEqual(expected);
  });
  test('a thread that ended meanwhile counts no more, and threads that nobody may list are unknown', async () => {
    const host = threaded('2');
    host.remove('/proc/5/task/6/status');
    expect((await read(host, 5, nodes)).target.cpuNodes).toEqual([0]);
    host.remove('/proc/5/task');
    expect((await read(host, 5, nodes)).target.cpuNodes).toBeNull();
  });
  test('where all CPUs are on one node, the main thread tells', async () => {
    const host = threaded();
    host.remove('/proc/5/task');
    expect((await read(host, 5, [{ node: 0, cpus: [0, 1] }])).target.cpuNodes).toEqual([0]);
    expect((await read(host, 5)).target.cpuNodes).toBeNull();
  });
});
