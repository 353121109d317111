import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { known } from '../model/reading.ts';
import { fixture, hasFixture, hosts } from '../test/fixtures.ts';
import { lacks } from '../test/need.ts';
import { recordedHosts } from '../test/recorded-host.ts';
import { HostFiles } from './files.ts';
import { type Kernel, openKernel, readKernel } from './kernel.ts';

const recorded = recordedHosts();

describe.each(hosts)('%s without BTF', name => {
  const release = /^linux-([\d.]+)/.exec(name)?.[1] ?? '';
  // The virtual machine's own kernel has no udmabuf driver.
  const era = name.endsWith('-vm') ? 'absent' : release === '6.1' ? 'page-refs' : 'folio-pins';
  const lines = (file: string) => fixture(name, `/proc/${file}`).split('\n').length;
  // Some recordings have only the first lines that an ordinary user sees.
  const whole = ['kallsyms', 'kallsyms-unprivileged'].filter(file => lines(file) >= lines('kallsyms'));
  test.each(whole)('the era from names in %s', file => {
    const host = recorded(name);
    host.write('/proc/kallsyms', fixture(name, `/proc/${file}`));
    const kernel = readKernel(host.files);
    expect(kernel).toMatchObject({ era, evidence: expect.stringContaining('kallsyms has') });
    expect(kernel.btf).toMatchObject({ state: 'absent', source: '/sys/kernel/btf/vmlinux' });
  });
});

test('neither BTF nor kallsyms: the era is unknown', () => {
  expect(readKernel(recorded().files)).toMatchObject({
    era: null,
    evidence: 'neither BTF nor /proc/kallsyms can be read',
  });
});

test.each([
  ['empty', ''],
  ['no BTF at all', 'hello'.repeat(100)],
  ['a header and nothing else', '\x9f\xeb\x01\x00\x18\x00\x00\x00'],
])('BTF that we do not understand: %s', async (_, text) => {
  const host = recorded('linux-6.12');
  host.write('/sys/kernel/btf/vmlinux', Buffer.from(text, 'latin1'));
  const kernel = readKernel(host.files);
  expect(kernel.btf).toMatchObject({ state: 'absent', detail: expect.stringContaining('not understood') });
  expect(kernel.era).toBe('folio-pins');
  expect(await openKernel(host.files, host.native, kernel)).toMatchObject({ state: 'absent' });
});

test('without BTF kernel memory is absent, and it says which file is missing', async () => {
  const host = recorded('linux-6.12');
  expect(await openKernel(host.files, host.native, readKernel(host.files))).toMatchObject({
    state: 'absent',
    source: '/sys/kernel/btf/vmlinux',
    detail: 'this host has no such file',
  });
});

const BTF = '/sys/kernel/btf/vmlinux';
describe.skipIf(lacks(BTF, existsSync(BTF)))('with the BTF of this machine', () => {
  const machine = readKernel(new HostFiles());
  /** This machine's structures as if it had a driver: the layout is resolved only after kcore and the symbols are read. */
  const kernel: Kernel = { ...machine, era: 'folio-pins' };

  test('the era is that of the symbols', () => {
    expect(machine.btf.state).toBe('ok');
    const names = known(new HostFiles().text('/proc/kallsyms')) ?? '';
    expect(machine.era === 'absent').toBe(!/ udmabuf_ioctl(\t|$)/m.test(names));
    expect(machine.evidence).not.toBe('');
  });

  test('no driver: absent, in a sentence', async () => {
    const host = recorded();
    expect(await openKernel(host.files, host.native, { ...machine, era: 'absent' })).toMatchObject({
      state: 'absent',
      detail: 'this kernel has no udmabuf driver (CONFIG_UDMABUF)',
    });
  });

  test('no kcore', async () => {
    const host = recorded();
    expect(await openKernel(host.files, host.native, kernel)).toMatchObject({
      state: 'absent',
      source: '/proc/kcore',
    });
  });

  test('a kcore that is no core', async () => {
    const host = recorded();
    host.write('/proc/kcore', 'x'.repeat(100));
    expect(await openKernel(host.files, host.native, kernel)).toMatchObject({
      state: 'absent',
      detail: expect.stringContaining('not understood: kcore: expected an ELF header'),
    });
  });

  test.each(hosts.filter(host => hasFixture(host, '/proc/kallsyms-unprivileged')))(
    'hidden addresses are denied, on %s',
    async name => {
      const host = recorded(name);
      host.write('/proc/kcore', core());
      host.write('/proc/kallsyms', fixture(name, '/proc/kallsyms-unprivileged'));
      expect(await openKernel(host.files, host.native, kernel)).toMatchObject({
        state: 'denied',
        source: '/proc/kallsyms',
        grant: expect.stringContaining('kptr_restrict'),
      });
    },
  );

  test('nor is a symbol made up from a text that was cut', async () => {
    const host = recorded();
    host.write('/proc/kcore', core());
    host.write('/proc/kallsyms', 'ffffffff81000000 T _te');
    expect(['absent', 'denied']).toContain((await openKernel(host.files, host.native, kernel)).state);
  });

  test('no fd stays open', async () => {
    const host = recorded();
    host.write('/proc/kcore', core());
    host.write('/proc/kallsyms', '0000000000000000 T _text\n');
    const fds = () => known(new HostFiles().names('/proc/self/fd'))?.length;
    const before = fds();
    for (let i = 0; i < 5; i++) await openKernel(host.files, host.native, kernel);
    expect(fds()).toBe(before);
  });
});

/** The smallest core: one PT_LOAD, no VMCOREINFO. */
function core(): Uint8Array {
  const data = Buffer.alloc(64 + 56);
  data.write('\x7fELF\x02\x01\x01', 'latin1');
  data.writeBigUInt64LE(64n, 32);
  data.writeUInt16LE(56, 54);
  data.writeUInt16LE(1, 56);
  data.writeUInt32LE(1, 64);
  data.writeBigUInt64LE(0xffff_8880_0000_0000n, 64 + 16);
  data.writeBigUInt64LE(4096n, 64 + 32);
  return data;
}
