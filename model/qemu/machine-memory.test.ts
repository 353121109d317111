import { describe, expect, test } from 'vitest';
import { parseQemuCommandLine } from './cmdline.ts';
import { machineMemory } from './machine-memory.ts';

const of = (text: string, ram: Parameters<typeof machineMemory>[1] = null, huge: number | null = 2 ** 21) =>
  machineMemory(parseQemuCommandLine(['qemu-system-x86_64', ...text.split(' ').filter(Boolean)]), ram, huge);
const memfd = {
  ...{ kind: 'memfd', backend: 'm', seal: true, share: true, hugetlbSizeBytes: null, prealloc: false },
};

describe('what the guest’s memory lies in', () => {
  test.each([
    ['the thread’s command line', 'memory-backend-memfd,hugetlb=on,id=m,size=4096M', 2 ** 21, memfd],
    ['ordinary pages', 'memory-backend-memfd,id=m,size=4096M', null, memfd],
    ['1 GiB pages', 'memory-backend-memfd,id=m,size=4G,hugetlb=on,hugetlbsize=1G', 2 ** 30, memfd],
    ['no seals', 'memory-backend-memfd,id=m,size=4G,seal=off', null, { ...memfd, seal: false }],
    ['private', 'memory-backend-memfd,id=m,size=4G,share=off', null, { ...memfd, share: false }],
    ['filled', 'memory-backend-memfd,id=m,size=4G,prealloc=on', null, { ...memfd, prealloc: true }],
    [
      'a file',
      'memory-backend-file,id=m,size=4G,mem-path=/dev/hugepages,share=on',
      null,
      { ...memfd, kind: 'file', seal: null },
    ],
    [
      'no file',
      'memory-backend-ram,id=m,size=4G',
      null,
      { ...memfd, kind: 'anonymous', seal: null, share: false },
    ],
    [
      'shared without a file',
      'memory-backend-ram,id=m,size=4G,share=on',
      null,
      { ...memfd, kind: 'other', seal: null },
    ],
  ])('%s', (_, object, hugetlbSizeBytes, expected) => {
    expect(of(`-machine memory-backend=m -object ${object}`)).toEqual({
      memory: { ...expected, hugetlbSizeBytes },
    });
  });
  const none = { backend: null, seal: null, share: null, hugetlbSizeBytes: null, prealloc: null };
  test('without a backend it is no memfd, also where there is one that the machine does not use', () => {
    expect(of('-m 4G')).toEqual({ memory: { ...none, kind: 'anonymous' } });
    expect(of('-m 4G -object memory-backend-memfd,id=m,size=4G')).toEqual({
      memory: { ...none, kind: 'anonymous' },
    });
    expect(of('-m 4G -mem-path /dev/hugepages')).toEqual({ memory: { ...none, kind: 'file' } });
  });
  test('of the backends of NUMA nodes, the one that does not fit', () => {
    const nodes = '-numa node,memdev=a -numa node,memdev=b -object memory-backend-memfd,id=a,size=1G';
    expect(of(`${nodes} -object memory-backend-memfd,id=b,size=1G`)).toMatchObject({
      memory: { backend: 'a' },
    });
    expect(of(`${nodes} -object memory-backend-memfd,id=b,size=1G,seal=off`)).toMatchObject({
      memory: { backend: 'b', seal: false },
    });
  });
  test('the size of a huge page: the memfd’s own before the host’s default', () => {
    const text = '-machine memory-backend=m -object memory-backend-memfd,id=m,size=4G,hugetlb=on';
    const ram = [{ id: 'm', pageSizeBytes: 2 ** 30 }];
    expect(of(text, ram)).toMatchObject({ memory: { hugetlbSizeBytes: 2 ** 30 } });
    expect(of(text, [{ id: null, pageSizeBytes: 4096 }])).toMatchObject({
      memory: { hugetlbSizeBytes: 2 ** 21 },
    });
  });
});

describe('what the command line does not tell is said', () => {
  test.each([
    ['a backend that is not there', '-machine memory-backend=gone', 'has the id'],
    ['options in a file', '-readconfig /etc/q.cfg', '-readconfig /etc/q.cfg'],
    ['an option that we cannot read', '-machine memory-backend=m -object {broken', '-object'],
  ])('%s', (_, text, words) => {
    expect(of(text)).toEqual({ unknown: expect.stringContaining(words) });
  });
  test('huge pages whose size nothing tells are not ordinary pages', () => {
    const text = '-machine memory-backend=m -object memory-backend-memfd,id=m,size=4G,hugetlb=on';
    expect(of(text, null, null)).toEqual({ unknown: expect.stringContaining('page size') });
  });
  test('a file of options beside a machine whose backend is known hides nothing', () => {
    const text = '-readconfig x -machine memory-backend=m -object memory-backend-memfd,id=m,size=4G';
    expect(of(text)).toMatchObject({ memory: { kind: 'memfd' } });
  });
});
