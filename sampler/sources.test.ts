import { expect, test } from 'vitest';
import { absent, denied, ok, raced } from '../model/reading.ts';
import { SourceLog } from './sources.ts';

test('a row a source, in the order of their first reading', () => {
  const log = new SourceLog();
  expect(log.of('a', () => ok('/proc/a', 5))).toEqual(ok('/proc/a', 5));
  log.of('b', () => denied('/proc/b', 'EPERM: not permitted', 'root'));
  log.note('c', ok('/proc/c', 1), 1.23456, 'from BTF');
  log.note('d', raced('/proc/d', 'it changed'), 0);
  expect(log.list()).toMatchObject([
    { name: 'a', state: 'ok', detail: '/proc/a' },
    { name: 'b', state: 'denied', detail: '/proc/b: EPERM: not permitted', grant: 'root' },
    { name: 'c', state: 'ok', detail: 'from BTF', costMs: 1.23 },
    { name: 'd', state: 'raced', detail: '/proc/d: it changed' },
  ]);
  expect(log.list().map(row => 'grant' in row)).toEqual([false, true, false, false]);
});

test('the same name again: the later state, both costs', async () => {
  const log = new SourceLog();
  log.note('a', denied('/a', 'EPERM', 'root'), 2);
  log.note('b', ok('/b', 1), 0);
  log.note('a', absent('/a', 'gone'), 3);
  await log.ofAsync('b', async () => ok('/b2', 1));
  expect(log.list()).toMatchObject([
    { name: 'a', state: 'absent', detail: '/a: gone', costMs: 5 },
    { name: 'b', state: 'ok', detail: '/b2' },
  ]);
  expect('grant' in (log.list()[0] ?? {})).toBe(false);
});
