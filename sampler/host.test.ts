import { chmodSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { fixture, hasFixture, hosts } from '../test/fixtures.ts';
import { RecordedHost } from '../test/recorded-host.ts';
import { readHost } from './host.ts';
import { SourceLog } from './sources.ts';

const open: RecordedHost[] = [];
afterEach(() => {
  for (const host of open.splice(0)) host.close();
});

function read(name: string, change: (host: RecordedHost) => void = () => {}) {
  const host = new RecordedHost(name);
  open.push(host);
  change(host);
  const log = new SourceLog();
  const readings = readHost(host.files, log);
  const states = new Map(log.list().map(source => [source.name, source]));
  return { host, readings, states };
}

/** All first groups of a pattern, as numbers. */
const numbers = (text: string, pattern: RegExp): number[] =>
  [...text.matchAll(pattern)].map(([, number]) => Number(number));
const sum = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0);
function value<T>(reading: { state: string; value?: T }): T {
  if (reading.state !== 'ok' || reading.value === undefined) throw new Error(JSON.stringify(reading));
  return reading.value;
}

describe.each(hosts)('%s', name => {
  test('zones', () => {
    const zones = value(read(name).readings.zones);
    const text = fixture(name, '/proc/zoneinfo');
    expect(zones.map(({ node, zone }) => `Node ${node}, zone ${zone}`)).toEqual(
      [...text.matchAll(/^Node (\d+), zone +(\S+)$/gm)].map(([, node, zone]) => `Node ${node}, zone ${zone}`),
    );
    for (const [field, pattern] of [
      ['presentPages', /^ +present +(\d+)$/gm],
      ['managedPages', /^ +managed +(\d+)$/gm],
      ['spannedPages', /^ +spanned +(\d+)$/gm],
    ] as const) {
      expect(sum(zones.map(zone => zone[field]))).toBe(sum(numbers(text, pattern)));
    }
  });

  test('nodes and their CPUs', () => {
    const { nodes } = read(name).readings;
    if (hasFixture(name, '/sys/devices/system/node/node0/cpulist'))
      expect(value(nodes)).toEqual([{ node: 0, cpus: [0, 1] }]);
    else expect(nodes.state).toBe('absent');
  });

  test('memory blocks', () => {
    const { host, readings } = read(name);
    const blocks = value(readings.blocks);
    const directory = join(host.root, 'sys/devices/system/memory');
    expect(blocks.blockBytes).toBe(
      Number.parseInt(fixture(name, '/sys/devices/system/memory/block_size_bytes'), 16),
    );
    expect(blocks.blocks.map(({ block }) => `memory${block}`).sort()).toEqual(
      readdirSync(directory)
        .filter(entry => /^memory\d/.test(entry))
        .sort(),
    );
    for (const { block, startPfn, node } of blocks.blocks) {
      expect(startPfn).toBe((block * blocks.blockBytes) / 4096);
      const links = readdirSync(join(directory, `memory${block}`)).filter(entry => /^node\d/.test(entry));
      expect(node).toBe(links.length === 1 ? Number(links[0]?.slice(4)) : null);
    }
  });

  test('hugetlb pools', () => {
    const { host, readings } = read(name);
    const pools = value(readings.hugetlb);
    const sizes = readdirSync(join(host.root, 'sys/kernel/mm/hugepages'));
    const machine = pools.filter(({ node }) => node === null);
    expect(machine.map(({ pageSizeBytes }) => `hugepages-${pageSizeBytes / 1024}kB`).sort()).toEqual(
      sizes.sort(),
    );
    for (const { pageSizeBytes, total, free } of machine) {
      const of = `/sys/kernel/mm/hugepages/hugepages-${pageSizeBytes / 1024}kB`;
      expect([total, free]).toEqual([
        Number(fixture(name, `${of}/nr_hugepages`)),
        Number(fixture(name, `${of}/free_hugepages`)),
      ]);
      const nodes = pools.filter(pool => pool.node !== null && pool.pageSizeBytes === pageSizeBytes);
      expect(sum(nodes.map(pool => pool.total))).toBe(total);
    }
    const [huge] = numbers(fixture(name, '/proc/meminfo'), /^HugePages_Total: +(\d+)$/gm);
    const [kib] = numbers(fixture(name, '/proc/meminfo'), /^Hugepagesize: +(\d+) kB$/gm);
    expect(machine.find(({ pageSizeBytes }) => pageSizeBytes === (kib ?? 0) * 1024)?.total).toBe(huge);
  });

  test('counters of FOLL_PIN, CMA, the driver’s limits', () => {
    const { readings, states } = read(name);
    const vmstat = fixture(name, '/proc/vmstat');
    expect(readings.follPin).toMatchObject({
      state: 'ok',
      value: {
        acquired: numbers(vmstat, /^nr_foll_pin_acquired (\d+)$/gm)[0],
        released: numbers(vmstat, /^nr_foll_pin_released (\d+)$/gm)[0],
      },
    });
    if (hasFixture(name, '/sys/kernel/mm/cma')) {
      expect(sum(value(readings.cma).map(({ totalPages }) => totalPages))).toBe(
        sum(numbers(fixture(name, '/proc/zoneinfo'), /^ +cma +(\d+)$/gm)),
      );
    } else expect(states.get('cma')).toMatchObject({ state: 'absent' });
    const limit = '/sys/module/udmabuf/parameters/list_limit';
    expect(readings.udmabuf.listLimit).toBe(hasFixture(name, limit) ? Number(fixture(name, limit)) : null);
    expect(readings.udmabuf.device).toBe('absent');
    expect(states.get('udmabuf list_limit')?.state).toBe(hasFixture(name, limit) ? 'ok' : 'absent');
  });
});

