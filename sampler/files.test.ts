import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ParseError } from '../model/parse-error.ts';
import { absent, known, ok } from '../model/reading.ts';
import { RecordedHost } from '../test/recorded-host.ts';
import { failure, HostFiles, understood } from './files.ts';
import { grantFor } from './grants.ts';

const host = new RecordedHost();
const { files } = host;
afterAll(() => host.close());

const refused = (code: string): Error => Object.assign(new Error(`${code}: …`), { code });

describe('a failed call', () => {
  test.each([
    ['EACCES', '/proc/pagetypeinfo', 'denied', 'EACCES'],
    ['EPERM', '/proc/kcore', 'denied', 'EPERM'],
    ['EACCES', '/proc/12/maps', 'denied', 'EACCES'],
    ['ENOENT', '/proc/buddyinfo', 'absent', 'no such file'],
    ['ENOTDIR', '/sys/kernel/mm/cma/x', 'absent', 'no such file'],
    ['ENOENT', '/proc/12/stat', 'raced', 'process 12 is gone'],
    ['ESRCH', '/proc/12/maps', 'raced', 'process 12 is gone, or'],
    ['ENOENT', '/proc/12/root/a\nb', 'raced', 'process 12 is gone, or'],
    ['ENOENT', '/proc/self/maps', 'absent', 'no such file'],
    ['ENOENT', '/sys/proc/12/stat', 'absent', 'no such file'],
    ['ESRCH', '/sys/kernel/x', 'raced', 'gone'],
    ['EIO', '/proc/kcore', 'absent', 'EIO'],
    ['ELOOP', '/a', 'absent', 'ELOOP'],
  ])('%s of %j is %s', (code, path, state, words) => {
    const reading = failure(path, refused(code));
    expect(reading).toMatchObject({ state, source: path });
    expect('detail' in reading && reading.detail).toContain(words);
    if (reading.state === 'denied') expect(reading.grant).toBe(grantFor(path));
  });

  test('a mistake of ours is no reading', () => {
    expect(() => failure('/proc/1/maps', new TypeError('x is undefined'))).toThrow(TypeError);
    expect(() => failure('/proc/1/maps', 'x')).toThrow('x');
  });
});

test.each([
  ['/proc/kcore', /CAP_SYS_RAWIO.*grant of kernel memory.*lockdown/],
  ['/proc/kpageflags', /^root or Pinscope’s grant of pages$/],
  ['/proc/17/pagemap', /same user.*CAP_SYS_ADMIN.*PFN/],
  ['/proc/17/fd/', /same user.*CAP_SYS_PTRACE/],
  ['/proc/pagetypeinfo', /^root or Pinscope’s grant of pages$/],
  ['/sys/kernel/debug/dma_buf/bufinfo', /^root or Pinscope’s grant of pages$/],
  ['/sys/kernel/debug/cma', /^root$/],
  ['/proc/17/maps', /Pinscope’s grant of pages$/],
  ['/proc/17/root/x', /CAP_SYS_PTRACE\)$/],
  ['/dev/udmabuf', /group.*kvm/],
  ['/elsewhere', /^root$/],
])('what grants %s', (path, words) => {
  expect(grantFor(path)).toMatch(words);
});

test('texts, bytes, names and links below the root', () => {
  host.write('/a b/x\ny', 'wörds\n');
  host.write('/bytes', 'a\xff');
  host.link('/link', '/memfd:a\nb (deleted)');
  expect(files.text('/a b/x\ny')).toEqual(ok('/a b/x\ny', 'wörds\n'));
  expect(known(files.bytes('/bytes'))).toEqual(Buffer.from('a\xff'));
  expect(files.names('/a b')).toEqual(ok('/a b', ['x\ny']));
  expect(files.link('/link')).toEqual(ok('/link', '/memfd:a\nb (deleted)'));
  expect(files.text('/nothing')).toEqual(absent('/nothing', 'this host has no such file'));
  expect(files.text('/a b').state).toBe('absent');
  expect(files.usable('/bytes').state).toBe('ok');
  expect(files.usable('/none').state).toBe('absent');
  expect(files.at('/proc/1')).toBe(join(host.root, 'proc/1'));
  expect(new HostFiles().at('/proc//1')).toBe('/proc//1');
  const fd = files.open('/bytes');
  expect(fd.state).toBe('ok');
  if (fd.state === 'ok') closeSync(fd.value);
});

