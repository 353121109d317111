import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { known } from '../model/reading.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { loadNative } from '../native/index.ts';
import { fixture, hasFixture, hosts, madeBuffers } from '../test/fixtures.ts';
import { withHolder } from '../test/holder.ts';
import { dishonestNumber } from '../test/mutate.ts';
import { RecordedHost, statText } from '../test/recorded-host.ts';
import { openHost } from './access.ts';
import { readStat } from './process.ts';
import { Sampler } from './sampler.ts';

const open: { close(): void }[] = [];
afterAll(() => {
  for (const each of open) each.close();
});
function recorded(name?: string) {
  const host = new RecordedHost(name);
  const sampler = new Sampler(host);
  open.push(host, sampler);
  return { host, sampler };
}
async function taken(sampler: Sampler, pid: number, startTime?: bigint): Promise<Snapshot> {
  const reading = await sampler.snapshot(pid, startTime);
  const snapshot = known(reading);
  if (!snapshot) throw new Error(JSON.stringify(reading));
  return snapshot;
}

describe.each(hosts.filter(host => hasFixture(host, '/buffers.jsonl')))('%s, as an ordinary user', name => {
  const { host, sampler } = recorded(name);
  host.write('/proc/sys/kernel/osrelease', `${name.slice(6)}.0-test\n`);

  test('buffers, sizes, holders and ages without pages', async () => {
    const snapshot = await taken(sampler, host.pidOf('buffers'));
    const made = madeBuffers.filter(buffer => buffer.host === name);
    expect(snapshot.resources.map(({ inode, sizeBytes }) => [inode, sizeBytes])).toEqual(
      made.map(({ inode, size }) => [inode, size]).sort(([a = 0], [b = 0]) => a - b),
    );
    for (const { pages, holders, createdAt, exporter } of snapshot.resources) {
      expect([pages, exporter]).toEqual([null, 'udmabuf']);
      expect(holders.map(({ pid }) => pid)).toContain(snapshot.target.pid);
      expect(Date.parse(createdAt ?? '')).toBeLessThan(Date.now());
    }
    expect(snapshot.host.kernel).toMatchObject({
      release: `${name.slice(6)}.0-test`,
      udmabufEra: name === 'linux-6.1' ? 'page-refs' : 'folio-pins',
    });
    const states = new Map(snapshot.sources.map(source => [source.name, source.state]));
    expect([states.get('kernel-memory'), states.get('holders')]).toEqual(['absent', 'ok']);
    expect(dishonestNumber({ ...snapshot, sources: [] })).toBeUndefined();
    expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
  });

  test('no block is said to hold pinned pages where pages are unknown', async () => {
    const { memoryBlocks } = (await taken(sampler, host.pidOf('buffers'))).host;
    expect(memoryBlocks?.length).toBeGreaterThan(0);
    expect(
      memoryBlocks?.every(({ pinnedPages, heldBy }) => pinnedPages === null && heldBy.length === 0),
    ).toBe(true);
  });

  test('attached devices come from bufinfo where kernel memory does not tell', async () => {
    const { resources } = await taken(sampler, host.pidOf('buffers'));
    const bufinfo = fixture(name, '/sys/kernel/debug/dma_buf/bufinfo');
    for (const { inode, attachments } of resources) {
      const there = new RegExp(`^\\d+.*\\t0*${inode}\\t`, 'm').test(bufinfo);
      expect(attachments !== null).toBe(there);
      for (const { device, mapped } of attachments ?? []) {
        expect(bufinfo).toContain(`\t${device}\n`);
        expect(mapped).toBeNull();
      }
    }
  });

  test('QEMU with all its blobs', async () => {
    const { resources, target } = await taken(sampler, host.pidOf('qemu'));
    expect(target).toMatchObject({ kind: 'qemu', name: 'a guest,with commas' });
    expect(resources.some(({ sizeBytes }) => sizeBytes === 8294400)).toBe(true);
    expect(resources.map(({ inode }) => inode)).toEqual(
      resources.map(({ inode }) => inode).sort((a, b) => a - b),
    );
  });
});

