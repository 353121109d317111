import { describe, expect, test } from 'vitest';
import type { ProcessList, ProcessSummary } from '../../model/process-list.ts';
import { expectPrintable } from '../../test/printed.ts';
import { hostileTexts, poisoned } from '../../test/snapshots.ts';
import { coloursFor } from './colours.ts';
import { listText } from './list.ts';

const qemu: ProcessSummary = {
  pid: 189,
  startTime: '1146',
  comm: 'qemu-system-x86',
  uid: 64055,
  user: 'libvirt-qemu',
  kind: 'qemu',
  name: 'a guest',
  buffers: 26,
  bufferBytes: 8507392,
  oldest: '2026-03-04T05:04:02.000Z',
};
const list = (processes: readonly Partial<ProcessSummary>[], hiddenProcesses = 0): ProcessList => ({
  schema: 'pinscope.processes/1',
  takenAt: '2026-03-04T05:06:07.000Z',
  processes: processes.map(change => ({ ...qemu, ...change })),
  hiddenProcesses,
});
function text(value: ProcessList, asRoot = false): string {
  const printed = listText(value, coloursFor({}), asRoot);
  expectPrintable(printed);
  return printed;
}

test('what a person reads', () => {
  expect(
    text(
      list([
        {},
        {
          pid: 7,
          kind: 'other',
          name: null,
          comm: 'weston',
          user: null,
          uid: 1000,
          buffers: 1,
          bufferBytes: 65536,
        },
      ]),
    ),
  ).toBe(`PID  KIND   NAME     PROGRAM          USER          UDMABUFS      SIZE     OLDEST
189  qemu   a guest  qemu-system-x86  libvirt-qemu        26  8.11 MiB  2 min 5 s
  7  other  -        weston           1000                 1    64 KiB  2 min 5 s
`);
});

describe('what is not known is not 0', () => {
  test.each([
    ['another user’s QEMU', { buffers: null, bufferBytes: null, oldest: null }, /denied +denied +denied$/],
    ['one without buffers', { buffers: 0, bufferBytes: 0, oldest: null }, / 0 +- +-$/],
    ['buffers that are only mapped', { buffers: 2, bufferBytes: null, oldest: null }, / 2 +\? +\?$/],
    ['no uid', { uid: null, user: null }, /qemu-system-x86 +\? +26/],
  ])('%s', (_, change, row) => {
    expect(text(list([change])).split('\n')[1]).toMatch(row);
  });
});

test.each([
  [0, false, 'No QEMU runs here, and no process holds a udmabuf.\n'],
  [3, false, 'none of the processes that we may look into holds a udmabuf.\n\n3 processes of other users'],
])('nothing, with %i hidden', (hidden, asRoot, words) => {
  expect(text(list([], hidden), asRoot)).toContain(words);
});

test('who would see more', () => {
  expect(text(list([{}], 1))).toContain(
    '\n1 process of other users could not be looked into; root would see more.\n',
  );
  const asRoot = text(list([{}], 2), true);
  expect(asRoot).toContain('2 processes may not be looked into even by root');
  expect(asRoot).not.toContain('root would');
});

test.each(hostileTexts.map(value => [JSON.stringify(value).slice(0, 40), value]))(
  'every text is %s',
  (_, value) => {
    const keep = ['schema', 'takenAt', 'kind', 'oldest'];
    text(poisoned(list([{}, { pid: 4194304, bufferBytes: Number.MAX_SAFE_INTEGER }], 2), keep, value));
  },
);
