import { expect, test } from 'vitest';
import type { Life } from '../../model/history/lives.ts';
import { pointChart } from './chart.ts';
import { partsOf } from './lane-paint.ts';
import { clockText, lifeText } from './lane-text.ts';

const life = (change: Partial<Life> = {}): Life => ({
  key: '7 ',
  inode: 7,
  name: null,
  sizeBytes: 4096,
  createdAt: 1000,
  firstSeen: 3000,
  lastSeen: 9000,
  gone: null,
  states: [{ at: 3000, disconnected: 0 }],
  ...change,
});

test('a life is whole: from its creation to its end, or to the newest sample', () => {
  expect(partsOf(life(), 9500)).toEqual([
    { from: 1000, to: 3000, kind: 'unseen' },
    { from: 3000, to: 9500, kind: 'connected' },
  ]);
  const states = [
    { at: 3000, disconnected: null },
    { at: 4000, disconnected: 0 },
    { at: 5000, disconnected: 3 },
  ];
  expect(partsOf(life({ createdAt: null, gone: 9900, states }), 20000)).toEqual([
    { from: 3000, to: 4000, kind: 'unread' },
    { from: 4000, to: 5000, kind: 'connected' },
    { from: 5000, to: 9000, kind: 'disconnected' },
  ]);
});

test('the words say what is known of birth, end and loss, and no more', () => {
  expect(lifeText(life(), 9000)).toBe('dma-buf 7: 4 KiB, created 00:00:01.000, alive, 8.0 s old.');
  expect(lifeText(life({ createdAt: null, name: 'fb\n0', sizeBytes: null }), 9000)).toBe(
    'dma-buf 7 fb\\n0: size unknown, first seen 00:00:03.000, created earlier, alive, at least 6.0 s old.',
  );
  const lost = [
    { at: 3000, disconnected: 0 },
    { at: 5000, disconnected: 3 },
    { at: 6000, disconnected: 36 },
  ];
  expect(lifeText(life({ gone: 9900, states: lost }), 20000)).toBe(
    'dma-buf 7: 4 KiB, created 00:00:01.000, gone between 00:00:09.000 and 00:00:09.900, after 8.0 s. Up to 36 of its pages disconnected, from 00:00:05.000 on.',
  );
  expect(lifeText(life({ states: [{ at: 3000, disconnected: null }] }), 9000)).toMatch(
    /Its pages were not read\.$/,
  );
  expect(clockText(Number.NaN)).toBe('?');
});

test('the line stands at its time in the span that is shown, and nowhere where the span does not have it', () => {
  const lefts: number[] = [];
  const chart = { setCursor: ({ left }: { left: number }) => lefts.push(left) };
  for (const at of [1000, 1500, 3000, 3001, 999, null]) pointChart(chart, 400, { from: 1000, to: 3000 }, at);
  expect(lefts).toEqual([0, 100, 400, -10, -10, -10]);
});
