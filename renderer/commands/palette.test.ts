import { computeCommandScore } from 'bits-ui';
import { expect, test } from 'vitest';
import { COMMANDS, type CommandId } from '../../model/commands.ts';
import type { PrivilegeState } from '../../model/contract.ts';
import type { ProcessSummary } from '../../model/process-list.ts';
import { fromSnapshot } from '../../model/run-columns.ts';
import { hostileTexts, someResource, someSnapshot } from '../../test/snapshots.ts';
import type { Mode } from '../state/mode.ts';
import { type Circumstances, whyNot } from './available.ts';
import { commandEntries, found, processEntries, resourceEntries } from './palette.ts';

const TARGET = { pid: 189, startTime: '1146' };
const circumstances = (
  mode: Mode,
  privilege: PrivilegeState | null,
  canAsk = false,
  shell: Circumstances['shell'] = 'window',
): Circumstances => ({
  session: { mode, sample: fromSnapshot(someSnapshot()), processes: null, replay: null, before: null },
  privilege: { state: privilege, canAsk },
  recordings: { possible: shell !== null },
  filter: { text: '' },
  shell,
});
const LIVE = circumstances({ kind: 'live', target: TARGET }, { state: 'root' });
const first = (search: string, entries = commandEntries(id => whyNot(id, LIVE))) =>
  found(entries, search, computeCommandScore)[0]?.entries[0]?.id;

test('every command but the palette itself is there, in the order of the menus', () => {
  const listed = found(
    commandEntries(() => null),
    '',
    computeCommandScore,
  ).flatMap(({ entries }) => entries);
  expect(listed.map(({ id }) => id).sort()).toEqual(
    Object.keys(COMMANDS)
      .filter(id => id !== 'view.palette')
      .sort(),
  );
});

test('a few letters find a command, also by its id', () => {
  expect(first('theme')).toBe('view.theme');
  expect(first('pau')).toBe('capture.pause');
  expect(first('hostmem')).toBe('go.host');
  expect(first('go.findings')).toBe('go.findings');
  expect(first('qxj')).toBeUndefined();
});

test('what can do nothing says why, and comes after what can', () => {
  const recording = circumstances({ kind: 'recording', why: { why: 'no-shell' } }, null, false, null);
  const blocked = (Object.keys(COMMANDS) as CommandId[]).filter(id => whyNot(id, recording) !== null);
  expect(blocked).toEqual(
    expect.arrayContaining([
      'file.quit',
      'capture.pause',
      'capture.refresh',
      'capture.grant',
      'capture.revoke',
    ]),
  );
  for (const id of blocked) expect(whyNot(id, recording)).toMatch(/^[A-Z].*\.$/);
  expect(blocked).not.toContain('view.theme');
  expect(whyNot('capture.pause', LIVE)).toBeNull();
  const entries = commandEntries(id => (id === 'go.findings' ? 'No.' : null)).map(entry => ({
    ...entry,
    group: 'all',
  }));
  const ids = found(entries, 'go to', computeCommandScore).flatMap(group =>
    group.entries.map(({ id }) => id),
  );
  expect([ids.length > 3, ids.at(-1)]).toEqual([true, 'go.findings']);
});

test('a process and a dma-buf are found by number and name, and names are safe to print', () => {
  const list = {
    schema: 'pinscope.processes/1',
    takenAt: '',
    hiddenProcesses: 0,
    processes: hostileTexts.map(
      (name, pid): ProcessSummary => ({
        pid: pid + 100,
        startTime: '1',
        comm: name,
        uid: null,
        user: null,
        kind: 'qemu',
        name: name === '' ? 'fedora' : name,
        buffers: 1,
        bufferBytes: 1,
        oldest: null,
      }),
    ),
  } as const;
  const processes = processEntries(list, 101);
  expect(processes.filter(({ blocked }) => blocked !== null).map(({ title }) => title)).toHaveLength(1);
  const { resources } = fromSnapshot(
    someSnapshot({
      resources: Array.from({ length: 5000 }, (_, inode) =>
        someResource({ inode, name: hostileTexts[inode % 8] ?? null }),
      ),
    }),
  );
  const entries = [...processes, ...resourceEntries(resources)];
  for (const { title } of entries) expect(title).not.toMatch(/[\p{Cc}\u202e\u2066]/u);
  expect(first('fedora', entries)).toMatch(/^process /);
  const groups = found(entries, '4321', computeCommandScore);
  expect(groups[0]?.entries[0]?.id).toBe('dma-buf 4321');
  for (const group of found(entries, 'dma-buf', computeCommandScore))
    expect(group.entries.length).toBeLessThanOrEqual(30);
});
