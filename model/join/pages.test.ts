import { expect, test } from 'vitest';
import { PageFacts } from '../kernel/pages.ts';
import { toPageRuns } from '../run-columns.ts';
import { joinPages } from './pages.ts';
import { RamView } from './ram.ts';

const memfd = { dev: 1, inode: 252 };

/** Pages 100 up, single folios, of owner numbers as {@link PageFacts} has them; page i was page i of its file. */
function factsOf(owner: readonly number[]): PageFacts {
  const index = owner.map((_, i) => i);
  return new PageFacts(
    Float64Array.of(100),
    Float64Array.of(0),
    Float64Array.from(index, i => 100 + i),
    new Uint32Array(owner.length).fill(1),
    Int32Array.from(owner),
    Float64Array.from(index),
    new Int8Array(owner.length).fill(1),
    [{ ...memfd, hugetlb: false }],
  );
}
const pfns = (...pages: readonly number[]) => Float64Array.from(pages);
/** The process maps the memfd, shared, and sees what `entries` tell. */
const mapping = { ...memfd, start: 0x7000_0000n, end: 0x7000_8000n, offset: 0, shared: true };
function join(owner: readonly number[], buffers: readonly Float64Array[], entries: readonly number[]) {
  return joinPages(buffers, {
    facts: factsOf(owner),
    entries: Float64Array.from(entries),
    frames: undefined,
    ram: new RamView([mapping], []),
    migratetypes: new Map(),
  });
}

test('a page of no file counts an entry each, a page that is another’s in the process does not', () => {
  // 100 and 101 are the file's, 102 was punched out, at 103 the process has a private copy.
  const [buffer] = join([0, 0, -1, 0], [pfns(100, 101, 102, 102, 103)], [100, 101, 0, 999]);
  expect(buffer?.withoutFile).toBe(2);
  const lost = toPageRuns(buffer?.runs ?? fail()).filter(({ backing }) => backing === 'disconnected');
  expect(lost.map(({ pfn, count }) => [pfn, count])).toEqual([
    [102, 1],
    [102, 2],
  ]);
});

test('what is anonymous, or could not be read, is not “of no file”', () => {
  const [buffer] = join([-2, -2], [pfns(100, 101)], [0, 0]);
  expect(buffer?.withoutFile).toBe(0);
});

test('buffers are counted each by itself', () => {
  const counts = join([-1, 0, -1], [pfns(100, 101, 102), pfns(101), pfns(102)], [0, 101, 0]);
  expect(counts.map(({ withoutFile }) => withoutFile)).toEqual([2, 0, 1]);
});

function fail(): never {
  throw new Error('no buffer');
}
