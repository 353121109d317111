import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import type { FromSampler, SamplerEvent, TargetId } from '../model/contract.ts';
import { known } from '../model/reading.ts';
import { SessionFile } from '../model/session-file/reader.ts';
import { eventually } from '../test/eventually.ts';
import { openHost } from './access.ts';
import { Privilege } from './privilege.ts';
import { readStat } from './process.ts';
import { type ServedSession, serveSession } from './serve.ts';
import { inflate } from './session-bytes.ts';

const home = mkdtempSync(join(tmpdir(), 'pinscope-home-'));
vi.stubEnv('XDG_DATA_HOME', home);
afterAll(() => rmSync(home, { recursive: true, force: true }));

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
  await eventually(() => expect(events('processes').length).toBeGreaterThan(0));
});

test('samples of a process come with their cost until it is paused, and go on', async () => {
  const { events, call, sent } = served();
  const { target } = sleeper();
  call(1, 'watch', target);
  await eventually(() => expect(events('sample').length).toBeGreaterThan(1));
  const [first, second] = events('sample');
  expect(first?.sample.target).toMatchObject({ pid: target.pid, comm: 'sleep' });
  expect(first?.timing?.wallMs).toBeGreaterThan(0);
  expect([first?.timing?.taken, second?.timing?.taken]).toEqual([1, 2]);
  call(2, 'setPaused', true);
  await eventually(() => expect(sent).toContainEqual({ kind: 'answer', id: 2, value: undefined }));
  const before = events('sample').length;
  await new Promise(resolve => setTimeout(resolve, 1500));
  expect(events('sample').length).toBe(before);
  call(3, 'setPaused', false);
  await eventually(() => expect(events('sample').length).toBeGreaterThan(before));
});

test('a process that ends is told once, and no sample of it comes any more', async () => {
  const { events, call } = served();
  const { child, target } = sleeper();
  call(1, 'watch', target);
  await eventually(() => expect(events('sample').length).toBeGreaterThan(0));
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  await eventually(() => expect(events('failed').length).toBe(1));
  expect(events('failed')[0]).toMatchObject({ target, gone: true });
  const before = events('sample').length;
  await new Promise(resolve => setTimeout(resolve, 2500));
  expect([events('failed').length, events('sample').length]).toEqual([1, before]);
});

test('a pid with another start time is another process: gone, never its data', async () => {
  const { events, call } = served();
  const { target } = sleeper();
  call(1, 'watch', { ...target, startTime: '1' });
  await eventually(() => expect(events('failed').length).toBe(1));
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

test('what is watched is recorded until it is ended or another process is watched, pauses as gaps', async () => {
  const { events, call, sent } = served();
  const answer = (id: number) => sent.find(message => message.kind !== 'event' && message.id === id);
  call(1, 'record', true);
  await eventually(() =>
    expect(answer(1)).toMatchObject({ kind: 'error', message: expect.stringMatching(/choose a process/) }),
  );
  const { target, child } = sleeper();
  call(2, 'watch', target);
  call(3, 'record', true);
  await eventually(() => expect(answer(3)).toMatchObject({ kind: 'answer', value: { state: 'waiting' } }));
  const written = () =>
    events('recording').flatMap(({ recording }) => (recording.state === 'on' ? [recording] : []));
  await eventually(() => expect(written().at(-1)?.samples).toBeGreaterThan(1));
  call(4, 'setPaused', true);
  call(5, 'setPaused', false);
  const before = written().at(-1)?.samples ?? 0;
  await eventually(() => expect(written().at(-1)?.samples).toBeGreaterThan(before));
  // The same process again goes on.
  call(6, 'watch', target);
  call(7, 'listSessions');
  await eventually(() =>
    expect(answer(7)).toMatchObject({ value: { sessions: [{ name: written()[0]?.name }] } }),
  );
  expect(events('recording').at(-1)?.recording.state).toBe('on');
  child.kill('SIGKILL');
  await eventually(() => expect(events('recording').at(-1)?.recording.state).toBe('off'));

  const folder = join(home, 'pinscope/sessions');
  const [name = ''] = readdirSync(folder);
  const bytes = readFileSync(join(folder, name));
  const file = await SessionFile.open(bytes, inflate);
  const { complete, damage, events: kept } = await file.examine();
  expect([complete, damage, file.count]).toEqual([true, [], written().at(-1)?.samples]);
  expect(kept.map(({ kind }) => kind).filter(kind => kind !== 'skipped')).toEqual([
    'paused',
    'continued',
    'gone',
  ]);
  expect((await file.sample(0))?.target).toMatchObject({ pid: target.pid, comm: 'sleep' });
  call(8, 'readSession', name, 0, 1000);
  await eventually(() => expect(answer(8)).toMatchObject({ kind: 'answer' }));
  const read = answer(8);
  expect(
    read?.kind === 'answer' && Buffer.from(read.value as Uint8Array).equals(bytes.subarray(0, 1000)),
  ).toBe(true);
});
