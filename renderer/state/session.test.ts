import { afterEach, describe, expect, test, vi } from 'vitest';
import type { FromSampler, PrivilegeState, TargetId, ToSampler } from '../../model/contract.ts';
import type { ProcessSummary } from '../../model/process-list.ts';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { encodeMessage } from '../../model/wire.ts';
import { eventually } from '../../test/eventually.ts';
import { sessionOf } from '../../test/sessions.ts';
import { someResource, someSnapshot } from '../../test/snapshots.ts';
import { deflater } from '../transport/inflate.ts';
import { PortTransport } from '../transport/port.ts';
import { ReplayTransport } from '../transport/replay.ts';
import { Clock } from './clock.svelte.ts';
import { Privilege } from './privilege.svelte.ts';
import { Selection } from './selection.svelte.ts';
import { Session } from './session.svelte.ts';

const replayOf = async (...snapshots: readonly Snapshot[]) =>
  ReplayTransport.open(await sessionOf(deflater, ...snapshots), 'test.pinscope');
const after = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms));

const qemu = (change: Partial<ProcessSummary> = {}): ProcessSummary => ({
  pid: 189,
  startTime: '1146',
  comm: 'qemu-system-x86',
  uid: 1000,
  user: 'dev',
  kind: 'qemu',
  name: 'fedora',
  buffers: 2,
  bufferBytes: 8192,
  oldest: null,
  ...change,
});
const sampleOf = ({ pid, startTime }: TargetId, inodes: readonly number[] = [7]): Sample =>
  fromSnapshot(
    someSnapshot({ target: { pid, startTime }, resources: inodes.map(inode => someResource({ inode })) }),
  );
const TARGET: TargetId = { pid: 189, startTime: '1146' };

/** A window's state, with a sampler behind a real port that does what the test says. */
class Window {
  readonly transport = new PortTransport();
  readonly selection = new Selection();
  readonly clock = new Clock();
  readonly privilege = new Privilege(this.transport);
  readonly session = new Session(
    this.transport,
    () => replayOf(someSnapshot({ target: { pid: 4, name: 'recorded' } })),
    this.selection,
    this.clock,
  );
  /** Methods that were called, with their arguments, but for the list. */
  readonly calls: unknown[][] = [];
  processes: readonly ProcessSummary[];
  granted: PrivilegeState = { state: 'ungranted', last: null, install: null };
  #port: MessagePort | null = null;

  constructor(processes: readonly ProcessSummary[], pid: number | null = null) {
    this.processes = processes;
    windows.push(this);
    this.session.open(pid);
    this.startSampler();
  }

  startSampler(): void {
    const { port1, port2 } = new MessageChannel();
    this.#port = port2;
    port2.onmessage = ({ data }: MessageEvent<ToSampler>) => this.#answer(data);
    this.transport.connect(port1);
    const privilege = this.granted;
    this.send({
      kind: 'event',
      event: { type: 'hello', contract: 1, samplerPid: 2, privilege, periodMs: 1000 },
    });
  }

  send(message: FromSampler): void {
    this.#port?.postMessage(encodeMessage(message));
  }

  sample(target: TargetId = TARGET, inodes?: readonly number[]): void {
    const timing = { wallMs: 3, cpuMs: 2, taken: 1, skipped: 0 };
    this.send({ kind: 'event', event: { type: 'sample', sample: sampleOf(target, inodes), timing } });
  }

