import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { FromSampler } from '../../model/contract.ts';
import { fromSnapshot } from '../../model/run-columns.ts';
import { decodeMessage, encodeMessage } from '../../model/wire.ts';
import type { Channel } from '../../sampler/serve.ts';
import { eventually } from '../../test/eventually.ts';
import { openSocket, rawSocket, upgradeText } from '../../test/served.ts';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { BUSY_BYTES, type Carrier, Outbox, OWED_BYTES } from './outbox.ts';
import { Sockets } from './sockets.ts';

/** A sample of some 2 MB, the nth. */
const runs = Array.from({ length: 32_000 }, (_, index) => someRun({ index }));
const pages = { ...someResource().pages, runs } as const;
const sample = fromSnapshot(someSnapshot({ resources: [someResource({ pages: pages as never })] }));
const nth = (taken: number): FromSampler => ({
  kind: 'event',
  event: { type: 'sample', sample, timing: { wallMs: 1, cpuMs: 1, taken, skipped: 5 } },
});
const timingOf = (message: FromSampler) =>
  message.kind === 'event' && message.event.type === 'sample' ? message.event.timing : null;

/** Sockets alone, whose session the test drives. */
async function bareSockets() {
  const channels: Channel[] = [];
  const sockets = new Sockets(channel => {
    channels.push(channel);
    return { receive: () => {}, close: () => {} };
  });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const gate = { token: 'token', hosts: new Set([`127.0.0.1:${port}`]) };
  server.on('upgrade', (request, socket, head) => sockets.upgrade(request, socket, head, gate));
  onTestFinished(() => {
    sockets.close();
    server.close();
  });
  return { sockets, channels, port, url: `http://127.0.0.1:${port}/#token` };
}

test('a page that never reads: samples are left out and counted, memory is bounded, a good page gets all', async () => {
  const { sockets, channels, port, url } = await bareSockets();
  const deaf = rawSocket(port, upgradeText(url));
  onTestFinished(() => void deaf.destroy());
  await eventually(() => expect(channels).toHaveLength(1));
  const good = openSocket(url);
  onTestFinished(() => good.terminate());
  let received = 0;
  good.on('message', data => {
    received = timingOf(decodeMessage(data as ArrayBuffer))?.taken ?? received;
  });
  await once(good, 'open');
  const bytes = encodeMessage(nth(0)).byteLength;
  expect(bytes).toBeGreaterThan(2_000_000);
  const before = process.memoryUsage().rss;
  let highest = 0;
  // 800 MB for each page.
  const SAMPLES = 400;
  for (let i = 1; i <= SAMPLES; i++) {
    for (const channel of channels) channel.send(nth(i));
    await vi.waitFor(() => expect(received).toBe(i), { interval: 1, timeout: 10_000 });
    highest = Math.max(highest, process.memoryUsage().rss);
    await turn();
  }
  // The kernel takes some megabytes; the newest one waits.
  expect(sockets.skipped).toBeGreaterThan(SAMPLES - 10);
  expect(highest - before).toBeLessThan(300 * 1024 * 1024);
  process.stderr.write(
    `left out ${sockets.skipped} of ${SAMPLES}, memory grew by ${(highest - before) >> 20} MiB\n`,
  );
});

/** A carrier at a pace that the test makes. */
class Slow implements Carrier {
  bufferedAmount = 0;
  readonly sent: FromSampler[] = [];
  private readonly under: (() => void)[] = [];

  send(data: ArrayBuffer, done: () => void): void {
    this.bufferedAmount += data.byteLength;
    this.sent.push(decodeMessage(data));
    this.under.push(() => {
      this.bufferedAmount -= data.byteLength;
      done();
    });
  }
  /** The kernel took the oldest. */
  take(): void {
    this.under.shift()?.();
  }
}
const progress = (done: number): FromSampler => ({
  kind: 'event',
  event: { type: 'progress', what: 'pages', done, total: 9 },
});

test('once there is room the newest of each kind goes, and says how many were left out', () => {
  const slow = new Slow();
  const outbox = new Outbox(slow, () => expect.unreachable());
  for (let i = 1; i <= 4; i++) outbox.send(nth(i));
  outbox.send(progress(1));
  outbox.send(progress(2));
  outbox.send({ kind: 'answer', id: 1, value: 'not left out' });
  expect(slow.sent.map(({ kind }) => kind)).toEqual(['event', 'answer']);
  slow.take();
  expect(slow.sent.slice(2).map(timingOf)).toEqual([{ wallMs: 1, cpuMs: 1, taken: 4, skipped: 7 }]);
  expect(outbox.skipped).toBe(2);
  slow.take();
  slow.take();
  expect(slow.sent.slice(3)).toEqual([progress(2)]);
});

test('a page that asks and does not read is given up', () => {
  const slow = new Slow();
  let given = 0;
  const outbox = new Outbox(slow, () => given++);
  const answer: FromSampler = { kind: 'answer', id: 1, value: 'x'.repeat(BUSY_BYTES / 4) };
  let sent = 0;
  while (given === 0 && sent < 100) {
    outbox.send(answer);
    sent++;
  }
  expect(given).toBe(1);
  expect(slow.bufferedAmount).toBeLessThanOrEqual(OWED_BYTES);
});
