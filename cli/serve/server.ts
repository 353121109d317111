import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import type { Startup } from '../../model/contract.ts';
import type { HostAccess } from '../../sampler/access.ts';
import type { Rights } from '../../sampler/privilege.ts';
import { serveSession } from '../../sampler/serve.ts';
import { isLoopback, ownHosts, pageUrl, tunnelLine } from './addresses.ts';
import type { Gate } from './gate.ts';
import { LimitedServer, pageHandler, refuseRaw } from './http.ts';
import { loadPage } from './page.ts';
import { Sockets } from './sockets.ts';
import { makeToken } from './tokens.ts';

export interface ServeOptions {
  /** The built page. */
  readonly folder: string;
  /** Address or name of this machine, as the user wrote it. */
  readonly listen: string;
  /** 0: one that is free. */
  readonly port: number;
  readonly startup: Startup;
  readonly host: HostAccess;
  readonly rights: Rights;
}

export interface RunningServer {
  /** What to open: with the token. */
  readonly url: string;
  /** Only this machine reaches it. */
  readonly loopback: boolean;
  /** The line of ssh that brings it to another machine. */
  readonly tunnel: string;
  /** Sessions now, and samples that their pages could not take. */
  readonly sessions: { readonly count: number; readonly skipped: number };
  /** Ends every connection and session. */
  close(): Promise<void>;
}

/**
 * The page and a sampler for it, over HTTP. Rejects when the page is not built or the address cannot be had.
 *
 * The sampler runs in this process: what it reads it reads in chunks on pool threads, between which requests are answered, and one
 * process is one thing to end, with the terminal that sudo asks on. A page costs it a session like a window's, and the bounds
 * here (sessions, bytes of a call, calls a second, bytes under way) are what keeps pages from costing more.
 */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const page = loadPage(options.folder);
  const token = makeToken();
  // Nobody is heard before it is known what was bound.
  let gate: Gate = { token, hosts: new Set() };
  const sockets = new Sockets(channel => serveSession(options.host, options.rights, channel));
  const limited: LimitedServer = new LimitedServer(
    pageHandler(
      page,
      () => gate,
      options.startup,
      request => limited.tooMany(request),
      () => sockets.full(),
    ),
  );
  const { server } = limited;
  server.on('upgrade', (request, socket, head) => {
    const refusal = limited.tooMany(request);
    if (refusal !== null) refuseRaw(socket, refusal);
    else sockets.upgrade(request, socket, head, gate);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.listen, port: options.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address() as AddressInfo;
  gate = { token, hosts: ownHosts(bound, options.listen) };
  return {
    url: pageUrl(bound, options.listen, token),
    loopback: isLoopback(bound),
    tunnel: tunnelLine(bound, options.listen, hostname()),
    get sessions() {
      return { count: sockets.count, skipped: sockets.skipped };
    },
    async close() {
      const closed = new Promise(resolve => server.close(resolve));
      sockets.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
