import { expect, test } from 'vitest';
import { fixture, hasFixture, processFiles } from '../../test/fixtures.ts';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseSmaps } from './smaps.ts';
import { parseStatus } from './status.ts';

const odd = fixture('linux-6.18-vm', '/proc/odd/status');
const root = { real: 0, effective: 0, saved: 0, fs: 0 };

test('a process with locked and huge pages and an escaped name', () => {
  expect(parseStatus(odd)).toEqual({
    cpusAllowed: [0, 1],
    name: 'a) S 1\n\\x\x1b(b',
    state: 'S',
    tgid: expect.any(Number),
    pid: expect.any(Number),
    ppid: expect.any(Number),
    uid: root,
    gid: root,
    nsPid: [parseStatus(odd).pid],
    capEff: 0x1fffeffffffn,
    vmLckBytes: 256 << 10,
    vmPinBytes: 0,
    vmRssBytes: expect.any(Number),
    rssShmemBytes: 12 << 10,
    hugetlbBytes: 4 << 20,
  });
});

test('without memory the sizes are absent, not 0', () => {
  for (const process of ['zombie', 'kthread']) {
    expect(parseStatus(fixture('linux-6.18-vm', `/proc/${process}/status`))).toMatchObject({
      vmLckBytes: null,
      vmPinBytes: null,
      vmRssBytes: null,
      rssShmemBytes: null,
      hugetlbBytes: null,
    });
  }
});

test('several namespaces and ids', () => {
  const text = odd
    .replace(/NSpid:.*/, 'NSpid:\t4321\t17\t1')
    .replace(/Uid:.*/, 'Uid:\t1000\t0\t4294967295\t64055');
  expect(parseStatus(text)).toMatchObject({
    nsPid: [4321, 17, 1],
    uid: { real: 1000, effective: 0, saved: 4294967295, fs: 64055 },
  });
});

test('huge pages of every recorded process agree with its smaps', () => {
  for (const { host, process, text } of processFiles('status')) {
    if (!hasFixture(host, `/proc/${process}/smaps`)) continue;
    const smaps = parseSmaps(fixture(host, `/proc/${process}/smaps`));
    const sum = smaps.reduce((bytes, vma) => bytes + vma.sharedHugetlbBytes + vma.privateHugetlbBytes, 0);
    expect(parseStatus(text).hugetlbBytes, `${host} ${process}`).toBe(sum);
  }
});

test.each([
  ['a wrapped counter', odd.replace(/VmPin:.*/, 'VmPin:\t18446744073709551612 kB')],
  ['no unit', odd.replace(/VmLck:.*/, 'VmLck:\t256')],
  ['three ids', odd.replace(/Uid:.*/, 'Uid:\t0\t0\t0')],
  ['cut inside a number', odd.slice(0, odd.indexOf('VmLck:') + 12)],
  ['a line twice', `${odd}Uid:\t1000\t1000\t1000\t1000\n`],
])('refused: %s', (_, text) => {
  expect(() => parseStatus(text)).toThrow(ParseError);
});

test('damaged texts', () => {
  parsesOrRefuses(
    parseStatus,
    processFiles('status').map(file => file.text),
    status => {
      for (const bytes of [status.vmLckBytes, status.vmPinBytes, status.hugetlbBytes, status.rssShmemBytes])
        expect((bytes ?? 0) % 1024).toBe(0);
      expect(status.nsPid).not.toEqual([]);
    },
  );
});