const some = 'linux-6.12';
test('a kernel without hugetlb', () => {
  const { readings, states } = read(some, host => host.remove('/sys/kernel/mm/hugepages'));
  expect(readings.hugetlb).toMatchObject({ state: 'absent' });
  expect(states.get('hugepages')).toMatchObject({
    detail: '/sys/kernel/mm/hugepages: this host has no such file',
  });
  expect(readings.zones.state).toBe('ok');
});
test('pools without nodes: a kernel without NUMA', () => {
  const { readings } = read(some, host => host.remove('/sys/devices/system/node'));
  const pools = value(readings.hugetlb);
  expect(pools.length).toBeGreaterThan(0);
  expect(pools.every(({ node }) => node === null)).toBe(true);
});
test('no memory block 0', () => {
  const { readings } = read(some, host => host.remove('/sys/devices/system/memory/memory0'));
  const { blocks, blockBytes } = value(readings.blocks);
  expect(blocks[0]?.block).toBeGreaterThan(0);
  expect(blocks[0]?.startPfn).toBe(((blocks[0]?.block ?? 0) * blockBytes) / 4096);
});
test('no memory hotplug', () => {
  const { readings } = read(some, host => host.remove('/sys/devices/system/memory'));
  expect(readings.blocks).toMatchObject({ state: 'absent' });
});
test('a block that went away while it was read', () => {
  const { readings } = read(some, host => host.remove('/sys/devices/system/memory/memory1/state'));
  expect(readings.blocks).toMatchObject({
    state: 'absent',
    detail: expect.stringContaining('not understood'),
  });
});
test('where CMA areas begin, for who may read debugfs', () => {
  const { readings } = read(some, host => {
    host.write('/sys/kernel/mm/cma/cma0\n/total_pages', '8192\n');
    host.write('/sys/kernel/mm/cma/cma0\n/available_pages', '4096\n');
    host.write('/sys/kernel/debug/cma/cma0\n/base_pfn', '65536\n');
  });
  expect(value(readings.cma)).toEqual([
    { name: 'cma0', totalPages: 8192, availablePages: 4096, basePfn: 65536 },
  ]);
});
test('a kernel that does not count FOLL_PIN', () => {
  const { readings } = read(some, host => host.write('/proc/vmstat', 'nr_free_pages 12\n'));
  expect(readings.follPin).toMatchObject({ state: 'absent', detail: 'this kernel does not count FOLL_PIN' });
});
test('texts cut short are no numbers', () => {
  const { readings, states } = read(some, host => {
    host.write('/proc/zoneinfo', fixture(some, '/proc/zoneinfo').slice(0, 1000));
    host.write('/proc/vmstat', 'nr_foll_pin_acquired 1');
    host.write('/sys/module/udmabuf/parameters/list_limit', '-1\n');
  });
  for (const reading of [readings.zones, readings.follPin]) {
    expect(reading).toMatchObject({ state: 'absent', detail: expect.stringContaining('not understood') });
  }
  expect(readings.udmabuf.listLimit).toBeNull();
  expect(states.get('udmabuf list_limit')?.detail).toContain('not understood');
});
test('whose /dev/udmabuf is, and its mode without the type', () => {
  const { readings } = read(some, host => {
    host.write('/dev/udmabuf', '');
    chmodSync(join(host.root, 'dev/udmabuf'), 0o660);
  });
  const own = { uid: process.getuid?.(), gid: process.getgid?.(), mode: 0o660 };
  expect(readings.udmabuf).toMatchObject({ device: 'ok', node: own });
  expect(read(some).readings.udmabuf.node).toBeNull();
});
test('nothing at all', () => {
  const host = new RecordedHost();
  open.push(host);
  const log = new SourceLog();
  const readings = readHost(host.files, log);
  const states = Object.values(readings).map(reading =>
    'state' in reading ? reading.state : reading.device,
  );
  expect(new Set(states)).toEqual(new Set(['absent']));
  expect(log.list().every(({ state }) => state === 'absent')).toBe(true);
});
