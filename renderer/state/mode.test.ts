import { expect, test } from 'vitest';
import type { ProcessList, ProcessSummary } from '../../model/process-list.ts';
import { inOrder, worthWatching } from './mode.ts';

const process = (pid: number, change: Partial<ProcessSummary>): ProcessSummary => ({
  pid,
  startTime: '1',
  comm: 'x',
  uid: 0,
  user: null,
  kind: 'qemu',
  name: null,
  buffers: 0,
  bufferBytes: 0,
  oldest: null,
  ...change,
});
const list = (...processes: ProcessSummary[]): ProcessList => ({
  schema: 'pinscope.processes/1',
  takenAt: '2026-03-04T05:06:07.000Z',
  processes,
  hiddenProcesses: 0,
});

test('QEMUs come first, then who holds most', () => {
  const order = inOrder(
    list(
      process(1, { kind: 'other', buffers: 9, bufferBytes: 9e9 }),
      process(2, {}),
      process(3, { buffers: null, bufferBytes: null }),
      process(4, { buffers: 1, bufferBytes: 4096 }),
      process(5, { buffers: 1, bufferBytes: 8192 }),
    ),
  );
  expect(order.map(({ pid }) => pid)).toEqual([5, 4, 3, 2, 1]);
});

test('nothing without buffers is watched unasked, but a QEMU whose buffers are denied is', () => {
  expect(worthWatching(list(process(1, {}), process(2, { kind: 'other', buffers: null })))).toBeNull();
  expect(worthWatching(list(process(1, {}), process(2, { buffers: null })))?.pid).toBe(2);
  expect(worthWatching(list(process(1, {}), process(2, { kind: 'other', buffers: 1 })))?.pid).toBe(2);
});
