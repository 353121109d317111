import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  STATUS_CODES,
} from 'node:http';
import type { Duplex } from 'node:stream';
import { BROWSER_SHELL, type Startup } from '../../model/contract.ts';
import { pageHeaders } from '../../model/page-files.ts';
import { type Gate, type Refusal, refuseHost, refuseOrigin, refuseToken } from './gate.ts';
import type { Page } from './page.ts';

/** Connections that are no session, at once; a browser makes six. */
export const MAX_SOCKETS = 64;

/** What one client can hold without saying anything, and for how long. */
const LIMITS = {
  headersTimeout: 5000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8 * 1024,
};
const IDLE_MS = 30_000;

/** Headers of everything: nothing of it is kept, and no other origin may use it. */
const CLOSED = {
  'cache-control': 'no-store',
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;
const TEXT = { ...CLOSED, 'content-type': 'text/plain; charset=utf-8' } as const;

/** A server that limits what one client can hold, not yet listening. */
export class LimitedServer {
  readonly server: Server;
  private sockets = 0;
  private readonly beyond = new WeakSet<Duplex>();

  constructor(handle: RequestListener) {
    this.server = createServer(LIMITS, handle);
    this.server.timeout = IDLE_MS;
    // Of those beyond the limits some are told so, all others are just closed.
    this.server.maxConnections = 2 * MAX_SOCKETS;
    this.server.on('connection', socket => {
      if (++this.sockets > MAX_SOCKETS) this.beyond.add(socket);
      let counted = true;
      const leave = () => {
        if (counted) this.sockets--;
        counted = false;
      };
      // One that became a session counts there.
      socket.once('close', leave).once('pinscope-session', leave);
    });
  }

  /** A refusal for a connection that was one too many when it came. */
  tooMany({ socket }: IncomingMessage): Refusal | null {
    if (!this.beyond.has(socket)) return null;
    return { status: 503, sentence: `More than ${MAX_SOCKETS} connections at once: close other pages.` };
  }
}

/** Answers in full on a socket that is no response's, and closes it. */
export function refuseRaw(socket: Duplex, { status, sentence }: Refusal): void {
  const body = `${sentence}\n`;
  const headers = { ...TEXT, connection: 'close', 'content-length': Buffer.byteLength(body) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.on('error', () => {});
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
  // The other side may not close.
  setTimeout(() => socket.destroy(), 1000).unref();
}

/**
 * Answers requests: files of the page to everybody, as they hold no secret, and the start to the page with the token.
 * @param refuse by connection
 * @param full a refusal while no session more is taken
 */
export function pageHandler(
  page: Page,
  gate: () => Gate,
  startup: Startup,
  refuse: (request: IncomingMessage) => Refusal | null,
  full: () => Refusal | null,
): RequestListener {
  const answerTo = (request: IncomingMessage): Answer | Refusal => {
    const refusal = refuse(request) ?? refuseBody(request) ?? refuseHost(request, gate());
    if (refusal !== null) return refusal;
    const path = pathOf(request);
    return path === BROWSER_SHELL.startup
      ? answerStartup(request, gate(), startup, full)
      : answerFile(request, page, path);
  };
  return (request, response) => {
    const answer = answerTo(request);
    if ('sentence' in answer) {
      // With the connection ends what is behind a request that is refused.
      response.writeHead(answer.status, { ...TEXT, connection: 'close' });
      response.end(request.method === 'HEAD' ? undefined : `${answer.sentence}\n`);
    } else {
      response.writeHead(200, { ...answer.headers, ...CLOSED, 'content-length': answer.body.length });
      response.end(request.method === 'HEAD' ? undefined : answer.body);
    }
  };
}

function refuseBody({ headers }: IncomingMessage): Refusal | null {
  const length = headers['content-length'] ?? '0';
  if (length === '0' && headers['transfer-encoding'] === undefined) return null;
  return { status: 413, sentence: 'Nothing here takes a body.' };
}

/** As it was sent, without what is behind a question mark: names of the page need no decoding. */
export const pathOf = ({ url = '' }: IncomingMessage): string => url.split('?', 1)[0] ?? '';

interface Answer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

function answerFile(
  { method, headers: { host } }: IncomingMessage,
  page: Page,
  path: string,
): Answer | Refusal {
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, sentence: 'Files of the page are only read.' };
  const file = page.get(path);
  // By name, as not every browser takes a WebSocket of the same origin for 'self'.
  const headers = file && pageHeaders(file.extension, [`ws://${host}`]);
  return file && headers
    ? { headers, body: file.body }
    : { status: 404, sentence: 'The page has no such file.' };
}

function answerStartup(
  request: IncomingMessage,
  gate: Gate,
  startup: Startup,
  full: () => Refusal | null,
): Answer | Refusal {
  if (request.method !== 'POST') return { status: 405, sentence: 'The start is asked for by POST.' };
  const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const refusal = refuseOrigin(request) ?? refuseToken(given, gate) ?? full();
  if (refusal !== null) return refusal;
  return {
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: Buffer.from(JSON.stringify(startup)),
  };
}
