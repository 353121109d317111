import { expect, test } from 'vitest';
import type { PrivilegeRefusal, PrivilegeState } from '../../model/contract.ts';
import { privilegeText } from './privilege.ts';
import { processName, userText } from './process.ts';
import { sentence } from './sentence.ts';
import { secondText, timeText } from './time.ts';

test('times are exact, in UTC, and nothing is made of what is no time', () => {
  expect(timeText('2026-11-23T09:24:45.269Z')).toBe('2026-11-23 09:24:45.269 UTC');
  expect(secondText('2026-11-23T09:24:45.269Z')).toBe('2026-11-23 09:24:45 UTC');
  expect(timeText('yesterday\u202e')).toBe('yesterday\\u202e');
});

test('names from outside cannot hide or reorder what is beside them', () => {
  expect(processName({ pid: 1, comm: 'qemu', name: 'a\nb\u202e' })).toBe('a\\nb\\u202e');
  expect(processName({ pid: 1, comm: '\x1b[2J', name: null })).toBe('\\x1b[2J');
  expect([userText('dev', 5), userText(null, 5), userText(null, null), userText(null, -1)]).toEqual([
    'dev',
    'uid 5',
    'unknown user',
    'unknown user',
  ]);
});

test('a detail becomes a sentence and a path stays a path', () => {
  expect(sentence('the sampler ended with 1')).toBe('The sampler ended with 1.');
  expect(sentence('/proc/kcore: Permission denied')).toBe('/proc/kcore: Permission denied.');
  expect(sentence('list_limit is 1024')).toBe('list_limit is 1024.');
  expect(sentence('Done. ')).toBe('Done.');
  expect(sentence('')).toBe('');
});

test('every state of the user’s rights has words of its own', () => {
  const refused = (reason: PrivilegeRefusal['reason']): PrivilegeState => ({
    state: 'ungranted',
    last: { reason, detail: 'what to do' },
    install: null,
  });
  const states: (PrivilegeState | null)[] = [
    null,
    { state: 'root' },
    { state: 'ungranted', last: null, install: null },
    ...(['dismissed', 'refused', 'unavailable', 'lost', 'failed'] as const).map(refused),
    { state: 'asking', level: 'pages' },
    { state: 'granted', level: 'pages', target: { pid: 7, startTime: '1' }, brokerPid: 9 },
    { state: 'granted', level: 'kernel-memory', target: null, brokerPid: 9 },
  ];
  const texts = states.map(privilegeText);
  expect(new Set(texts.map(({ short }) => short)).size).toBe(states.length);
  for (const { sentence: words } of texts) expect(words).toMatch(/^[A-Z].*\.$/);
  expect(privilegeText(states[9] ?? null).sentence).toMatch(/process 7.*pid 9/);
});
