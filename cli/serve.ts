import { existsSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PrivilegeLevel, TargetId } from '../model/contract.ts';
import { printable } from '../model/text.ts';
import { type HostAccess, openHost } from '../sampler/access.ts';
import { Privilege } from '../sampler/privilege.ts';
import { readStat } from '../sampler/process.ts';
import { CliError, EXIT } from './exit.ts';
import { withGrant } from './grant.ts';
import { programHere } from './own-name.ts';
import { terminalRights } from './serve/rights.ts';
import { type RunningServer, startServer } from './serve/server.ts';
import { VERSION } from './version.ts';

interface ServeCommand {
  readonly port: number;
  readonly listen: string;
  readonly pid?: number;
  readonly grant?: PrivilegeLevel;
}

/** Beside the bundle: dist/cli/ and dist/renderer/. */
const FOLDER = join(dirname(fileURLToPath(import.meta.url)), '..', 'renderer');

/** Serves the page until SIGINT or SIGTERM; a second signal exits at once. */
export async function runServe(command: ServeCommand): Promise<void> {
  const { port, listen, grant } = command;
  const pid = command.pid ?? null;
  if (!existsSync(join(FOLDER, 'index.html')))
    throw new CliError(`${FOLDER} has no page; npm run setup makes it`, EXIT.failed);
  const host = access();
  const serve = (privilege: Privilege) =>
    serveUntilSignal(() =>
      startServer({
        folder: FOLDER,
        listen,
        port,
        startup: { version: VERSION, runtimeNotice: null, program: programHere(), open: { pid } },
        host,
        rights: terminalRights(privilege),
      }),
    );
  if (grant === undefined) return serve(new Privilege(host, 'sudo'));
  await withGrant(host, grant, grant === 'pages' ? target(host, pid) : null, serve);
}

function access(): HostAccess {
  try {
    return openHost();
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error), EXIT.failed);
  }
}

function target({ files }: HostAccess, pid: number | null): TargetId {
  if (pid === null) throw new CliError('--grant pages is for one process: give --pid', EXIT.usage);
  const stat = readStat(files, pid);
  if (stat.state !== 'ok')
    throw new CliError(`there is no process ${pid}; pinscope list shows the ones there are`, EXIT.noProcess);
  return { pid, startTime: String(stat.value.startTime) };
}

async function serveUntilSignal(start: () => Promise<RunningServer>): Promise<void> {
  const server = await start().catch((error: unknown) => {
    throw new CliError(whyNot(error), EXIT.failed);
  });
  // The address alone on standard output, for scripts.
  process.stdout.write(`${server.url}\n`);
  process.stderr.write(about(server));
  await new Promise<void>(resolve => {
    let asked = false;
    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      process.on(signal, () => {
        if (asked) process.exit(status);
        asked = true;
        resolve();
      });
    }
  });
  await server.close();
}

function whyNot(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return `${message}: another program listens there; give another --port, or none`;
  if (code === 'EACCES') return `${message}: ports below 1024 are root’s; give another --port`;
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `${message}: --listen takes an address of this machine`;
  return message;
}

/** What it is, for whoever started it. */
function about({ loopback, tunnel }: RunningServer): string {
  const reach = loopback
    ? ['From another machine, forward the port and open the same address there:', `  ${printable(tunnel)}`]
    : [
        'WARNING: other machines reach this address, and what passes is not encrypted: whoever listens on the',
        'network can take the token and see all that is shown. A tunnel is safer: start without --listen, and',
        `  ${printable(tunnel)}`,
      ];
  return [
    `Open this address in a browser. It shows processes of ${printable(hostname())}, read as ${userName()}.`,
    'What follows # is the password of this start: whoever has it sees the same.',
    ...reach,
    'Ctrl-C ends it. Without a browser: pinscope list and pinscope snapshot.',
    '',
  ].join('\n');
}

function userName(): string {
  try {
    return printable(userInfo().username);
  } catch {
    // /etc/passwd does not have it.
    return `user ${process.getuid?.()}`;
  }
}
