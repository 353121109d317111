import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { BROWSER_SHELL, type FromSampler, type SamplerService } from '../model/contract.ts';
import { decodeMessage } from '../model/wire.ts';

/** Clients of `pinscope serve`, good and bad, over real sockets. */

/** A page as Vite builds one, in a folder of its own, beside a file that is none of it. */
export function builtPage(): { readonly folder: string; remove(): void } {
  const home = mkdtempSync(join(tmpdir(), 'pinscope-page-'));
  const folder = join(home, 'renderer');
  mkdirSync(join(folder, 'assets'), { recursive: true });
  writeFileSync(join(home, 'secret.js'), 'secret');
  writeFileSync(join(folder, 'index.html'), '<!doctype html><html><head></head><body>the page</body></html>');
  writeFileSync(join(folder, 'assets/index-1.js'), 'console.log(1)');
  writeFileSync(join(folder, 'assets/index-1.js.map'), '{}');
  return { folder, remove: () => rmSync(home, { recursive: true, force: true }) };
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** One request on a connection of its own; `path` is sent as it is. */
export function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, response => {
      let text = '';
      response
        .setEncoding('utf8')
        .on('data', data => {
          text += data;
        })
        .on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        .on('error', reject);
    });
    asked.on('error', reject).end();
  });
}

/** A URL that was printed, in its parts. */
export function partsOf(url: string): {
  readonly port: number;
  readonly token: string;
  readonly origin: string;
} {
  const { port, hash, origin } = new URL(url);
  return { port: Number(port), token: hash.slice(1), origin };
}

export interface SocketOptions {
  readonly token?: string | null;
  readonly origin?: string | null;
  readonly host?: string;
  readonly path?: string;
}

/** A WebSocket as a page opens it, but for what is changed. */
export function openSocket(url: string, change: SocketOptions = {}): WebSocket {
  const { port, token, origin } = partsOf(url);
  const given = change.token === undefined ? token : change.token;
  const protocols = [
    BROWSER_SHELL.protocol,
    ...(given === null ? [] : [`${BROWSER_SHELL.tokenProtocol}${given}`]),
  ];
  const from = change.origin === undefined ? origin : change.origin;
  const socket = new WebSocket(`ws://127.0.0.1:${port}${change.path ?? BROWSER_SHELL.socket}`, protocols, {
    ...(from === null ? {} : { origin: from }),
    headers: change.host === undefined ? {} : { host: change.host },
    perMessageDeflate: true,
  });
  socket.binaryType = 'arraybuffer';
  return socket;
}

/** The status that refused a WebSocket; 101: it was opened (and is closed again). */
export function statusOf(socket: WebSocket): Promise<number> {
  return new Promise((resolve, reject) => {
    socket.on('open', () => {
      socket.terminate();
      resolve(101);
    });
    socket.on('unexpected-response', (_request, response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    socket.on('error', reject);
  });
}

/** A page that behaves: reads everything, asks now and then. */
export class GoodPage {
  readonly socket: WebSocket;
  readonly messages: FromSampler[] = [];
  private id = 0;

  constructor(url: string) {
    this.socket = openSocket(url);
    this.socket.on('message', data => this.messages.push(decodeMessage(data as ArrayBuffer)));
  }

  call<M extends keyof SamplerService>(method: M, ...args: Parameters<SamplerService[M]>): number {
    const id = ++this.id;
    this.socket.send(JSON.stringify({ kind: 'call', id, method, args }));
    return id;
  }

  get samples(): number {
    return this.messages.filter(m => m.kind === 'event' && m.event.type === 'sample').length;
  }
}

/** A TCP connection that says this text; nothing of what comes is read until it is resumed. */
export function rawSocket(port: number, text = ''): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write(text));
  socket.on('error', () => {});
  socket.pause();
  return socket;
}

/** The request that makes a raw connection a WebSocket. */
export function upgradeText(url: string): string {
  const { port, token, origin } = partsOf(url);
  return [
    `GET ${BROWSER_SHELL.socket} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    `Origin: ${origin}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==',
    `Sec-WebSocket-Protocol: ${BROWSER_SHELL.protocol}, ${BROWSER_SHELL.tokenProtocol}${token}`,
    '\r\n',
  ].join('\r\n');
}
