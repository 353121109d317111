import { known } from '../model/reading.ts';
import type { HostFiles } from './files.ts';

/**
 * Names of users by uid, from /etc/passwd (passwd(5)); the first line of a uid counts, as in getpwuid(3). Users from
 * elsewhere (LDAP, containers) are not in it.
 */
export function readUsers(files: HostFiles): Map<number, string> {
  const users = new Map<number, string>();
  for (const line of known(files.text('/etc/passwd'))?.split('\n') ?? []) {
    const [name = '', , uid = ''] = line.split(':');
    if (name !== '' && /^\d{1,10}$/.test(uid) && !users.has(Number(uid))) users.set(Number(uid), name);
  }
  return users;
}
