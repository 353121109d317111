import type { PrivilegeRefusal } from '../model/contract.ts';

/** How to become root for one command: polkit's dialog, sudo's prompt in the terminal, or not at all as root already. */
export type Elevation = 'pkexec' | 'sudo' | 'root';

interface ElevatedCommand {
  readonly command: string;
  readonly args: string[];
  readonly env: NodeJS.ProcessEnv;
}

/** The command line that runs `argv` as root, and its environment. */
export function elevated(how: Elevation, argv: readonly [string, ...string[]]): ElevatedCommand {
  const [program, ...rest] = argv;
  switch (how) {
    case 'root':
      return { command: program, args: rest, env: process.env };
    case 'sudo':
      // It asks on the terminal by itself.
      return { command: 'sudo', args: ['--', ...argv], env: process.env };
    case 'pkexec': {
      // Without SHELL, which must be in /etc/shells; in English, as its refusals are told by their words. The dialog speaks the
      // user's language: the agent's. Without an agent pkexec would ask on a terminal that may not be looked at.
      const { PATH, HOME, DBUS_SYSTEM_BUS_ADDRESS } = process.env;
      const env = { PATH, HOME, DBUS_SYSTEM_BUS_ADDRESS, LC_ALL: 'C' };
      return { command: 'pkexec', args: ['--disable-internal-agent', ...argv], env };
    }
  }
}

/** How the command ended; `error`: it could not be started. */
export interface CommandEnd {
  readonly code: number | null;
  readonly error: Error | null;
}

/**
 * Why it did not run to its good end.
 * @param said standard error of pkexec; sudo's went to the terminal
 * @param otherwise the beginning of the sentence for a failure of the command itself
 */
export function refusalOf(
  how: Elevation,
  { code, error }: CommandEnd,
  said: string,
  otherwise: string,
): PrivilegeRefusal {
  const words = said.trim().replace(/\s+/g, ' ');
  if (error !== null) {
    const missing = 'code' in error && error.code === 'ENOENT';
    const detail = missing
      ? how === 'pkexec'
        ? 'pkexec is not installed (Debian: apt install pkexec); in a terminal, pinscope --grant asks sudo instead'
        : `${how} is not installed; run pinscope as root instead`
      : error.message;
    return { reason: missing ? 'unavailable' : 'failed', detail };
  }
  if (how === 'pkexec' && code === 126) {
    return { reason: 'dismissed', detail: 'The prompt was closed; nothing was granted' };
  }
  if (how === 'pkexec' && code === 127) {
    // pkexec(1): 127 for everything else. Its sentences: src/programs/pkexec.c.
    if (/No authentication agent found/.test(words)) {
      return {
        reason: 'unavailable',
        detail:
          'No polkit agent runs in this session that could ask you; start your desktop’s, or use pinscope --grant in a terminal',
      };
    }
    if (/Not authorized/.test(words)) {
      return { reason: 'refused', detail: 'polkit refused: the password was wrong, or the policy says no' };
    }
    if (/must be setuid root|Error getting authority/.test(words)) {
      return { reason: 'unavailable', detail: `polkit does not work here: ${words}` };
    }
    return { reason: 'failed', detail: `pkexec could not run it: ${words || 'it did not say why'}` };
  }
  if (how === 'sudo' && code === 1) {
    return { reason: 'refused', detail: 'sudo refused; its message is above' };
  }
  const end = code === null ? 'it was ended by a signal' : `exit code ${code}`;
  return { reason: 'failed', detail: `${otherwise}: ${words || end}` };
}
