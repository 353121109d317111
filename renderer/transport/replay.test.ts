import { expect, test } from 'vitest';
import type { SamplerEvent } from '../../model/contract.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { someResource, someSnapshot } from '../../test/snapshots.ts';
import { loadRecording, ReplayTransport } from './replay.ts';

async function watched(snapshot: Snapshot): Promise<SamplerEvent[]> {
  const replay = new ReplayTransport(snapshot);
  const events: SamplerEvent[] = [];
  replay.onEvent(event => events.push(event));
  const [process] = (await replay.call('listProcesses')).processes;
  if (process === undefined) throw new Error('no process in the list');
  await replay.call('watch', process);
  return events;
}

test('the bundled recording is a sample with the pages of every buffer', async () => {
  const events = await watched(await loadRecording());
  const [event] = events;
  if (event?.type !== 'sample') throw new Error(`got ${event?.type}`);
  expect(events).toHaveLength(1);
  expect(event.timing).toBeNull();
  expect(event.sample.resources.length).toBeGreaterThan(0);
  for (const { pages } of event.sample.resources) {
    const counted = pages?.runs.count.reduce((sum, count) => sum + count, 0);
    expect(counted).toBe(pages?.count);
  }
});

test('the list counts udmabufs only, and knows no sum where a size is unknown', async () => {
  const resources = [
    someResource({ inode: 1, sizeBytes: 8192 }),
    someResource({ inode: 2, sizeBytes: 4096, createdAt: '2026-03-04T05:03:00.000Z' }),
    someResource({ inode: 3, exporter: 'i915' }),
  ];
  const list = async (of: Snapshot['resources']) =>
    (await new ReplayTransport(someSnapshot({ resources: of })).call('listProcesses')).processes[0];
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
  const replay = new ReplayTransport(someSnapshot());
  await expect(replay.call('grant', 'pages', null, false)).rejects.toThrow(/recording/);
  await expect(replay.call('revoke')).rejects.toThrow(/recording/);
});
