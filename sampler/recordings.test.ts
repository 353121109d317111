import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RecordingState } from '../model/recordings.ts';
import { fromSnapshot, type Sample, toSnapshot } from '../model/run-columns.ts';
import { SessionFile } from '../model/session-file/reader.ts';
import { eventually } from '../test/eventually.ts';
import { someSnapshot } from '../test/snapshots.ts';
import { Recorder } from './recorder.ts';
import { Recordings, sessionsFolder } from './recordings.ts';
import { inflate } from './session-bytes.ts';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'pinscope-sessions-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const sampleAt = (second: number, name: string | null = 'a/../guest'): Sample =>
  fromSnapshot(someSnapshot({ takenAt: `2026-03-04T05:06:0${second}.000Z`, target: { name } }));
const opened = (path: string) => SessionFile.open(readFileSync(path), inflate);

test('the folder is that of the XDG specification', () => {
  expect(sessionsFolder({ XDG_DATA_HOME: '/x' })).toBe('/x/pinscope/sessions');
  for (const env of [{}, { XDG_DATA_HOME: '' }, { XDG_DATA_HOME: 'relative' }]) {
    expect(sessionsFolder(env)).toMatch(/^\/.*\/\.local\/share\/pinscope\/sessions$/);
  }
});

describe('recordings of a window', () => {
  const recordings = (folder = join(base, 'sessions')) => {
    const states: RecordingState[] = [];
    return { folder, states, recordings: new Recordings(1000, state => states.push(state), folder) };
  };

  test('are files of the user alone, named by time and guest, whole when they end', async () => {
    const { folder, states, recordings: own } = recordings();
    await own.take(sampleAt(0));
    expect(states).toEqual([]);
    await own.start();
    await own.take(sampleAt(1));
    await own.event('skipped', 2);
    await own.take(sampleAt(2));
    const name = '2026-03-04T05-06-01Z-a-guest.pinscope';
    expect(own.state).toMatchObject({ state: 'on', name, samples: 2, since: '2026-03-04T05:06:01.000Z' });
    await own.stop();
    expect(own.state).toMatchObject({ state: 'off', last: { name, samples: 2 } });
    expect(states.map(({ state }) => state)).toEqual(['waiting', 'on', 'on', 'on', 'off']);

    const path = join(folder, name);
    expect([statSync(folder).mode & 0o777, statSync(path).mode & 0o777]).toEqual([0o700, 0o600]);
    const { sessions } = await own.list();
    expect(sessions).toMatchObject([{ name, bytes: statSync(path).size }]);
    const bytes = statSync(path).size;
    const pieces = [
      await own.read(name, 0, 100),
      await own.read(name, 100, 10 ** 6),
      await own.read(name, bytes, 9),
    ];
    expect(pieces.map(piece => piece.length)).toEqual([100, bytes - 100, 0]);
    expect(Buffer.concat(pieces).equals(readFileSync(path))).toBe(true);
    const file = await opened(path);
    expect(file.count).toBe(2);
    expect(await file.examine()).toMatchObject({
      complete: true,
      damage: [],
      events: [{ kind: 'skipped', count: 2 }],
    });

    // The same second and guest again: another file.
    await own.start();
    await own.take(sampleAt(1));
    expect(own.state).toMatchObject({ state: 'on', name: '2026-03-04T05-06-01Z-a-guest-2.pinscope' });
    await own.stop();
    expect((await own.list()).sessions).toHaveLength(2);
  });

  test('that cannot be written are a state with a sentence, and can be begun again', async () => {
    writeFileSync(join(base, 'file'), '');
    const { recordings: own } = recordings(join(base, 'file', 'sessions'));
    await own.start();
    await own.take(sampleAt(1));
    expect(own.state).toMatchObject({
      state: 'failed',
      name: null,
      detail: expect.stringMatching(/not a directory/),
    });
    await own.take(sampleAt(2));
    await own.start();
    expect(own.state).toEqual({ state: 'waiting' });
    await own.stop();
    expect(own.state).toEqual({ state: 'off', last: null });
  });

  test('that are no files of the folder are neither listed nor read', async () => {
    const { folder, recordings: own } = recordings();
    expect((await own.list()).sessions).toEqual([]);
    mkdirSync(join(folder, 'folder.pinscope'), { recursive: true });
    writeFileSync(join(base, 'secret.pinscope'), 'secret');
    symlinkSync(join(base, 'secret.pinscope'), join(folder, 'link.pinscope'));
    writeFileSync(join(folder, 'notes.txt'), 'x');
    expect((await own.list()).sessions.map(({ name }) => name)).toEqual(['link.pinscope']);
    await expect(own.read('link.pinscope', 0, 10)).rejects.toThrow(/is a link/);
    await expect(own.read('folder.pinscope', 0, 10)).rejects.toThrow(/no file/);
    await expect(own.read('gone.pinscope', 0, 10)).rejects.toThrow(/not there/);
    await expect(own.read('../secret.pinscope', 0, 10)).rejects.toThrow(/no name/);
  });
});

test('a full disk ends the recording with an error', async () => {
  const recorder = await Recorder.create('/dev/full', { periodMs: 1000, redact: false, replace: true });
  await expect(recorder.add(sampleAt(1))).rejects.toMatchObject({ code: 'ENOSPC' });
  await recorder.abandon();
});

test('kill -9 of the writer loses at most the sample that was being written', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const program = join(base, 'writer.mjs');
  await build({
    input: join(root, 'test/session-writer-process.ts'),
    platform: 'node',
    logLevel: 'silent',
    output: { file: program, format: 'esm' },
  });
  const from = join(root, 'model/recorded-snapshot.json');
  const original = JSON.parse(readFileSync(from, 'utf8'));
  let most = 0;
  for (let round = 0; round < 6; round++) {
    const path = join(base, `${round}.pinscope`);
    const child = spawn(process.execPath, [program, path, from], { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.on('data', data => {
      printed += data;
    });
    await eventually(() => expect(printed.split('\n').length).toBeGreaterThan(1 + 40 * round));
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
    const told = Number(printed.trimEnd().split('\n').at(-1));
    const file = await opened(path);
    // Written, and perhaps one that it did not come to say.
    expect([told, told + 1]).toContain(file.count);
    expect(await file.examine()).toMatchObject({ whole: file.count, complete: false });
    const last = await file.sample(file.count - 1);
    const takenAt = new Date(Date.parse(original.takenAt) + 1000 * (file.count - 1)).toISOString();
    expect(last && toSnapshot(last)).toEqual({ ...original, takenAt });
    most = Math.max(most, file.count);
  }
  expect(most).toBeGreaterThan(60);
});