describe('a process that is not the one', () => {
  const { host, sampler } = recorded('linux-6.12');
  test('was never there', async () => {
    expect(await sampler.snapshot(999_999)).toMatchObject({
      state: 'absent',
      detail: 'there is no process 999999',
    });
  });
  test('has another start time', async () => {
    const pid = host.pidOf('buffers');
    const startTime = BigInt((await taken(sampler, pid)).target.startTime);
    expect((await sampler.snapshot(pid, startTime)).state).toBe('ok');
    expect(await sampler.snapshot(pid, startTime + 1n)).toMatchObject({
      state: 'raced',
      detail: expect.stringContaining('its pid now belongs to another process'),
    });
  });
  test('has a stat that makes no sense', async () => {
    host.write('/proc/70/stat', 'x');
    expect(await sampler.snapshot(70)).toMatchObject({ state: 'absent' });
  });
});

describe('while it is read', () => {
  test.each([
    ['it exits', (host: RecordedHost) => host.remove('/proc/10'), /process 10 is gone/],
    [
      'its pid goes to another',
      (host: RecordedHost) => host.write('/proc/10/stat', statText(10, 'other', 5555)),
      /belongs to another process/,
    ],
  ])('%s', async (_, change, detail) => {
    const { host } = recorded();
    host.addProcess(10, 'a');
    const native = {
      ...host.native,
      listFds: async (path: string, prefixes: readonly string[]) => {
        const table = await host.native.listFds(path, prefixes);
        if (prefixes.includes('/dmabuf:')) change(host);
        return table;
      },
    };
    expect(await new Sampler({ files: host.files, native }).snapshot(10)).toMatchObject({
      state: 'raced',
      detail: expect.stringMatching(detail),
    });
  });
});

describe('this machine', () => {
  test('a process without dma-bufs', async () => {
    const sampler = new Sampler(openHost());
    open.push(sampler);
    await withHolder('shmem', 16 * 4096, async held => {
      const progress: string[] = [];
      const reading = await sampler.snapshot(held.pid, undefined, ({ what }) => progress.push(what));
      const snapshot = known(reading);
      if (!snapshot) throw new Error(JSON.stringify(reading));
      expect(snapshot).toMatchObject({
        schema: 'pinscope.snapshot/1',
        resources: [],
        findings: [],
        target: {
          pid: held.pid,
          kind: 'other',
          name: null,
          qmp: 'none',
          ram: [{ inode: Number(held.inode), sizeBytes: 16 * 4096, share: true, sealed: false }],
        },
      });
      expect(snapshot.host.kernel.release).toBe(readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim());
      expect(snapshot.host.zones?.length).toBeGreaterThan(0);
      for (const source of snapshot.sources) {
        expect(source.costMs).toBeGreaterThanOrEqual(0);
        expect('grant' in source).toBe(source.state === 'denied');
        if (source.state !== 'ok') expect(source.detail.length).toBeGreaterThan(10);
      }
      expect(progress).toContain('looking for holders of dma-bufs');
      expect(dishonestNumber({ ...snapshot, sources: [] })).toBeUndefined();
    });
  });

  test('a process that has exited since it was seen', async () => {
    const child = spawn('sleep', ['600'], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    const pid = child.pid ?? -1;
    const { files } = openHost();
    const startTime = known(readStat(files, pid))?.startTime;
    child.kill('SIGKILL');
    await exited;
    const sampler = new Sampler({ files, native: loadNative() });
    open.push(sampler);
    // Nobody else gets the pid in between: the kernel hands out rising ones.
    expect(await sampler.snapshot(pid, startTime)).toMatchObject({ state: 'absent' });
  });

  test('many samples leave nothing open', async () => {
    const fds = () => known(openHost().files.names('/proc/self/fd'))?.length;
    const sampler = new Sampler(openHost());
    const before = fds();
    for (let i = 0; i < 3; i++) await taken(sampler, process.ppid);
    sampler.close();
    sampler.close();
    expect(fds()).toBe(before);
  });
});
