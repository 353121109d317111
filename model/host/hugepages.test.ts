import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fixtureFiles, hosts } from '../../test/fixtures.ts';
import { damaged, dishonestNumber } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseHugepages } from './hugepages.ts';

const files = (host: string) =>
  new Map([
    ...fixtureFiles(host, '/sys/kernel/mm/hugepages'),
    ...fixtureFiles(host, '/sys/devices/system/node'),
  ]);
const vm = files('linux-6.18-vm');
const NR = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';
const RESV = '/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages';

test('eight pages of 2 MiB of which a memfd has two and reserves one more', () => {
  const empty = { total: 0, free: 0, reserved: 0, surplus: 0, overcommit: 0 };
  expect(parseHugepages(vm)).toEqual([
    { ...empty, pageSizeBytes: 2 << 20, node: null, total: 8, free: 6, reserved: 1 },
    { ...empty, pageSizeBytes: 1 << 30, node: null },
    { pageSizeBytes: 2 << 20, node: 0, total: 8, free: 6, reserved: null, surplus: 0, overcommit: null },
    { pageSizeBytes: 1 << 30, node: 0, total: 0, free: 0, reserved: null, surplus: 0, overcommit: null },
  ]);
});

test('relative paths, and a kernel without hugetlb', () => {
  const relative = new Map(
    [...vm].map(([path, text]) => [path.replace('/sys/kernel/mm/hugepages/', ''), text]),
  );
  expect(parseHugepages(relative)).toEqual(parseHugepages(vm));
  expect(parseHugepages(new Map())).toEqual([]);
});

test('a reservation that wrapped below 0 is what the kernel printed', () => {
  expect(parseHugepages(new Map([...vm, [RESV, '18446744073709551612\n']]))[0]?.reserved).toBe(
    '18446744073709551612',
  );
});

test.each(hosts)('%s: the nodes add up to the machine', host => {
  const pools = parseHugepages(files(host));
  for (const machine of pools.filter(pool => pool.node === null)) {
    const nodes = pools.filter(pool => pool.node !== null && pool.pageSizeBytes === machine.pageSizeBytes);
    if (nodes.length === 0) continue;
    for (const field of ['total', 'free', 'surplus'] as const)
      expect(nodes.reduce((sum, node) => sum + node[field], 0)).toBe(machine[field]);
  }
});

test('refused: a pool without its total, and a total that is no number', () => {
  const without = new Map(vm);
  without.delete(NR);
  expect(() => parseHugepages(without)).toThrow(ParseError);
  expect(() => parseHugepages(new Map([...vm, [NR, '-1\n']]))).toThrow(ParseError);
  expect(() => parseHugepages(new Map([...vm, [NR, '']]))).toThrow(ParseError);
});

test('damaged paths and texts', () => {
  fc.assert(
    fc.property(fc.constantFrom(...vm), fc.string({ maxLength: 40 }), ([path, text], extra) => {
      for (const [at, content] of [
        [path + extra, text],
        [path.replace('2048', extra), text],
        [path, extra],
      ] as const) {
        try {
          expect(dishonestNumber(parseHugepages(new Map([...vm, [at, content]])))).toBeUndefined();
        } catch (error) {
          expect(error).toBeInstanceOf(ParseError);
        }
      }
    }),
  );
  fc.assert(
    fc.property(damaged('8\n', '18446744073709551612\n'), text => {
      try {
        const [pool] = parseHugepages(new Map([...vm, [RESV, text]]));
        expect(String(pool?.reserved)).toMatch(/^\d+$/);
      } catch (error) {
        expect(error).toBeInstanceOf(ParseError);
      }
    }),
  );
});
