import type { CommandLine } from 'electron';
import type { OpenRequest } from '../model/contract.ts';

const USAGE = `Usage: pinscope [--pid N]

Opens the window; with --pid on that process. A second start brings the window of the first to the front, or
opens one for its process. The terminal program is in a checkout only: npm start -- --help there tells what it does.
`;

/**
 * Ends a start as root: Chromium's sandbox and the desktop's session are those of a user. Packages' launcher says the same
 * (build/resources/launcher.sh), as Chromium would end itself before this.
 */
export function refuseRoot(): void {
  if (process.getuid?.() !== 0) return;
  leave(
    1,
    'the window does not run as root; start it as yourself and grant access to pages inside, or run the terminal program as root',
  );
}

/** Ends a start without Chromium's sandbox: by the word, by ELECTRON_DISABLE_SANDBOX, or of an AppImage, which adds the word itself. */
export function refuseNoSandbox(commandLine: Pick<CommandLine, 'hasSwitch'>): void {
  if (!commandLine.hasSwitch('no-sandbox')) return;
  leave(
    1,
    'the window does not run without its sandbox (--no-sandbox, which an AppImage adds where user namespaces are refused); allow them (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces), or use the terminal program',
  );
}

/**
 * What the command line asks for; Chromium's own switches pass by. Ends the program for --help, --version (status 0) and for a
 * value of --pid that is none (status 2).
 */
export function parseArguments(argv: readonly string[]): OpenRequest {
  if (argv.includes('--help')) leave(0, USAGE, process.stdout);
  if (argv.includes('--version')) leave(0, `${PINSCOPE_VERSION}\n`, process.stdout);
  const at = argv.findIndex(word => word === '--pid' || word.startsWith('--pid='));
  if (at < 0) return { pid: null };
  const text = argv[at] === '--pid' ? (argv[at + 1] ?? '') : (argv[at]?.slice('--pid='.length) ?? '');
  const pid = Number(text);
  if (!/^[1-9]\d{0,6}$/.test(text) || pid > 2 ** 22) {
    leave(2, `--pid needs the number of a process, not “${text.replace(/[^ -~]/g, '?').slice(0, 40)}”`);
  }
  return { pid };
}

/** Checks what came from another start of this program; anything odd opens nothing special. */
export function asOpenRequest(data: unknown): OpenRequest {
  const pid = typeof data === 'object' && data !== null && 'pid' in data ? data.pid : null;
  return { pid: Number.isSafeInteger(pid) && (pid as number) > 0 ? (pid as number) : null };
}

function leave(status: number, text: string, stream: NodeJS.WritableStream = process.stderr): never {
  stream.write(stream === process.stderr ? `pinscope: ${text}\n` : text);
  process.exit(status);
}
