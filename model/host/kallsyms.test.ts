import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fixture, fixtureTexts, hosts, hostsWith } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { KallsymsScanner, parseKallsyms } from './kallsyms.ts';

const text = fixture('linux-6.18-vm', '/proc/kallsyms');
const WANTED = new Set(['memfd_pin_folios', '_text', 'debugfs_list', 'ftrace_trampoline', 'dma_buf_export']);

test('symbols of the kernel and of a module; absent ones are absent', () => {
  const address = (name: string) => BigInt(`0x${text.match(new RegExp(`^(\\w+) . ${name}$`, 'm'))?.[1]}`);
  expect(parseKallsyms(text, WANTED)).toEqual(
    new Map([
      ['_text', 0xffffffff81000000n],
      ['memfd_pin_folios', 0xffffffff815d9120n],
      ['dma_buf_export', address('dma_buf_export')],
      ['ftrace_trampoline', 0xffffffffc0201000n],
    ]),
  );
});

test.each(hosts.filter(host => !host.includes('vm')))('%s: one head of the list of dma-bufs', host => {
  const head = { 'linux-6.1': 'db_list', 'linux-6.12': 'debugfs_list', 'linux-7.2': 'dmabuf_list' }[
    host.replace('-odd', '')
  ];
  const wanted = new Set(['db_list', 'debugfs_list', 'dmabuf_list']);
  const found = parseKallsyms(fixture(host, '/proc/kallsyms'), wanted);
  expect([...found.keys()]).toEqual([head]);
  const line = fixture(host, '/proc/kallsyms')
    .split('\n')
    .find(l => l.endsWith(` ${head}`));
  expect(found.get(head ?? '')).toBe(BigInt(`0x${line?.slice(0, 16)}`));
});

test.each(hostsWith('/proc/kallsyms-unprivileged'))('%s: an ordinary user sees no address', host => {
  const text = fixture(host, '/proc/kallsyms-unprivileged');
  const names = new Set(
    text
      .split('\n')
      .filter(line => line !== '')
      .map(line => line.slice(19).split('\t')[0] ?? ''),
  );
  const found = parseKallsyms(text, names);
  expect(found.size).toBe(names.size);
  for (const address of found.values()) expect(address).toBe('hidden');
});

test('a name must match whole', () => {
  const lines =
    'ffffffff81000010 t xdb_list\nffffffff81000020 d db_list.part.0\nffffffff81000030 d db_listx\n';
  expect(parseKallsyms(lines, new Set(['db_list'])).size).toBe(0);
  expect(parseKallsyms(`${lines}ffffffff81000040 d db_list\n`, new Set(['db_list'])).get('db_list')).toBe(
    0xffffffff81000040n,
  );
});

test('several symbols of one name', () => {
  const wanted = new Set(['db_list']);
  const kernel = 'ffffffff81000010 d db_list\n';
  const module = 'ffffffffc0000010 d db_list\t[mod]\n';
  expect(parseKallsyms(kernel + kernel.replace('10 ', '20 '), wanted).get('db_list')).toBe('ambiguous');
  expect(parseKallsyms(kernel + module, wanted).get('db_list')).toBe(0xffffffff81000010n);
  expect(parseKallsyms(module + kernel, wanted).get('db_list')).toBe(0xffffffff81000010n);
  expect(parseKallsyms(module + module.replace('10 ', '20 '), wanted).get('db_list')).toBe('ambiguous');
});

test('32-bit addresses', () => {
  expect(parseKallsyms('c0100000 T _text\n', WANTED).get('_text')).toBe(0xc0100000n);
});

test('any cut into chunks gives the same', () => {
  const whole = parseKallsyms(text, WANTED);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: text.length }), { maxLength: 30 }), cuts => {
      const scanner = new KallsymsScanner(WANTED);
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      for (const [i, start] of at.entries()) scanner.push(text.slice(start, at[i + 1] ?? start));
      scanner.end();
      expect(scanner.found).toEqual(whole);
    }),
  );
});

test('a reader in a hurry learns when all were seen', () => {
  const scanner = new KallsymsScanner(new Set(['_text']));
  expect(scanner.complete).toBe(false);
  scanner.push('ffffffff81000000 T _tex');
  expect(scanner.complete).toBe(false);
  scanner.push('t\nffffffff81000000 T _stext\n');
  expect(scanner.complete).toBe(true);
});

test.each([
  ['cut inside a name', 'ffffffff81000000 T _text'],
  ['no type', 'ffffffff81000000 _text\n'],
  ['no address', 'T _text\n'],
  ['an address that is none', '0xffffffff810000 T _text\n'],
])('refused: %s', (_, damaged) => {
  expect(() => parseKallsyms(damaged, WANTED)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(
    damaged => parseKallsyms(damaged, WANTED),
    fixtureTexts('/proc/kallsyms').map(t => t.slice(0, t.lastIndexOf('\n', 20_000) + 1)),
    found => {
      for (const [name, address] of found) {
        expect(WANTED.has(name)).toBe(true);
        if (typeof address === 'bigint') expect(address > 0n && address < 2n ** 64n).toBe(true);
      }
    },
  );
});
