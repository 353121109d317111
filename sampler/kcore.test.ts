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
