import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { BROWSER_SHELL } from '../../model/contract.ts';
import type { Channel, ServedSession } from '../../sampler/serve.ts';
import { type Gate, type Refusal, refuseHost, refuseOrigin, refuseToken } from './gate.ts';
import { pathOf, refuseRaw } from './http.ts';
import { Outbox } from './outbox.ts';

/** Pages at once: each has a sampler that takes a sample a second. */
export const MAX_SESSIONS = 16;
/** A call is some hundred bytes. */
export const MAX_MESSAGE_BYTES = 64 * 1024;
/** A page makes a call a key press; a loop is no page of ours. */
export const MAX_MESSAGES_A_SECOND = 100;
/** A page that has not answered a ping when the next is due is gone, or does not read. */
const PING_MS = 15_000;

/** Why the server closes a WebSocket: codes of RFC 6455, section 7.4.1. */
const CLOSE = { goingAway: 1001, unsupported: 1003, policy: 1008 } as const;

/** The WebSockets of pages with the token, each with a session of the sampler. */
export class Sockets {
  private readonly server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    // It would be a way to make small messages large, and costs more than the loopback gains.
    perMessageDeflate: false,
    handleProtocols: () => BROWSER_SHELL.protocol,
  });
  private readonly outboxes = new Map<WebSocket, Outbox>();

  constructor(private readonly open: (channel: Channel) => ServedSession) {}

  /** Sessions now. */
  get count(): number {
    return this.outboxes.size;
  }
  /** Samples that slow pages could not take, of the sessions of now. */
  get skipped(): number {
    return [...this.outboxes.values()].reduce((sum, { skipped }) => sum + skipped, 0);
  }

  /** A refusal while there are as many as there may be. */
  full(): Refusal | null {
    if (this.count < MAX_SESSIONS) return null;
    const sentence = `${MAX_SESSIONS} pages are open, which is the limit: close one of them.`;
    return { status: 503, sentence };
  }

  /** Takes a request to become a WebSocket, or refuses it before it is one. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, gate: Gate): void {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/ *, */);
    const token = offered.find(protocol => protocol.startsWith(BROWSER_SHELL.tokenProtocol));
    const refusal =
      refuseHost(request, gate) ??
      refuseOrigin(request) ??
      refuseToken(token?.slice(BROWSER_SHELL.tokenProtocol.length), gate) ??
      (pathOf(request) === BROWSER_SHELL.socket && offered.includes(BROWSER_SHELL.protocol)
        ? this.full()
        : ({ status: 404, sentence: 'There is no such socket.' } as const));
    if (refusal !== null) {
      refuseRaw(socket, refusal);
      return;
    }
    this.server.handleUpgrade(request, socket, head, page => {
      socket.emit('pinscope-session');
      this.serve(page);
    });
  }

  /** Says goodbye to all, and waits for nobody. */
  close(): void {
    for (const page of this.outboxes.keys()) {
      page.close(CLOSE.goingAway, 'the server was stopped');
      // A page that does not answer must not keep the program.
      setTimeout(() => page.terminate(), 500).unref();
    }
    this.server.close();
  }

  private serve(page: WebSocket): void {
    const outbox = new Outbox(
      {
        get bufferedAmount() {
          return page.bufferedAmount;
        },
        send: (data, done) => page.send(data, done),
      },
      () => page.terminate(),
    );
    this.outboxes.set(page, outbox);
    const session = this.open({ send: message => outbox.send(message) });
    const beat = new Heartbeat(page);
    const rate = new Rate();
    page.on('message', (data, isBinary) => {
      if (!rate.take()) page.close(CLOSE.policy, 'too many calls');
      else if (isBinary) page.close(CLOSE.unsupported, 'calls are text');
      else receive(session, data, page);
    });
    // Too large, no UTF-8, no frame: ws closes it with the code that says so.
    page.on('error', () => {});
    page.once('close', () => {
      beat.stop();
      this.outboxes.delete(page);
      session.close();
    });
  }
}

function receive(session: ServedSession, data: RawData, page: WebSocket): void {
  if (page.readyState !== page.OPEN) return;
  let message: unknown;
  try {
    message = JSON.parse(String(data));
  } catch {
    page.close(CLOSE.policy, 'a call is JSON');
    return;
  }
  session.receive(message);
}

/** Ends a connection whose other side has gone without a word, or reads nothing. */
class Heartbeat {
  private alive = true;
  private readonly timer: NodeJS.Timeout;

  constructor(page: WebSocket) {
    page.on('pong', () => {
      this.alive = true;
    });
    this.timer = setInterval(() => {
      if (!this.alive) page.terminate();
      this.alive = false;
      page.ping();
    }, PING_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}

/** Counts messages by the second. */
class Rate {
  private second = 0;
  private taken = 0;

  take(): boolean {
    const now = Math.floor(performance.now() / 1000);
    if (now !== this.second) {
      this.second = now;
      this.taken = 0;
    }
    return ++this.taken <= MAX_MESSAGES_A_SECOND;
  }
}
