import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import type { FromSampler, SamplerEvent, TargetId } from '../model/contract.ts';
import { known } from '../model/reading.ts';
import { openHost } from './access.ts';
import { Privilege } from './privilege.ts';
import { readStat } from './process.ts';
import { type ServedSession, serveSession } from './serve.ts';

const host = openHost();
const open: ServedSession[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const session of open.splice(0)) session.close();
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A session of this machine, with everything that it sent. */
function served() {
  const sent: FromSampler[] = [];
  const session = serveSession(host, new Privilege(host, 'pkexec'), { send: message => sent.push(message) });
  open.push(session);
  const events = <T extends SamplerEvent['type']>(type: T) =>
    sent.flatMap(message =>
      message.kind === 'event' && message.event.type === type
        ? [message.event as Extract<SamplerEvent, { type: T }>]
        : [],
    );
  const call = (id: number, method: string, ...args: unknown[]) =>
    session.receive({ kind: 'call', id, method, args });
  return { session, sent, events, call };
}

function sleeper(): { child: ChildProcess; target: TargetId } {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  children.push(child);
  const pid = child.pid ?? 0;
  return { child, target: { pid, startTime: String(known(readStat(host.files, pid))?.startTime) } };
}

test('says hello first, then lists processes by itself', async () => {
  const { sent, events } = served();
  expect(sent[0]).toMatchObject({
    kind: 'event',
    event: { type: 'hello', samplerPid: process.pid, periodMs: 1000 },
  });
  await vi.waitFor(() => expect(events('processes').length).toBeGreaterThan(0), 20_000);
});

test('samples of a process come with their cost until it is paused, and go on', async () => {
  const { events, call, sent } = served();
  const { target } = sleeper();
  call(1, 'watch', target);
  await vi.waitFor(() => expect(events('sample').length).toBeGreaterThan(1), 20_000);
  const [first, second] = events('sample');
  expect(first?.sample.target).toMatchObject({ pid: target.pid, comm: 'sleep' });
  expect(first?.timing?.wallMs).toBeGreaterThan(0);
  expect([first?.timing?.taken, second?.timing?.taken]).toEqual([1, 2]);
  call(2, 'setPaused', true);
  await vi.waitFor(() => expect(sent).toContainEqual({ kind: 'answer', id: 2, value: undefined }));
  const before = events('sample').length;
  await new Promise(resolve => setTimeout(resolve, 1500));
  expect(events('sample').length).toBe(before);
  call(3, 'setPaused', false);
  await vi.waitFor(() => expect(events('sample').length).toBeGreaterThan(before), 20_000);
});

test('a process that ends is told once, and no sample of it comes any more', async () => {
  const { events, call } = served();
  const { child, target } = sleeper();
  call(1, 'watch', target);
  await vi.waitFor(() => expect(events('sample').length).toBeGreaterThan(0), 20_000);
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  await vi.waitFor(() => expect(events('failed').length).toBe(1), 20_000);
  expect(events('failed')[0]).toMatchObject({ target, gone: true });
  const before = events('sample').length;
  await new Promise(resolve => setTimeout(resolve, 2500));
  expect([events('failed').length, events('sample').length]).toEqual([1, before]);
});

test('a pid with another start time is another process: gone, never its data', async () => {
  const { events, call } = served();
  const { target } = sleeper();
  call(1, 'watch', { ...target, startTime: '1' });
  await vi.waitFor(() => expect(events('failed').length).toBe(1), 20_000);
  expect(events('failed')[0]?.gone).toBe(true);
  expect(events('sample')).toEqual([]);
});

test('nothing is sent once it is closed, and what is no call does nothing', async () => {
  const { session, sent, call } = served();
  call(1, 'watch', { pid: 1 });
  session.receive('watch');
  expect(sent.filter(({ kind }) => kind === 'error')).toEqual([
    { kind: 'error', id: 1, message: 'refused: this is no call of the contract' },
    { kind: 'error', id: -1, message: 'refused: this is no call of the contract' },
  ]);
  const { target } = sleeper();
  call(2, 'watch', target);
  session.close();
  await new Promise(resolve => setTimeout(resolve, 100));
  const before = sent.length;
  await new Promise(resolve => setTimeout(resolve, 2500));
  expect(sent.length).toBe(before);
});
