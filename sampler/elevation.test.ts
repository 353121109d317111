import { expect, test } from 'vitest';
import { elevated, refusalOf } from './elevation.ts';

// Sentences of pkexec 122.
const says = (what: string) => `Error executing command as another user: ${what}\n`;

test.each([
  ['pkexec', 126, says('Request dismissed'), 'dismissed', /closed/],
  [
    'pkexec',
    127,
    `${says('Not authorized')}\nThis incident has been reported.\n`,
    'refused',
    /polkit refused/,
  ],
  ['pkexec', 127, says('No authentication agent found.'), 'unavailable', /agent.*--grant/],
  ['pkexec', 127, 'pkexec must be setuid root\n', 'unavailable', /setuid root/],
  ['pkexec', 127, 'Error getting authority: no bus\n', 'unavailable', /no bus/],
  ['pkexec', 127, 'Error accessing /x: No such file\n', 'failed', /could not run it: Error accessing/],
  ['pkexec', 127, '', 'failed', /did not say/],
  ['pkexec', 4, 'pinscope-broker: the socket is not\n', 'failed', /^It failed: pinscope-broker: the socket/],
  ['pkexec', null, '', 'failed', /signal/],
  ['sudo', 1, '', 'refused', /sudo refused/],
  ['sudo', 5, '', 'failed', /exit code 5/],
] as const)('%s, exit code %s, %j: %s', (how, code, said, reason, words) => {
  const refusal = refusalOf(how, { code, error: null }, said, 'It failed');
  expect(refusal.reason).toBe(reason);
  expect(refusal.detail).toMatch(words);
});

test('a program that is not there', () => {
  const error = Object.assign(new Error('spawn pkexec ENOENT'), { code: 'ENOENT' });
  expect(refusalOf('pkexec', { code: null, error }, '', '')).toMatchObject({ reason: 'unavailable' });
  expect(refusalOf('sudo', { code: null, error: new Error('x') }, '', '')).toEqual({
    reason: 'failed',
    detail: 'x',
  });
});

test('pkexec gets no SHELL and speaks English; sudo keeps the environment', () => {
  const { command, args, env } = elevated('pkexec', ['/a', 'b']);
  expect([command, ...args]).toEqual(['pkexec', '--disable-internal-agent', '/a', 'b']);
  expect([env.LC_ALL, 'SHELL' in env]).toEqual(['C', false]);
  expect(elevated('sudo', ['/a', 'b'])).toEqual({
    command: 'sudo',
    args: ['--', '/a', 'b'],
    env: process.env,
  });
});
