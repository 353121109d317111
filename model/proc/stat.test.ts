import { expect, test } from 'vitest';
import { fixture, processFiles } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseStat } from './stat.ts';
import { parseStatus } from './status.ts';

test('a name that imitates the fields after it', () => {
  const stat = parseStat(fixture('linux-6.18-vm', '/proc/odd/stat'));
  const status = parseStatus(fixture('linux-6.18-vm', '/proc/odd/status'));
  expect(stat.comm).toBe('a) S 1\n\\x\x1b(b');
  expect(stat).toMatchObject({ pid: status.pid, ppid: status.ppid, state: 'S' });
});

test('a zombie and a kernel thread', () => {
  const parent = parseStat(fixture('linux-6.18-vm', '/proc/odd/stat'));
  const zombie = parseStat(fixture('linux-6.18-vm', '/proc/zombie/stat'));
  expect(zombie).toMatchObject({ comm: 'python3', state: 'Z', ppid: parent.pid });
  expect(zombie.kernelThread || parent.kernelThread).toBe(false);
  expect(zombie.startTime).toBeGreaterThanOrEqual(parent.startTime);
  expect(parseStat(fixture('linux-6.18-vm', '/proc/kthread/stat'))).toEqual({
    pid: 2,
    comm: 'kthreadd',
    state: 'S',
    ppid: 0,
    kernelThread: true,
    startTime: 22n,
  });
});

test('stat and status of every recorded process agree', () => {
  for (const { host, process, text } of processFiles('stat')) {
    const stat = parseStat(text);
    const status = parseStatus(fixture(host, `/proc/${process}/status`));
    expect([stat.pid, stat.ppid, stat.comm]).toEqual([status.pid, status.ppid, status.name]);
  }
});

test.each([
  ['empty', ''],
  [
    'cut inside the start time',
    fixture('linux-6.18-vm', '/proc/kthread/stat').split(' ').slice(0, 22).join(' '),
  ],
  ['no name', '2 kthreadd S 0 0'],
])('refused: %s', (_, text) => {
  expect(() => parseStat(text)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(
    parseStat,
    processFiles('stat').map(file => file.text),
    stat => {
      expect(stat.state).toMatch(/^[A-Za-z]$/);
      expect(stat.startTime).toBeGreaterThanOrEqual(0n);
    },
  );
});
