import { expect, test, vi } from 'vitest';
import type { SamplerEvent } from '../../model/contract.ts';
import { toSnapshot } from '../../model/run-columns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { sessionOf } from '../../test/sessions.ts';
import { someResource, someSnapshot } from '../../test/snapshots.ts';
import asDataUrl from '../public/recorded.pinscope?inline';
import { deflater } from './inflate.ts';
import { loadRecording, ReplayTransport } from './replay.ts';

const bundled = new Uint8Array(await (await fetch(asDataUrl)).arrayBuffer());
const replayOf = async (...snapshots: readonly Snapshot[]) =>
  ReplayTransport.open(await sessionOf(deflater, ...snapshots), 'test.pinscope');

test('the bundled recording opens where its framebuffer has lost pages, with the pages of every buffer', async () => {
  vi.stubGlobal('document', { baseURI: 'http://127.0.0.1/' });
  const fetched = vi.fn(async () => new Response(bundled));
  vi.stubGlobal('fetch', fetched);
  const replay = await loadRecording();
  expect(String(fetched.mock.calls[0]?.at(0))).toBe('http://127.0.0.1/recorded.pinscope');
  vi.unstubAllGlobals();
  const events: SamplerEvent[] = [];
  replay.onEvent(event => events.push(event));
  const [process] = (await replay.call('listProcesses')).processes;
  if (process === undefined) throw new Error('no process in the list');
  await replay.call('watch', process);
  const [event] = events;
  if (event?.type !== 'sample') throw new Error(`got ${event?.type}`);
  expect(events).toHaveLength(1);
  expect(event.timing).toBeNull();
  expect(event.sample.findings.some(({ severity }) => severity === 'error')).toBe(true);
  expect(event.sample.resources.some(({ pages }) => pages?.count === 2025)).toBe(true);
  for (const { pages } of event.sample.resources) {
    const counted = pages?.runs.count.reduce((sum, count) => sum + count, 0);
    expect(counted).toBe(pages?.count);
  }
});

test('what is missing is stepped over, in the direction of the step', async () => {
  const copy = new Uint8Array(bundled);
  copy.fill(0, 20_000, 20_100);
  const replay = await ReplayTransport.open(copy, 'x');
  const numbers: (number | null)[] = [];
  replay.onMove(({ number }) => numbers.push(number));
  const { damage } = await replay.file.examine();
  const [{ sample: missing, count } = { sample: 0, count: 0 }] = damage;
  expect(count).toBeGreaterThan(0);
  await replay.seek(missing, 1);
  await replay.seek(missing, -1);
  expect(numbers).toEqual([missing + (count ?? 0), missing - 1]);
});

test('samples are those that were written, by number and by time', async () => {
  const snapshots = [0, 1, 2, 9].map(i => someSnapshot({ takenAt: `2026-03-04T05:06:0${i}.000Z` }));
  const replay = await replayOf(...snapshots);
  const seen: Snapshot[] = [];
  replay.onEvent(event => event.type === 'sample' && seen.push(toSnapshot(event.sample)));
  await replay.seek(3);
  await replay.seekTime(Date.parse('2026-03-04T05:06:05.000Z'));
  await replay.seekTime(0);
  await replay.seek(99);
  expect(seen).toEqual([snapshots[3], snapshots[2], snapshots[0], snapshots[3]]);
  expect(replay.file.holes()).toEqual([{ from: Date.parse('2026-03-04T05:06:02.000Z'), to: replay.file.to }]);
});

test('the list counts udmabufs only, and knows no sum where a size is unknown', async () => {
  const resources = [
    someResource({ inode: 1, sizeBytes: 8192 }),
    someResource({ inode: 2, sizeBytes: 4096, createdAt: '2026-03-04T05:03:00.000Z' }),
    someResource({ inode: 3, exporter: 'i915' }),
  ];
  const list = async (of: Snapshot['resources']) =>
    (await (await replayOf(someSnapshot({ resources: of }))).call('listProcesses')).processes[0];
  expect(await list(resources)).toMatchObject({
    buffers: 2,
    bufferBytes: 12288,
    oldest: '2026-03-04T05:03:00.000Z',
  });
  expect(await list([...resources, someResource({ inode: 4, sizeBytes: null })])).toMatchObject({
    buffers: 3,
    bufferBytes: null,
  });
});

test('nobody is asked for rights', async () => {
  const replay = await replayOf(someSnapshot());
  await expect(replay.call('grant', 'pages', null, false)).rejects.toThrow(/recording/);
  await expect(replay.call('revoke')).rejects.toThrow(/recording/);
});