  list(processes: readonly ProcessSummary[]): void {
    this.processes = processes;
    this.send({ kind: 'event', event: { type: 'processes', list: this.#list() } });
  }

  async until(what: () => boolean): Promise<void> {
    for (let i = 0; i < 500; i++) {
      if (what()) return;
      await after(1);
    }
    throw new Error(
      `waited in vain; mode ${JSON.stringify(this.session.mode)}, calls ${JSON.stringify(this.calls)}`,
    );
  }

  /** Everything that was sent has arrived. */
  async settle(): Promise<void> {
    await after(15);
  }

  close(): void {
    this.#port?.close();
    this.transport.close();
  }

  #list() {
    return {
      schema: 'pinscope.processes/1',
      takenAt: '2026-03-04T05:06:07.000Z',
      processes: this.processes,
      hiddenProcesses: 0,
    } as const;
  }

  #answer(call: ToSampler): void {
    if (call.method !== 'listProcesses') this.calls.push([call.method, ...call.args]);
    const value = call.method === 'listProcesses' ? this.#list() : undefined;
    this.send({ kind: 'answer', id: call.id, value });
  }
}

const windows: Window[] = [];
afterEach(() => {
  for (const window of windows.splice(0)) window.close();
});

async function watching(): Promise<Window> {
  const window = new Window([qemu()]);
  await window.until(() => window.calls.length === 1);
  window.sample();
  await window.until(() => window.session.sample !== null);
  return window;
}

describe('at the start', () => {
  test('the first QEMU that holds buffers is watched', async () => {
    const window = new Window([
      qemu({ pid: 1, kind: 'other', comm: 'weston', buffers: 9 }),
      qemu({ pid: 2, buffers: 0 }),
      qemu({ pid: 3, startTime: '33' }),
    ]);
    await window.until(() => window.calls.length === 1);
    expect(window.calls).toEqual([['watch', { pid: 3, startTime: '33' }]]);
    expect(window.session.mode).toEqual({ kind: 'live', target: { pid: 3, startTime: '33' } });
    expect(window.session.sample).toBeNull();
  });

  test('the process that was asked for is watched, whatever else there is', async () => {
    const window = new Window([qemu(), qemu({ pid: 5, startTime: '55', buffers: 0 })], 5);
    await window.until(() => window.calls.length === 1);
    expect(window.calls).toEqual([['watch', { pid: 5, startTime: '55' }]]);
  });

  test('a process that was asked for and is not there yet is watched once it is', async () => {
    const window = new Window([qemu()], 5);
    await window.until(() => window.session.sample !== null);
    expect(window.session.mode.kind).toBe('recording');
    expect(window.session.wanted).toBe(5);
    window.list([qemu(), qemu({ pid: 5, startTime: '55' })]);
    await window.until(() => window.calls.length === 1);
    expect(window.session.mode).toEqual({ kind: 'live', target: { pid: 5, startTime: '55' } });
    expect(window.session.wanted).toBeNull();
  });

  test('with nothing to watch the recording is shown, and a QEMU that comes is offered, not forced', async () => {
    const window = new Window([]);
    await window.until(() => window.session.sample !== null);
    expect(window.session.mode).toEqual({ kind: 'recording', why: { why: 'nothing-here' } });
    expect(window.session.sample?.target.name).toBe('recorded');
    expect(window.session.data?.timing).toBeNull();
    expect(window.session.ageMs).toBeNull();
    window.list([qemu()]);
    await window.until(() => window.session.offered !== null);
    expect(window.session.offered?.pid).toBe(189);
    expect(window.session.mode.kind).toBe('recording');
    expect(window.calls).toEqual([]);
  });

  test('a sampler that cannot be started leaves the recording', async () => {
    const window = new Window([]);
    const session = new Session(
      window.transport,
      () => replayOf(someSnapshot()),
      window.selection,
      window.clock,
    );
    session.open(null);
    session.onHost({ state: 'failed', restarts: 5, detail: 'it crashed 5 times' });
    await window.until(() => session.sample !== null);
    expect(session.mode).toEqual({
      kind: 'recording',
      why: { why: 'no-sampler', detail: 'it crashed 5 times' },
    });
  });

  test('a recording that cannot be loaded is said', async () => {
    const session = new Session(null, () => Promise.reject(new Error('404')), new Selection(), new Clock());
    session.open(null);
    await after(5);
    expect(session.sample).toBeNull();
    expect(session.failure).toMatch(/could not be loaded: 404/);
  });
});

describe('samples', () => {
  test('of another process, or of one that took over the pid, are not shown', async () => {
    const window = await watching();
    const before = window.session.sample;
    window.sample({ pid: 189, startTime: '9999' });
    window.sample({ pid: 190, startTime: '1146' });
    await window.settle();
    expect(window.session.sample).toBe(before);
  });

  test('stop to count as fresh when none comes, when one fails, and when the sampler is gone', async () => {
    const window = await watching();
    const { session, clock } = window;
    expect(session.stale).toBe(false);
    clock.now = performance.now() + 2500;
    expect(session.stale).toBe(false);
    clock.now = performance.now() + 3500;
    expect(session.stale).toBe(true);
    window.sample();
    await window.until(() => !session.stale);
    const detail = '/proc/189/maps: Permission denied';
    window.send({ kind: 'event', event: { type: 'failed', target: TARGET, gone: false, detail } });
    await window.until(() => session.stale);
    expect(session.failure).toBe(detail);
    window.sample();
    await window.until(() => !session.stale);
    expect(session.failure).toBeNull();
    window.transport.disconnect('it crashed');
    expect(session.stale).toBe(true);
  });

  test('end with the process, and the last one stays', async () => {
    const window = await watching();
    const detail = 'process 189 ended';
    window.send({ kind: 'event', event: { type: 'failed', target: TARGET, gone: true, detail } });
    await window.until(() => window.session.mode.kind === 'gone');
    expect(window.session.mode).toEqual({ kind: 'gone', target: TARGET, detail });
    expect(window.session.sample?.target.pid).toBe(189);
  });

  test('that were under way when the user paused change nothing', async () => {
    const window = await watching();
    const before = window.session.sample;
    window.session.togglePaused();
    window.sample(TARGET, [1, 2, 3]);
    await window.settle();
    expect(window.session.sample).toBe(before);
    window.session.togglePaused();
    window.sample(TARGET, [1, 2, 3]);
    await window.until(() => window.session.sample !== before);
    expect(window.calls.slice(1)).toEqual([
      ['setPaused', true],
      ['setPaused', false],
    ]);
  });

  test('of the process before stay for a moment only', async () => {
    const window = await watching();
    window.session.attach({ pid: 7, startTime: '7' });
    expect(window.session.sample?.target.pid).toBe(189);
    await window.until(() => window.session.sample === null);
    expect(window.session.mode).toEqual({ kind: 'live', target: { pid: 7, startTime: '7' } });
  });
});

describe('a sampler that was restarted', () => {
  test('is told again what is watched, and that it is paused', async () => {
    const window = await watching();
    window.session.togglePaused();
    await window.until(() => window.calls.length === 2);
    window.transport.disconnect('it crashed');
    window.startSampler();
    await window.until(() => window.calls.length === 4);
    expect(window.calls.slice(2)).toEqual([
      ['watch', TARGET],
      ['setPaused', true],
    ]);
    expect(window.session.mode).toEqual({ kind: 'paused', target: TARGET });
    expect(window.session.failure).toBeNull();
  });

  test('tells anew what is granted', async () => {
    const window = await watching();
    expect(window.privilege.canAsk).toBe(true);
    window.granted = { state: 'root' };
    window.transport.disconnect('it crashed');
    window.startSampler();
    await window.until(() => window.privilege.state?.state === 'root');
    expect(window.privilege.canAsk).toBe(false);
  });
});

test('opening the recording ends the watch, and attaching leaves it', async () => {
  const window = await watching();
  await window.session.openRecording();
  await window.until(() => window.calls.length === 2);
  expect(window.calls[1]).toEqual(['watch', null]);
  expect(window.session.sample?.target.name).toBe('recorded');
  // What was still under way is not shown as the recording.
  window.sample();
  await window.settle();
  expect(window.session.sample?.target.name).toBe('recorded');
  window.session.attach(TARGET);
  window.sample();
  await window.until(() => window.session.sample?.target.pid === 189);
});

describe('between live and recordings', () => {
  const snapshots = [0, 1, 2].map(i =>
    someSnapshot({ takenAt: `2026-03-04T05:06:0${i}.000Z`, target: { pid: 4, name: `recorded ${i}` } }),
  );

  test('a session that was opened is stepped through, and the process before is gone back to', async () => {
    const window = await watching();
    const { session } = window;
    await session.openFile('a.pinscope', () => replayOf(...snapshots));
    expect(session.mode).toEqual({ kind: 'recording', why: { why: 'file', name: 'a.pinscope' } });
    expect([session.sample?.target.name, session.replay?.number]).toEqual(['recorded 0', 0]);
    session.replay?.step(1);
    await window.until(() => session.sample?.target.name === 'recorded 1');
    session.replay?.step(1);
    await window.until(() => session.sample?.target.name === 'recorded 2');
    session.replay?.step(1);
    await window.settle();
    expect(session.replay?.number).toBe(2);
    session.replay?.seek(0);
    await window.until(() => session.sample?.target.name === 'recorded 0');
    session.togglePaused();
    expect(session.replay?.playing).toBe(true);
    session.togglePaused();
    expect(session.replay?.playing).toBe(false);
    session.backToLive();
    expect(session.replay).toBeNull();
    expect(window.session.mode).toEqual({ kind: 'live', target: TARGET });
    window.sample();
    await window.until(() => session.sample?.target.pid === 189);
    expect(window.calls.slice(1)).toEqual([
      ['watch', null],
      ['watch', TARGET],
    ]);
  });

  test('a process that was paused goes on when it is gone back to', async () => {
    const window = await watching();
    window.session.togglePaused();
    await window.session.openFile('a.pinscope', () => replayOf(...snapshots));
    window.session.backToLive();
    await window.until(() => window.calls.length === 5);
    expect(window.calls.slice(1)).toEqual([
      ['setPaused', true],
      ['watch', null],
      ['setPaused', false],
      ['watch', TARGET],
    ]);
  });

  test('a file that is no session is said, and shows nothing of what was before', async () => {
    const window = await watching();
    await window.session.openFile('x.pinscope', () => ReplayTransport.open(new Uint8Array(7), 'x.pinscope'));
    expect(window.session.sample).toBeNull();
    expect(window.session.failure).toMatch(/^x\.pinscope cannot be opened: This is no session of Pinscope/);
  });

  test('a recording that plays ends at its last sample, and begins anew after it', async () => {
    const replay = await replayOf(...snapshots);
    replay.setSpeed(16);
    await replay.call('watch', TARGET);
    replay.play();
    await eventually(() => expect(replay.playback).toMatchObject({ number: 2, playing: false }));
    replay.play();
    await vi.waitFor(() => expect(replay.playback).toMatchObject({ number: 0, playing: true }), 1000);
    replay.close();
  });
});

test('rights that were not given are a state, a lost sampler is an error', async () => {
  const window = await watching();
  const asked = window.privilege.grant('kernel-memory', null, false);
  window.transport.disconnect('it crashed');
  await asked;
  expect(window.privilege.error).toMatch(/ended before the answer/);
});
