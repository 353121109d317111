import { describe, expect, test } from 'vitest';
import { fixture, hasFixture, hosts, madeBuffers } from '../test/fixtures.ts';
import { dmabufInfo, type RecordedHost, recordedHosts, statText } from '../test/recorded-host.ts';
import { failure } from './files.ts';
import { scanHolders } from './holders.ts';

const recorded = recordedHosts();
const scan = (host: RecordedHost, only?: readonly number[]) => scanHolders(host.files, host.native, only);

const withBuffers = hosts.filter(host => hasFixture(host, '/buffers.jsonl'));

/** PID, fd, inode and size of every dma-buf of a host, by stat(1) and the links alone. */
function statted(host: RecordedHost) {
  const device = fixture(host.host ?? '', '/proc/buffers/fd-stat');
  const anyBuffer = madeBuffers.find(buffer => buffer.host === host.host && buffer.process === 'buffers');
  const dev = device
    .split('\n')
    .find(line => line.startsWith(`${anyBuffer?.fd} `))
    ?.split(' ')[1];
  return host.names.flatMap(name =>
    fixture(host.host ?? '', `/proc/${name}/fd-stat`)
      .split('\n')
      .map(line => line.split(' '))
      .filter(([, its]) => its === dev)
      .map(([fd, , inode, size]) => ({
        pid: host.pidOf(name),
        fd: Number(fd),
        inode: Number(inode),
        size: Number(size),
      })),
  );
}

describe.each(withBuffers)('%s', name => {
  const host = recorded(name);
  const rows = statted(host);

  test('every dma-buf with every holder, as stat says', async () => {
    const { buffers, processes, hidden } = await scan(host);
    expect(processes).toBe(host.names.length);
    expect([...hidden]).toEqual([]);
    expect([...buffers.keys()].sort()).toEqual([...new Set(rows.map(({ inode }) => inode))].sort());
    for (const [inode, buffer] of buffers) {
      const mine = rows.filter(row => row.inode === inode);
      expect(buffer).toMatchObject({ inode, exporter: 'udmabuf', sizeBytes: mine[0]?.size });
      expect(buffer.holders.flatMap(({ pid, fds }) => fds.map(fd => `${pid}:${fd}`)).sort()).toEqual(
        mine.map(({ pid, fd }) => `${pid}:${fd}`).sort(),
      );
    }
  });

  test('sizes, names and references, as their maker says', async () => {
    const { buffers } = await scan(host);
    const made = madeBuffers.filter(buffer => buffer.host === name && buffer.process === 'buffers');
    expect(made.length).toBeGreaterThan(0);
    for (const { inode, size, name: called, fd } of made) {
      const buffer = buffers.get(inode);
      expect([buffer?.sizeBytes, buffer?.name ?? null]).toEqual([
        size,
        called === '' ? (buffer?.name ?? null) : called,
      ]);
      const info = fixture(name, `/proc/buffers/fdinfo/${fd}`);
      expect(buffer?.count).toBe(Number(/^count:\t(\d+)$/m.exec(info)?.[1]));
      expect(Number((buffer?.createdNs ?? 0n) / 1_000_000n)).toBeGreaterThan(Date.parse('2020-01-01'));
    }
  });

  test('mappings, as the lines of maps', async () => {
    const { buffers } = await scan(host);
    const found = [...buffers.values()].flatMap(({ inode, holders }) =>
      holders.flatMap(({ pid, mappings }) =>
        mappings.map(({ start, end, perms }) => `${pid} ${start.slice(2)}-${end.slice(2)} ${perms} ${inode}`),
      ),
    );
    const lines = host.names.flatMap(process =>
      fixture(name, `/proc/${process}/maps`)
        .split('\n')
        .map(line => /^(\S+) (\S+) \S+ \S+ (\d+) +\/dmabuf:/.exec(line))
        .flatMap(match => (match ? [`${host.pidOf(process)} ${match[1]} ${match[2]} ${match[3]}`] : [])),
    );
    const plain = (line: string) => line.replace(/\b0+(?=[0-9a-f])/g, '');
    expect(found.map(plain).sort()).toEqual(lines.map(plain).sort());
  });

  test('only the processes that are asked for', async () => {
    const pid = host.pidOf('buffers');
    const { buffers, processes } = await scan(host, [pid]);
    expect(processes).toBe(1);
    const pids = [...buffers.values()].flatMap(({ holders }) => holders.map(holder => holder.pid));
    expect(new Set(pids)).toEqual(new Set([pid]));
  });
});

test('several holders, several fds each', async () => {
  const host = recorded();
  for (const pid of [10, 11, 12]) {
    host.addProcess(pid, `p${pid}`);
    for (const fd of [3, 7]) {
      host.addFd(pid, fd, { link: '/dmabuf:', inode: 5, fdinfo: dmabufInfo(4096, 6) });
    }
  }
  const { buffers } = await scan(host);
  expect([...buffers.values()]).toMatchObject([
    {
      inode: 5,
      sizeBytes: 4096,
      count: 6,
      exporter: 'udmabuf',
      name: null,
      createdNs: BigInt(Date.parse('2026-01-02T03:04:05.678Z')) * 1_000_000n,
      holders: [10, 11, 12].map(pid => ({ pid, comm: `p${pid}`, fds: [3, 7], mappings: [] })),
    },
  ]);
});

