import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseCall } from './calls.ts';
import type { ToSampler } from './contract.ts';

const target = { pid: 4711, startTime: '123456' };
const good: ToSampler[] = [
  { kind: 'call', id: 0, method: 'listProcesses', args: [] },
  { kind: 'call', id: 1, method: 'watch', args: [target] },
  { kind: 'call', id: 2, method: 'watch', args: [null] },
  { kind: 'call', id: 3, method: 'setPaused', args: [true] },
  { kind: 'call', id: 4, method: 'grant', args: ['pages', target, false] },
  { kind: 'call', id: 5, method: 'grant', args: ['kernel-memory', null, true] },
  { kind: 'call', id: 6, method: 'revoke', args: [] },
  { kind: 'call', id: 7, method: 'record', args: [true] },
  { kind: 'call', id: 8, method: 'listSessions', args: [] },
  { kind: 'call', id: 9, method: 'readSession', args: ['2026-11-24T17-32-44Z-fedora.pinscope', 0, 4194304] },
];

test('every call of the contract comes through as it is', () => {
  for (const call of good) expect(parseCall(structuredClone(call))).toEqual(call);
});

test.each([
  ['no object', 7],
  ['null', null],
  ['an array', [good[0]]],
  ['another kind', { ...good[0], kind: 'event' }],
  ['an id below 0', { ...good[0], id: -1 }],
  ['an id with a fraction', { ...good[0], id: 0.5 }],
  ['an unknown method', { ...good[0], method: 'constructor' }],
  ['a method of Object', { ...good[0], method: 'toString' }],
  ['too many arguments', { ...good[0], args: [1] }],
  ['too few arguments', { ...good[1], args: [] }],
  ['a pid of 0', { ...good[1], args: [{ ...target, pid: 0 }] }],
  ['a pid as text', { ...good[1], args: [{ ...target, pid: '4711' }] }],
  ['a pid that no Linux has', { ...good[1], args: [{ ...target, pid: 2 ** 22 + 1 }] }],
  ['a start time with a sign', { ...good[1], args: [{ ...target, startTime: '-1' }] }],
  ['a start time as number', { ...good[1], args: [{ ...target, startTime: 1 }] }],
  ['a target with more in it', { ...good[1], args: [{ ...target, path: '/etc/shadow' }] }],
  ['a level that is none', { ...good[4], args: ['root', target, false] }],
  ['an install that is no boolean', { ...good[4], args: ['pages', target, 'yes'] }],
  ['a recording switched by a word', { ...good[7], args: ['on'] }],
  ['a session in another folder', { ...good[9], args: ['../a.pinscope', 0, 1] }],
  ['a session with a folder', { ...good[9], args: ['a/b.pinscope', 0, 1] }],
  ['a hidden session', { ...good[9], args: ['.a.pinscope', 0, 1] }],
  ['a session that is none', { ...good[9], args: ['passwd', 0, 1] }],
  ['a session with a line behind its name', { ...good[9], args: ['a.pinscope\n', 0, 1] }],
  ['a piece before the beginning', { ...good[9], args: ['a.pinscope', -1, 1] }],
  ['a piece that is too large', { ...good[9], args: ['a.pinscope', 0, 2 ** 23] }],
])('refused: %s', (_what, message) => {
  expect(parseCall(message)).toBeNull();
});

test('any value at all: refused, or exactly a call of the contract', () => {
  const methods = fc.constantFrom(
    'listProcesses',
    'watch',
    'setPaused',
    'grant',
    'revoke',
    'record',
    'listSessions',
    'readSession',
    '__proto__',
    'x',
  );
  const argument = fc.oneof(
    fc.anything(),
    fc.record({ pid: fc.integer(), startTime: fc.oneof(fc.string(), fc.nat().map(String)) }),
    fc.constantFrom('pages', 'kernel-memory', null, true),
  );
  const message = fc.oneof(
    fc.anything(),
    fc.record({
      kind: fc.constant('call'),
      id: fc.nat(),
      method: methods,
      args: fc.array(argument, { maxLength: 4 }),
    }),
  );
  let calls = 0;
  fc.assert(
    fc.property(message, value => {
      const call = parseCall(value);
      if (call === null) return;
      calls++;
      expect(call).toEqual(value);
      expect(Object.keys(call).sort()).toEqual(['args', 'id', 'kind', 'method']);
    }),
    { numRuns: 5000 },
  );
  expect(calls).toBeGreaterThan(50);
});
