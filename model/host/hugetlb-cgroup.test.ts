import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ParseError } from '../parse-error.ts';
import { currentFile, HUGETLB_FILES, parseHugetlbCgroup } from './hugetlb-cgroup.ts';

const files = (texts: Record<string, string>) =>
  new Map(Object.entries(texts).map(([name, text]) => [`/sys/fs/cgroup/a/${name}`, text]));

test('a row a page size, ascending', () => {
  const found = parseHugetlbCgroup(
    '/a',
    files({
      'hugetlb.1GB.current': '0\n',
      'hugetlb.1GB.max': 'max\n',
      'hugetlb.2MB.current': '8388608\n',
      'hugetlb.2MB.rsvd.current': '16777216\n',
      'hugetlb.2MB.max': '33554432\n',
      'memory.current': '4096\n',
    }),
  );
  expect(found).toEqual([
    {
      path: '/a',
      pageSizeBytes: 2 ** 21,
      currentBytes: 2 ** 23,
      reservedBytes: 2 ** 24,
      limitBytes: 2 ** 25,
    },
    { path: '/a', pageSizeBytes: 2 ** 30, currentBytes: 0, reservedBytes: null, limitBytes: null },
  ]);
});

test('no files: the controller is not enabled there', () => {
  expect(parseHugetlbCgroup('/a', files({ 'memory.current': '0\n' }))).toEqual([]);
});

test.each([
  ['no number', { 'hugetlb.2MB.current': 'many\n' }],
  ['no count', { 'hugetlb.2MB.max': 'max\n' }],
  ['a page of nothing', { 'hugetlb.0MB.current': '0\n' }],
  ['a negative limit', { 'hugetlb.2MB.current': '0\n', 'hugetlb.2MB.max': '-1\n' }],
])('refused: %s', (_, texts) => {
  expect(() => parseHugetlbCgroup('/a', files(texts))).toThrow(ParseError);
});

test('any size comes back under the name that the kernel gives its file (mem_fmt)', () => {
  fc.assert(
    fc.property(fc.integer({ min: 14, max: 34 }), fc.nat(2 ** 40), (order, bytes) => {
      const name = currentFile(2 ** order);
      expect(`/sys/fs/cgroup/a/${name}`).toMatch(HUGETLB_FILES);
      expect(parseHugetlbCgroup('/', files({ [name]: `${bytes}\n` }))).toMatchObject([
        { pageSizeBytes: 2 ** order, currentBytes: bytes },
      ]);
    }),
  );
  expect([2 ** 16, 2 ** 21, 2 ** 25, 2 ** 30, 2 ** 34].map(currentFile)).toEqual([
    'hugetlb.64KB.current',
    'hugetlb.2MB.current',
    'hugetlb.32MB.current',
    'hugetlb.1GB.current',
    'hugetlb.16GB.current',
  ]);
});