test('invalid UTF-8 is replaced, never refused', () => {
  const latin = new RecordedHost();
  try {
    execFileSync('sh', ['-c', 'printf \'a\\377b\' > "$1"', 'sh', join(latin.root, 'x')]);
    expect(known(latin.files.text('/x'))).toBe('a\ufffdb');
    expect(known(latin.files.bytes('/x'))).toEqual(Buffer.from([0x61, 0xff, 0x62]));
  } finally {
    latin.close();
  }
});

test.each([
  ['shorter than asked', 'abc', 10, 'abc'],
  ['as long', 'abc', 3, 'abc'],
  ['longer', 'abcdef', 3, 'abc'],
  ['empty', '', 3, ''],
  ['nothing asked', 'abc', 0, ''],
])('the head of a file: %s', (_, text, limit, expected) => {
  host.write('/head', text);
  expect(new TextDecoder().decode(known(files.head('/head', limit)))).toBe(expected);
});

test('the head of a file in /proc, which tells no size', () => {
  const machine = new HostFiles();
  expect(statSync('/proc/self/maps').size).toBe(0);
  expect(known(machine.head('/proc/self/maps', 20))).toHaveLength(20);
  expect(known(machine.head('/proc/sys/kernel/ostype', 100))).toEqual(new Uint8Array(Buffer.from('Linux\n')));
});

test('a FIFO is opened without waiting for its writer', () => {
  const dir = mkdtempSync(join(tmpdir(), 'pinscope-fifo-'));
  try {
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    const fd = new HostFiles(dir).open('/fifo');
    expect(fd.state).toBe('ok');
    if (fd.state === 'ok') closeSync(fd.value);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a text that a parser refuses is absent, with its words', () => {
  host.write('/number', 'x\n');
  const parse = (text: string): number => {
    throw new ParseError('number', 'a digit', text, 3);
  };
  expect(files.parsed('/number', parse)).toEqual(
    absent('/number', 'not understood: number line 3: expected a digit, found "x\\n"'),
  );
  expect(files.parsed('/none', parse)).toEqual(absent('/none', 'this host has no such file'));
  expect(() =>
    understood(ok('/number', 1), () => {
      throw new RangeError('ours');
    }),
  ).toThrow(RangeError);
});

describe('a tree', () => {
  const tree = new RecordedHost();
  afterAll(() => tree.close());
  tree.write('/t/one', '1');
  tree.write('/t/a/one', '2');
  tree.write('/t/a/two', '3');
  tree.write('/t/a/b/one', '4');
  tree.write('/t/c/one', '5');
  tree.link('/t/c/link-one', 'nowhere');
  tree.link('/t/a/to-directory-one', '..');
  const paths = (depth: number, through?: RegExp) =>
    [...(known(tree.files.tree('/t', /one$/, depth, through)) ?? [])].sort();

  test('goes down so many levels', () => {
    expect(paths(0)).toEqual([['/t/one', '1']]);
    expect(paths(1).map(([path]) => path)).toEqual([
      '/t/a/one',
      '/t/a/to-directory-one',
      '/t/c/link-one',
      '/t/c/one',
      '/t/one',
    ]);
    expect(paths(2).map(([path]) => path)).toContain('/t/a/b/one');
  });
  test('what is wanted and no file has an empty text, and is not gone through', () => {
    expect(new Map(paths(9)).get('/t/a/to-directory-one')).toBe('');
    expect(new Map(paths(9)).get('/t/c/link-one')).toBe('');
    expect(paths(9)).toHaveLength(6);
  });
  test('goes through what it is told', () => {
    expect(paths(9, /\/t\/a(\/|$)/).map(([path]) => path)).toEqual([
      '/t/a/b/one',
      '/t/a/one',
      '/t/a/to-directory-one',
      '/t/one',
    ]);
  });
  test('a directory that is not there', () => {
    expect(tree.files.tree('/none', /./, 3)).toEqual(absent('/none', 'this host has no such file'));
  });
});
