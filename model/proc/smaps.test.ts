import { expect, test } from 'vitest';
import { fixture, hasFixture, madeBuffers, processFiles } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseMaps } from './maps.ts';
import { parseSmaps } from './smaps.ts';

const text = fixture('linux-6.18-vm', '/proc/odd/smaps');
const odd = () => parseSmaps(text);

test('huge pages are not in Rss', () => {
  expect(odd().find(vma => vma.path === '/memfd:huge ram')).toMatchObject({
    rssBytes: 0,
    kernelPageBytes: 2 << 20,
    mmuPageBytes: 2 << 20,
    // One process maps them, yet a shared mapping counts as it likes: two pages in all.
    sharedHugetlbBytes: 0,
    privateHugetlbBytes: 4 << 20,
    vmFlags: expect.arrayContaining(['rd', 'wr', 'sh', 'ht']),
  });
});

test('a memfd of small pages', () => {
  expect(odd().find(vma => vma.path === '/memfd:two\nlines')).toMatchObject({
    rssBytes: 12 << 10,
    kernelPageBytes: 4096,
    sharedHugetlbBytes: 0,
    privateHugetlbBytes: 0,
  });
});

test('the mappings are those of maps', () => {
  for (const { host, process, text } of processFiles('smaps')) {
    if (!hasFixture(host, `/proc/${process}/maps`)) continue;
    const mapped = new Map(parseMaps(fixture(host, `/proc/${process}/maps`)).map(vma => [vma.start, vma]));
    const smaps = parseSmaps(text);
    expect(smaps.length).toBeGreaterThan(0);
    for (const vma of smaps) expect(vma, `${host} ${process}`).toMatchObject({ ...mapped.get(vma.start) });
  }
});

test('mapped udmabufs: PFN mappings since 6.11, ordinary ones before', () => {
  for (const { host, process } of madeBuffers.filter(
    buffer => buffer.mapped || buffer.process === 'buffers',
  )) {
    const ordinary = host.startsWith('linux-6.1-') || host === 'linux-6.1';
    const vmas = parseSmaps(fixture(host, `/proc/${process}/smaps`)).filter(vma =>
      vma.path?.startsWith('/dmabuf:'),
    );
    expect(vmas.length, host).toBeGreaterThan(0);
    for (const vma of vmas) {
      expect(vma.vmFlags.includes('pf'), host).toBe(!ordinary);
      if (!ordinary) expect(vma.rssBytes).toBe(0);
      expect(vma.kernelPageBytes).toBe(4096);
    }
  }
});

test.each([
  ['no Rss', text.replace(/Rss:.*\n/, '')],
  ['fields before a mapping', text.slice(text.indexOf('\n') + 1)],
  ['a cut mapping', text.slice(0, text.lastIndexOf('Private_Hugetlb'))],
  ['a page size without unit', text.replace(/KernelPageSize:.*/, 'KernelPageSize: 4')],
])('refused: %s', (_, damaged) => {
  expect(() => parseSmaps(damaged)).toThrow(ParseError);
});

test('damaged texts', () => {
  const short = processFiles('smaps').map(file => {
    const starts = [...file.text.matchAll(/^[0-9a-f]+-[0-9a-f]+ /gm)].map(match => match.index);
    return file.text.slice(starts.at(-5));
  });
  parsesOrRefuses(parseSmaps, short, vmas => {
    for (const vma of vmas) expect(vma.kernelPageBytes % 1024).toBe(0);
  });
});
