import type { PrivilegeLevel, TargetId } from '../model/contract.ts';
import type { HostAccess } from '../sampler/access.ts';
import { Privilege } from '../sampler/privilege.ts';
import { CliError, EXIT } from './exit.ts';

/**
 * Runs `use` with the rights of a broker that sudo starts, and ends it. As root there is nothing to ask for.
 * @param use may look at the rights, and give them back
 * @param onLost called when the broker is gone before the end; `use` goes on with what is left
 */
export async function withGrant<T>(
  host: HostAccess,
  level: PrivilegeLevel,
  target: TargetId | null,
  use: (privilege: Privilege) => Promise<T>,
  onLost: () => void = () => {},
): Promise<T> {
  const privilege = new Privilege(host, 'sudo');
  const state = await privilege.grant(level, target, false);
  if (state.state === 'ungranted') {
    const detail = state.last?.detail ?? 'it is not known why';
    const hint = state.install ? '; pinscope broker install puts it there' : '';
    throw new CliError(`no rights were granted. ${detail}${hint}`, EXIT.noRights);
  }
  const stop = privilege.onChange(now => {
    if (now.state !== 'ungranted' || now.last === null) return;
    process.stderr.write(`pinscope: ${now.last.detail}. It goes on with this user’s rights.\n`);
    onLost();
  });
  try {
    return await use(privilege);
  } finally {
    stop();
    await privilege.revoke();
  }
}
