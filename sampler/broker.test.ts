import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { known } from '../model/reading.ts';
import { loadNative } from '../native/index.ts';
import { CAPABILITIES, statusLines } from '../test/broker-status.ts';
import { withHolder } from '../test/holder.ts';
import { isRoot, lacks } from '../test/need.ts';
import { asUser, startTestBroker, type TestBroker } from '../test/running-broker.ts';
import { Broker } from './broker.ts';
import { decodeReply, encodeRequest, OP } from './broker-protocol.ts';
import { HostFiles } from './files.ts';
import { readFds, readMaps, readStat } from './process.ts';

const native = loadNative();
const openFds = () => readdirSync('/proc/self/fd').length;
const startTimeOf = (pid: number) => String(known(readStat(new HostFiles(), pid))?.startTime);

/** Root's, which an ordinary user may not look into. */
let sleeper: ChildProcess;
let pid: number;
beforeAll(() => {
  sleeper = spawn('sleep', ['1000'], { stdio: 'ignore' });
  pid = sleeper.pid ?? 0;
});
afterAll(() => sleeper.kill());

describe.skipIf(lacks('root, for a broker', isRoot))('a broker that runs', () => {
  let running: TestBroker;
  let broker: Broker;
  let losses: string[];
  const start = async (...args: string[]) => {
    running = await startTestBroker(args);
    losses = [];
    broker = Broker.connect(native, running.socket, detail => losses.push(detail));
  };
  afterEach(async () => {
    broker.close();
    expect(await running.ended).toBe(0);
  });

  test('says whom it serves, and is confined as documented', async () => {
    await start('kernel-memory');
    const brokerPid = running.child.pid ?? 0;
    expect(broker.hello).toEqual({
      protocol: 1,
      level: 'kernel-memory',
      pid: null,
      startTime: null,
      uid: 1000,
      brokerPid,
    });
    expect(statusLines(brokerPid)).toEqual({ ...CAPABILITIES['kernel-memory'], uid: '1000' });
    expect(() => asUser(1000, () => readFileSync(`/proc/${brokerPid}/maps`))).toThrow('EACCES');
    broker.close();
    expect(await running.ended).toBe(0);

    const startTime = startTimeOf(pid);
    await start('pages', String(pid), startTime);
    expect(broker.hello).toMatchObject({ level: 'pages', pid, startTime: BigInt(startTime) });
    expect(statusLines(running.child.pid ?? 0)).toEqual({ ...CAPABILITIES.pages, uid: '1000' });
  });

  test('opens what is on its list, for reading alone', async () => {
    await start('kernel-memory');
    for (const path of [
      `/proc/${pid}/pagemap`,
      `/proc/${pid}/maps`,
      `/proc/${pid}/smaps`,
      `/proc/${pid}/fdinfo/0`,
      '/proc/kpageflags',
      '/proc/kpagecount',
      '/proc/kpagecgroup',
      '/proc/pagetypeinfo',
      '/proc/kallsyms',
    ]) {
      const fd = broker.open(path) ?? -1;
      expect(readlinkSync(`/proc/self/fd/${fd}`)).toBe(path);
      const flags = /^flags:\s*0(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
      // O_RDONLY, and O_CLOEXEC.
      expect(Number.parseInt(flags ?? '', 8) & 0o2000003).toBe(0o2000000);
      closeSync(fd);
    }
    for (const path of ['/etc/shadow', `/proc/${pid}/mem`, `/proc/${pid}/fd/0`, `/proc/${pid}/../1/maps`]) {
      expect(broker.open(path)).toBeUndefined();
    }
    expect(() => broker.open(`/proc/${pid}/fdinfo/999`)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(() => broker.open('/proc/4194304/maps')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(losses).toEqual([]);
  });

  test('at level pages opens for one process alone, of that start time', async () => {
    await start('pages', String(pid), startTimeOf(pid));
    closeSync(broker.open(`/proc/${pid}/maps`) ?? -1);
    const eperm = expect.objectContaining({ code: 'EPERM', syscall: 'open' });
    for (const path of [`/proc/${process.pid}/maps`, '/proc/self/pagemap', '/proc/kcore', '/proc/kallsyms']) {
      expect(() => broker.open(path)).toThrow(eperm);
    }
    expect(() => broker.listFds(process.pid, ['/memfd:'])).toThrow(eperm);
    expect(() => broker.getFd(process.pid, 0)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    broker.close();
    expect(await running.ended).toBe(0);

    await start('pages', String(pid), '1');
    expect(() => broker.open(`/proc/${pid}/maps`)).toThrow(eperm);
  });

  test('lists links of its kinds, as the addon does', async () => {
    await start('kernel-memory');
    await withHolder('shmem', 12288, async ({ pid, fd, inode }) => {
      const prefixes = ['/memfd:', '/dmabuf:'];
      const table = broker.listFds(pid, prefixes);
      expect(table).toEqual(await native.listFds(`/proc/${pid}/fd`, prefixes));
      expect(Array.from(table?.fd ?? [])).toContain(fd);
      expect(table?.ino[0]).toBe(inode);
      expect(broker.listFds(pid, ['/dmabuf:'])?.link).toEqual([]);
      expect(broker.listFds(pid, ['/etc/'])).toBeUndefined();
      expect(broker.listFds(pid, [])).toBeUndefined();
    });
  });

  test('a process with thousands of files: every row once', async () => {
    await start('kernel-memory');
    const script = `import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
first = os.memfd_create('a' * 249)
for i in range(3000): os.dup(first)
print(flush=True)
sys.stdin.read()`;
    const child = spawn('python3', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise(resolve => child.stdout.once('data', resolve));
    const table = broker.listFds(child.pid ?? 0, ['/memfd:']);
    expect(table?.fd.length).toBe(3001);
    expect(new Set(table?.fd).size).toBe(3001);
    expect([...new Set(table?.link)]).toEqual([`/memfd:${'a'.repeat(249)} (deleted)`]);
    child.stdin.end();
  });

  test('hands over memfds, and nothing that imitates one', async () => {
    await start('kernel-memory');
    await withHolder('shmem', 4096, async ({ pid, fd, inode }) => {
      const own = broker.getFd(pid, fd) ?? -1;
      expect(known(new HostFiles().link(`/proc/self/fd/${own}`))).toMatch(/^\/memfd:/);
      expect(await native.getSeals(own)).toBe(1);
      expect((await native.listFds('/proc/self/fd', ['/memfd:'])).ino).toContain(inode);
      closeSync(own);
    });
    const folder = mkdtempSync(join(tmpdir(), 'memfd:'));
    const before = openFds();
    const file = openSync(join(folder, 'x'), 'w');
    // tmpfs too, and sealable by its file system: not by its mount.
    const shared = openSync(`/dev/shm/${process.pid}`, 'w+');
    for (const fd of [file, shared, 0, running.socket]) {
      expect(() => broker.getFd(process.pid, fd)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    }
    expect(() => broker.getFd(process.pid, 9999)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    closeSync(file);
    closeSync(shared);
    expect(openFds()).toBe(before);
    rmSync(`/dev/shm/${process.pid}`);
    rmSync(folder, { recursive: true });
  });

  test('at level pages hands over only what the asker could write anyway', async () => {
    await withHolder('shmem', 4096, async ({ pid, fd }) => {
      await start('pages', String(pid), startTimeOf(pid));
      expect(() => broker.getFd(pid, fd)).toThrow(expect.objectContaining({ code: 'EPERM' }));
      broker.close();
      expect(await running.ended).toBe(0);
      running = await startTestBroker(['pages', String(pid), startTimeOf(pid)], 0);
      broker = Broker.connect(native, running.socket, () => {});
      closeSync(broker.getFd(pid, fd) ?? -1);
    });
  });

  test.each([
    ['too short', Uint8Array.of(1, 2, 3), 'EMSGSIZE'],
    ['too long', new Uint8Array(33), 'EMSGSIZE'],
    ['an unknown operation', encodeRequest({ op: 99 }), 'EINVAL'],
    ['an unknown file', encodeRequest({ op: OP.open, file: 5, pid: 1, startTime: 1n }), 'EINVAL'],
    ['a file of the machine with a process', encodeRequest({ op: OP.open, file: 16, pid: 1 }), 'EINVAL'],
    ['reserved bytes', encodeRequest({ op: OP.hello }).fill(1, 31), 'EINVAL'],
    ['hello with an argument', encodeRequest({ op: OP.hello, arg: 1 }), 'EINVAL'],
    ['a negative process', encodeRequest({ op: OP.open, file: 1, pid: -1, startTime: 1n }), 'EINVAL'],
    ['no start time', encodeRequest({ op: OP.listFds, pid: 1 }), 'EINVAL'],
  ])('a request that is no such: %s', async (_, request, code) => {
    await start('kernel-memory');
    native.sendPacket(running.socket, request, 1000);
    const { data, fds } = native.receivePacket(running.socket, 100, 1000);
    const op = new DataView(data.buffer).getUint32(0, true);
    const numbers: Record<string, number> = { EINVAL: 22, EMSGSIZE: 90 };
    expect([decodeReply(data, op)?.errno, fds]).toEqual([numbers[code], []]);
    expect(broker.listFds(pid, ['/memfd:'])?.fd.length).toBe(0);
  });

  test('serves what this user is refused; where it ends, that is denied again, and told once', async () => {
    await start('kernel-memory');
    const files = new HostFiles();
    const state = (path: string) => asUser(1000, () => files.text(path).state);
    const paths = ['/proc/pagetypeinfo', `/proc/${pid}/maps`, `/proc/${pid}/smaps`];
    expect(paths.map(state)).toEqual(['denied', 'denied', 'denied']);
    files.usePrivileged(broker);
    expect(paths.map(state)).toEqual(['ok', 'ok', 'ok']);
    expect(asUser(1000, () => known(readMaps(files, pid))?.length)).toBeGreaterThan(3);
    expect(state('/etc/shadow')).toBe('denied');
    expect(state('/proc/4194304/maps')).toBe('raced');
    expect(asUser(1000, () => files.head('/proc/kpageflags', 8)).state).toBe('ok');
    const table = await asUser(1000, () => readFds(files, native, pid, ['/dmabuf:']));
    expect(table.state).toBe('ok');
    const before = openFds();
    const addresses = asUser(1000, () => files.text('/proc/kallsyms'));
    expect(/^(?!0+ )[0-9a-f]+ [Tt] /m.test(known(addresses) ?? '')).toBe(true);
    expect(openFds()).toBe(before);

    running.child.kill('SIGTERM');
    expect(await running.ended).toBe('SIGTERM');
    running = { ...running, ended: Promise.resolve(0) };
    expect(paths.map(state)).toEqual(['denied', 'denied', 'denied']);
    expect(broker.alive).toBe(false);
    expect(losses.length).toBe(1);
  });
});

describe.skipIf(lacks('root, for a broker', isRoot))('a broker that does not start', () => {
  test.each([
    [[], 2],
    [['pages'], 2],
    [['pages', '1', '2', '3'], 2],
    [['pages', '-1', '2'], 2],
    [['pages', '0x1', '2'], 2],
    [['pages', '1', '18446744073709551616'], 2],
    [['pages', '2147483648', '1'], 2],
    [['kernel-memory', '1'], 2],
    [['kernel-memory\n'], 2],
  ] as const)('%j: exit code %d', async (args, code) => {
    const { socket, ended } = await startTestBroker(args);
    expect(await ended).toBe(code);
    closeSync(socket);
  });
});

test('what answers in another protocol is no broker, and leaves nothing open', () => {
  const before = openFds();
  const [ours, theirs] = native.socketPair();
  native.sendPacket(theirs, new Uint8Array(48), 0);
  expect(() => Broker.connect(native, ours, () => {})).toThrow('of another form');
  closeSync(theirs);
  const [again, end] = native.socketPair();
  const reply = new Uint8Array(48);
  reply.set([1], 0);
  reply.set([1], 12);
  reply.set([77], 16);
  reply.set([1], 20);
  native.sendPacket(end, reply, 0);
  expect(() => Broker.connect(native, again, () => {})).toThrow('another version');
  closeSync(end);
  expect(openFds()).toBe(before);
});
