import { existsSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { hosts } from '../test/fixtures.ts';
import { isRoot, lacks } from '../test/need.ts';
import { RecordedHost } from '../test/recorded-host.ts';
import { openHost } from './access.ts';
import { type Capability, readCapabilities } from './capabilities.ts';

const open: RecordedHost[] = [];
afterAll(() => {
  for (const host of open) host.close();
});

const NAMES = [
  '/dev/udmabuf',
  'BTF',
  'zoneinfo',
  'pagetypeinfo',
  'memory blocks',
  'hugetlb pools',
  'CMA areas',
  'vmstat',
  'kpageflags',
  'kpagecount',
  'other processes',
  'pagemap PFNs',
  'bufinfo',
  'tracefs',
  'kernel memory',
];
function checkShape(sources: readonly Capability[]): Map<string, Capability> {
  expect(sources.map(({ name }) => name)).toEqual(NAMES);
  for (const { gives, state, detail, grant } of sources) {
    expect(gives.length).toBeGreaterThan(5);
    if (state !== 'ok') expect(detail.length).toBeGreaterThan(10);
    expect(grant === undefined).toBe(state !== 'denied');
  }
  return new Map(sources.map(source => [source.name, source]));
}

describe.skipIf(lacks('root', isRoot))('as root', () => {
  test('page frames and everyone’s files can be seen', async () => {
    const sources = checkShape(await readCapabilities(openHost()));
    for (const name of ['zoneinfo', 'pagetypeinfo', 'kpageflags', 'kpagecount', 'pagemap PFNs', 'vmstat']) {
      expect([name, sources.get(name)?.state]).toEqual([name, 'ok']);
    }
    expect(sources.get('/dev/udmabuf')?.state).toBe(existsSync('/dev/udmabuf') ? 'ok' : 'absent');
  });
});

test.each(hosts)('a recorded %s: nothing throws, and what is not there is absent', async name => {
  const host = new RecordedHost(name);
  open.push(host);
  const sources = checkShape(await readCapabilities(host));
  expect(sources.get('zoneinfo')?.state).toBe('ok');
  expect(sources.get('kpageflags')?.state).toBe('absent');
  expect(sources.get('kernel memory')?.state).toBe('absent');
});

test('a host with nothing', async () => {
  const host = new RecordedHost();
  open.push(host);
  const states = [...checkShape(await readCapabilities(host)).values()].map(({ state }) => state);
  expect(new Set(states)).toEqual(new Set(['absent', 'raced']));
});
