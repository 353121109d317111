import { afterAll, describe, expect, test } from 'vitest';
import { denied, type Reading } from '../model/reading.ts';
import { RecordedHost } from '../test/recorded-host.ts';
import { HostFiles } from './files.ts';
import { grantFor } from './grants.ts';
import { Kcore } from './kcore.ts';

const host = new RecordedHost();
afterAll(() => host.close());

/** A host whose /proc/kcore is refused, as to a test that runs as root no mode of a file refuses. */
class Refusing extends HostFiles {
  override head(path: string): Reading<Uint8Array> {
    return denied(path, 'EPERM: not permitted', grantFor(path));
  }
}

describe('a kcore that is refused', () => {
  const files = new Refusing(host.root);
  test.each([
    ['no lockdown in this kernel', undefined],
    ['not locked down', '[none] integrity confidentiality\n'],
    ['locked down, but kcore is open at that level', 'none [integrity] confidentiality\n'],
  ])('%s: needs root', (_, levels) => {
    host.remove('/sys');
    if (levels !== undefined) host.write('/sys/kernel/security/lockdown', levels);
    expect(Kcore.open(files, host.native)).toMatchObject({
      state: 'denied',
      grant: expect.stringContaining('CAP_SYS_RAWIO'),
    });
  });
  test('locked down for everyone: root would not help', () => {
    host.write('/sys/kernel/security/lockdown', 'none integrity [confidentiality]\n');
    const reading = Kcore.open(files, host.native);
    expect(reading).toMatchObject({
      state: 'denied',
      detail: expect.stringContaining('locked down at the level confidentiality'),
      grant: expect.stringContaining('lockdown=integrity'),
    });
    expect(reading.state === 'denied' && reading.grant).not.toContain('root');
  });
});

test('what is closed reads no more, also what waits for its turn', async () => {
  const base = 0xffff_8880_0000_0000n;
  const core = Buffer.alloc(8192);
  // One PT_LOAD: all of this file's second page.
  core.write('\x7fELF\x02\x01\x01', 'latin1');
  core.writeBigUInt64LE(64n, 32);
  core.writeUInt16LE(56, 54);
  core.writeUInt16LE(1, 56);
  core.writeUInt32LE(1, 64);
  core.writeBigUInt64LE(4096n, 64 + 8);
  core.writeBigUInt64LE(base, 64 + 16);
  core.writeBigUInt64LE(4096n, 64 + 32);
  core.write('held', 4096);
  host.write('/proc/kcore', core);
  const opened = Kcore.open(host.files, host.native);
  if (opened.state !== 'ok') throw new Error(opened.detail);
  const range = { address: base, bytes: 4 };
  expect(await opened.value.read([range])).toEqual([new Uint8Array(Buffer.from('held'))]);
  const waiting = opened.value.read([range]);
  opened.value.close();
  await expect(waiting).rejects.toMatchObject({ code: 'EPERM' });
  await expect(opened.value.read([range])).rejects.toMatchObject({ code: 'EPERM' });
  opened.value.close();
});
