import { expect, test } from 'vitest';
import { FrameMap } from '../model/join/frames.ts';
import { recordedHosts } from '../test/recorded-host.ts';
import { recordedPools } from '../test/recorded-pools.ts';
import { PoolReader, type PoolRequest } from './free-huge-pages.ts';
import type { OpenKernel } from './kernel.ts';

const MIB2 = 2 ** 21;
const recorded = recordedHosts();
const recording = recordedPools.find(({ id }) => id === '6.12');
if (!recording) throw new Error('6.12 is not recorded');
const { free, layout, page, symbols, btfBytes } = recording;
const pfns = free.find(({ bytes }) => bytes === MIB2)?.pfns ?? [];
/** The upper half of the free pages lies in ZONE_MOVABLE. */
const border = pfns[pfns.length >>> 1] ?? 0;
const zone = (name: string, startPfn: number, spannedPages: number) => ({
  ...{ node: 0, zone: name, startPfn, spannedPages, presentPages: 1, managedPages: 1, freePages: 1 },
  ...{ cmaPages: 0, freeCmaPages: 0 },
});
const frames = new FrameMap([zone('Normal', 0, border), zone('Movable', border, 2 ** 30)]);

function machine(of: (name: string) => bigint = name => symbols.get(name) ?? 0n) {
  const host = recorded();
  host.write('/sys/kernel/btf/vmlinux', Buffer.from(btfBytes));
  host.write(
    '/proc/kallsyms',
    [...symbols.keys()].map(name => `${of(name).toString(16).padStart(16, '0')} B ${name}\n`).join(''),
  );
  const image = recording?.memory();
  if (!image) throw new Error('no memory');
  const memory = { header: { vmcoreinfo: new Map() }, read: image.read.bind(image) };
  const kernel = { memory, layout: { page }, symbols: '' } as unknown as OpenKernel;
  const reader = new PoolReader(host.files);
  const read = (change: Partial<PoolRequest> = {}) =>
    reader.fillable({
      ...{ kernel, pageSizeBytes: MIB2, nodes: [0], frames, hasCma: false, blockOrder: 9 },
      ...change,
    });
  return { host, image, memory, read };
}

test('counts the free pages outside ZONE_MOVABLE', async () => {
  const { read, host } = machine();
  const half = { state: 'ok', value: pfns.length >>> 1 };
  expect(await read()).toMatchObject(half);
  // Where the pools are holds until the next boot.
  host.remove('/proc/kallsyms');
  expect(await read()).toMatchObject(half);
});

test('a page of which zone or pageblock type is not known is none outside', async () => {
  const { read } = machine();
  const half = new FrameMap([zone('Normal', 0, border)]);
  expect(await read({ frames: half })).toMatchObject({
    state: 'absent',
    detail: expect.stringContaining('zone or pageblock type'),
  });
  expect(await read({ hasCma: true })).toMatchObject({
    state: 'absent',
    detail: expect.stringContaining('zone or pageblock type'),
  });
  expect(await read({ frames: undefined })).toMatchObject({
    state: 'absent',
    detail: expect.stringContaining('zones of the host'),
  });
});

test('a pool that the kernel does not have, and a list that does not hold still', async () => {
  const { read, image } = machine();
  expect(await read({ pageSizeBytes: 2 ** 16 })).toMatchObject({
    state: 'absent',
    detail: 'the kernel has no pool of 64 KiB pages',
  });
  image.writeU64(page.vmemmap + BigInt(border * page.bytes + layout.lru + layout.list.next), 0n);
  expect(await read()).toMatchObject({ state: 'raced' });
});

test('hidden addresses and closed memory are denied, and asked for again', async () => {
  expect(await machine(() => 0n).read()).toMatchObject({ state: 'denied', source: '/proc/kallsyms' });
  const { read, memory } = machine();
  const { read: open } = memory;
  memory.read = () => Promise.reject(Object.assign(new Error('closed'), { code: 'EPERM' }));
  expect(await read()).toMatchObject({ state: 'denied', source: '/proc/kcore' });
  memory.read = open;
  expect(await read()).toMatchObject({ state: 'ok' });
});

test('a kernel whose structures do not say it is absent', async () => {
  const { read, host } = machine();
  host.write('/sys/kernel/btf/vmlinux', 'hello');
  expect(await read()).toMatchObject({ state: 'absent', source: '/sys/kernel/btf/vmlinux' });
});
