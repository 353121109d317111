import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import type { Backing, Resource } from '../snapshot.ts';
import { amplificationRules } from './amplification.ts';
import { evaluate } from './index.ts';

const sources = ['maps', 'kernel-memory', 'zoneinfo', 'memory-blocks', 'pagetypeinfo', 'pagemap'].map(name =>
  someSource(name),
);
/** A buffer of `pages` pages that hold `folios` folios of this size. */
function held(pages: number, folios: number, folioBytes: number, backing: Backing = 'connected'): Resource {
  const one = someResource();
  const runs = [someRun({ count: pages, folioBytes, backing })];
  return {
    ...one,
    pages: one.pages && { ...one.pages, count: pages, folios, folioBytes: folios * folioBytes, runs },
  };
}
const judge = (...resources: Resource[]) =>
  evaluate(fromSnapshot(someSnapshot({ sources, resources })), null, amplificationRules);
const found = (...resources: Resource[]) =>
  judge(...resources).findings.filter(({ rule }) => rule === 'amplification');

describe('amplification', () => {
  test.each([
    ['12 KiB in a huge page', held(3, 1, 2 ** 21), '12 KiB hold 2 MiB, 170 times as much'],
    ['12 KiB in a gigantic page', held(3, 1, 2 ** 30), '12 KiB hold 1 GiB, 87381 times as much'],
    ['eight times exactly', held(128, 2, 2 ** 21), '512 KiB hold 4 MiB, 8 times as much'],
    ['a scattered framebuffer', held(2025, 40, 2 ** 21), '7.91 MiB hold 80 MiB, 10 times as much'],
  ])('fires: %s', (_, resource, title) => {
    expect(found(resource)).toMatchObject([{ severity: 'info', resource: 7, title }]);
  });
  test.each([
    ['a framebuffer on its own huge pages', held(2025, 6, 2 ** 21)],
    ['one page less than eight times', held(129, 2, 2 ** 21)],
    ['a small large folio of shmem', held(1, 1, 2 ** 20)],
    ['ordinary pages', held(3, 3, 4096)],
    ['an empty buffer', held(0, 0, 2 ** 21)],
  ])('silent: %s', (_, resource) => {
    expect(found(resource)).toEqual([]);
    expect(judge(resource).notChecked).toEqual([]);
  });
  test('the backend of huge pages is evidence, one of ordinary pages is not', () => {
    const [hugetlb] = found(held(3, 1, 2 ** 21));
    expect(hugetlb?.evidence.map(({ value }) => value)).toEqual(['2097152 in 1 folio, 12288', '2048 kB']);
    const [ram] = someSnapshot().target.ram ?? [];
    const target = { ram: ram ? [{ ...ram, pageSizeBytes: 4096 }] : [] };
    const shmem = evaluate(
      fromSnapshot(someSnapshot({ sources, resources: [held(3, 1, 2 ** 21)], target })),
    ).findings.find(({ rule }) => rule === 'amplification');
    expect(shmem?.evidence).toHaveLength(1);
    expect(shmem?.remedy).toContain('shmem_enabled');
  });
  test('folios that the guest no longer has are a warning', () => {
    expect(found(held(3, 1, 2 ** 21, 'disconnected'))).toMatchObject([{ severity: 'warning' }]);
  });
  test('pages that were not read are not checked', () => {
    const denied = someSource('kernel-memory', { state: 'denied', detail: 'EACCES', grant: 'root' });
    const { findings, notChecked } = evaluate(
      fromSnapshot(someSnapshot({ sources: [denied], resources: [someResource({ pages: null })] })),
    );
    expect(findings).toEqual([]);
    expect(notChecked.find(({ rule }) => rule === 'amplification')?.because).toContain('EACCES; needs root');
  });
  test('buffers of other drivers are not told', () => {
    expect(found({ ...held(3, 1, 2 ** 21), exporter: 'i915' })).toEqual([]);
  });
});