test('a mapping whose fd is closed', async () => {
  const host = recorded();
  host.addProcess(10, 'mapper');
  host.write(
    '/proc/10/maps',
    '7f0000000000-7f0000003000 r--s 00000000 00:0b 5                          /dmabuf:a b\n',
  );
  const { buffers } = await scan(host);
  expect([...buffers.values()]).toEqual([
    {
      inode: 5,
      sizeBytes: null,
      exporter: null,
      name: 'a b',
      createdNs: null,
      count: null,
      holders: [
        {
          pid: 10,
          comm: 'mapper',
          fds: [],
          mappings: [{ start: '0x7f0000000000', end: '0x7f0000003000', perms: 'r--s' }],
        },
      ],
    },
  ]);
});

test('the name comes from fdinfo, where it is whole', async () => {
  const host = recorded();
  host.addProcess(10, 'a');
  host.addFd(10, 3, {
    link: '/dmabuf:two',
    inode: 5,
    fdinfo: dmabufInfo(4096, 1, 'udmabuf', 'two\nexp_name:\tevil'),
  });
  host.addFd(10, 4, { link: '/dmabuf:x', inode: 6, size: 8192, fdinfo: dmabufInfo(8192, 2, 'i915') });
  const { buffers } = await scan(host);
  expect(buffers.get(5)).toMatchObject({ exporter: 'udmabuf', name: 'two\nexp_name:\tevil' });
  expect(buffers.get(6)).toMatchObject({ exporter: 'i915', name: 'x', sizeBytes: 8192 });
});

test('an fd that was reused for another file tells nothing of the buffer', async () => {
  const host = recorded();
  host.addProcess(10, 'a');
  host.addFd(10, 3, { link: '/dmabuf:', inode: 5, fdinfo: dmabufInfo(4096, 2) });
  host.write('/proc/10/fdinfo/3', `pos:\t0\nflags:\t02\nmnt_id:\t12\nino:\t77\n${dmabufInfo(99, 9, 'i915')}`);
  host.addFd(10, 4, { link: '/dmabuf:', inode: 5, fdinfo: dmabufInfo(4096, 2) });
  expect((await scan(host)).buffers.get(5)).toMatchObject({ exporter: 'udmabuf', count: 2, sizeBytes: 4096 });
  host.remove('/proc/10/fdinfo/4');
  expect((await scan(host)).buffers.get(5)).toMatchObject({ exporter: null, count: null });
});

test('a file that is only called like a dma-buf is none, and does not lend its size to a real one', async () => {
  const host = recorded();
  host.addProcess(10, 'liar');
  host.addFd(10, 3, { link: '/dmabuf:', dev: '8:1', inode: 5, size: 12, fdinfo: '' });
  host.write('/proc/10/maps', '7f00-7f10 rw-s 00000000 08:01 5 /dmabuf:\n');
  expect((await scan(host)).buffers.size).toBe(0);

  host.addProcess(11, 'honest');
  host.addFd(11, 3, { link: '/dmabuf:', inode: 5, size: 4096, fdinfo: dmabufInfo(4096, 1) });
  const { buffers } = await scan(host);
  expect([...buffers.values()]).toMatchObject([{ inode: 5, sizeBytes: 4096, holders: [{ pid: 11 }] }]);
});

test('processes that hide their files are counted; kernel threads and own files are not', async () => {
  const host = recorded();
  host.addProcess(10, 'open');
  host.addProcess(11, 'hidden');
  host.addProcess(12, 'kthread');
  host.write('/proc/12/stat', statText(12, 'kthread', 1, 'I', 0x0020_8040));
  host.addProcess(process.pid, 'us');
  host.addFd(process.pid, 3, { link: '/dmabuf:', inode: 5, fdinfo: dmabufInfo(4096, 1) });
  const native = {
    ...host.native,
    listFds: async (path: string, prefixes: readonly string[]) => {
      if (/\/1[12]\/fd$/.test(path)) throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
      return host.native.listFds(path, prefixes);
    },
  };
  const { buffers, processes, hidden } = await scanHolders(host.files, native);
  expect({ buffers: buffers.size, processes, hidden: [...hidden] }).toEqual({
    buffers: 0,
    processes: 3,
    hidden: [11],
  });
  expect(failure('/proc/11/fd/', Object.assign(new Error(), { code: 'EACCES' }))).toMatchObject({
    grant: expect.stringContaining('CAP_SYS_PTRACE'),
  });
});

test('a process that ends while its files are read is left out', async () => {
  const host = recorded();
  for (const pid of [10, 11]) {
    host.addProcess(pid, 'a');
    host.addFd(pid, 3, { link: '/dmabuf:', inode: pid, fdinfo: dmabufInfo(4096, 1) });
  }
  const native = {
    ...host.native,
    listFds: async (path: string, prefixes: readonly string[]) => {
      const table = await host.native.listFds(path, prefixes);
      if (path.endsWith('/10/fd')) host.remove('/proc/10');
      return table;
    },
  };
  const { buffers, hidden } = await scanHolders(host.files, native);
  expect([[...buffers.keys()], hidden.size]).toEqual([[11], 0]);
});

test('an fd that closed under readlink', async () => {
  const host = recorded();
  host.addProcess(10, 'a');
  host.link('/proc/10/fd/3', '/dmabuf:');
  expect((await scan(host)).buffers.size).toBe(0);
});

test('progress rises to the end', async () => {
  const host = recorded();
  for (const pid of [1, 2, 3]) host.addProcess(pid, 'a');
  const told: [number, number][] = [];
  await scanHolders(host.files, host.native, undefined, (done, total) => told.push([done, total]));
  expect(told).toEqual([
    [0, 3],
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
});
