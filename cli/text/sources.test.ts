import { expect, test } from 'vitest';
import { expectPrintable } from '../../test/printed.ts';
import { hostileTexts, poisoned } from '../../test/snapshots.ts';
import { coloursFor } from './colours.ts';
import { sourcesText } from './sources.ts';

const sources = [
  { name: 'zoneinfo', state: 'ok', detail: '/proc/zoneinfo', gives: 'zones', costMs: 0 },
  {
    name: '/dev/udmabuf',
    state: 'absent',
    detail: '/dev/udmabuf: this host has no such file',
    gives: 'a way',
    costMs: 0,
  },
  {
    name: 'kpageflags',
    state: 'denied',
    detail: '/proc/kpageflags: EACCES',
    grant: 'root',
    gives: 'flags',
    costMs: 0,
  },
] as const;

test('what a person reads', () => {
  const printed = sourcesText(sources, coloursFor({}));
  expectPrintable(printed);
  expect(printed).toBe(`SOURCE        STATE   GIVES
zoneinfo      ok      zones
/dev/udmabuf  absent  a way
kpageflags    denied  flags

Why not, and what would grant it
  /dev/udmabuf: this host has no such file
  kpageflags: /proc/kpageflags: EACCES
    needs root
`);
});

test('all of it can be read', () => {
  expect(sourcesText(sources.slice(0, 1), coloursFor({}))).toBe(
    'SOURCE    STATE  GIVES\nzoneinfo  ok     zones\n',
  );
});

test.each(hostileTexts.map(value => [JSON.stringify(value).slice(0, 40), value]))(
  'every text is %s',
  (_, value) => {
    expectPrintable(sourcesText(poisoned(sources, ['state'], value), coloursFor({})));
  },
);
