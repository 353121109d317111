import { expect, test } from 'vitest';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseCgroup } from './cgroup.ts';

/** `cat /proc/self/cgroup` on a 6.18 with cgroup v1 and v2 side by side, the identifier shortened. */
const hybrid =
  '9:name=systemd:/\n8:pids:/\n7:blkio:/\n6:freezer:/\n5:devices:/\n4:memory:/api/9039\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n';

test('both versions beside each other', () => {
  const found = parseCgroup(hybrid);
  expect(found).toHaveLength(10);
  expect(found[0]).toEqual({ hierarchy: 9, controllers: ['name=systemd'], path: '/' });
  expect(found[5]).toEqual({ hierarchy: 4, controllers: ['memory'], path: '/api/9039' });
  expect(found.at(-1)).toEqual({ hierarchy: 0, controllers: [], path: '/' });
});

test('paths are whatever they are, controllers may be several', () => {
  expect(parseCgroup("0::/a:b 'c/../d\n3:cpu,hugetlb:/x\n")).toEqual([
    { hierarchy: 0, controllers: [], path: "/a:b 'c/../d" },
    { hierarchy: 3, controllers: ['cpu', 'hugetlb'], path: '/x' },
  ]);
});

test.each([
  ['cut', '0::/a'],
  ['no path', '0::\n'],
  ['no number', 'x::/\n'],
])('refused: %s', (_, text) => {
  expect(() => parseCgroup(text)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(parseCgroup, [hybrid], rows => {
    for (const { path } of rows) expect(path.startsWith('/')).toBe(true);
  });
});
