import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket as NodeSocket, type WebSocket as ServerSocket, WebSocketServer } from 'ws';
import { BROWSER_SHELL, type FromSampler, type Startup } from '../../model/contract.ts';
import { encodeMessage } from '../../model/wire.ts';
import { eventually } from '../../test/eventually.ts';
import { type Browser, SocketTransport } from './socket.ts';
import { TransportClosed, type TransportState } from './transport.ts';

const startup: Startup = { version: '1', runtimeNotice: null, open: { pid: null } };
const hello: FromSampler = {
  kind: 'event',
  event: { type: 'hello', contract: 1, samplerPid: 1, privilege: { state: 'root' }, periodMs: 1000 },
};

/** The server's side over real sockets, saying what the test wants. */
class TestServer {
  readonly sockets: ServerSocket[] = [];
  readonly asked: (string | undefined)[] = [];
  readonly protocols: string[] = [];
  refusal: { status: number; sentence: string } | null = null;
  #server: Server | null = null;
  #port = 0;

  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      this.asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      const { status, sentence } = this.refusal ?? { status: 200, sentence: JSON.stringify(startup) };
      response.writeHead(status, { connection: 'close' }).end(sentence);
    });
    new WebSocketServer({ server, handleProtocols: () => BROWSER_SHELL.protocol }).on(
      'connection',
      (socket, request) => {
        this.protocols.push(`${request.url} ${request.headers['sec-websocket-protocol']}`);
        this.sockets.push(socket);
        socket.send(encodeMessage(hello));
      },
    );
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets.splice(0)) socket.terminate();
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  }

  get browser(): Browser {
    return {
      origin: `http://127.0.0.1:${this.#port}`,
      fetch,
      socket: (url, protocols) => new NodeSocket(url, protocols) as unknown as WebSocket,
    };
  }
}

let server: TestServer;
let transport: SocketTransport;
let states: TransportState[];
let hellos: number;
beforeEach(async () => {
  server = new TestServer();
  await server.listen();
  transport = new SocketTransport(server.browser, 'abc');
  states = [];
  hellos = 0;
  transport.onState(state => states.push(state));
  transport.onEvent(event => {
    if (event.type === 'hello') hellos++;
  });
});
afterEach(async () => {
  transport.close();
  await server.stop();
});
const greeted = (times = 1) => eventually(() => expect(hellos).toBe(times));
const settled = (promise: Promise<unknown>) => promise.catch(error => error);

test('asks for the start with the token, and opens the socket with it', async () => {
  expect(await transport.start()).toEqual(startup);
  await greeted();
  expect(states).toEqual([{ state: 'open' }]);
  expect(server.asked).toEqual([`POST ${BROWSER_SHELL.startup} Bearer abc`]);
  expect(server.protocols).toEqual([
    `${BROWSER_SHELL.socket} ${BROWSER_SHELL.protocol},${BROWSER_SHELL.tokenProtocol}abc`,
  ]);
});

test('calls are JSON text and get the answer of their id', async () => {
  expect(await settled(transport.call('listProcesses'))).toBeInstanceOf(TransportClosed);
  await transport.start();
  await greeted();
  const [socket] = server.sockets;
  socket?.on('message', (data, isBinary) => {
    expect(isBinary).toBe(false);
    const { kind, id, method, args } = JSON.parse(String(data));
    socket.send(encodeMessage({ kind: 'answer', id, value: [kind, method, args] }));
  });
  expect(await transport.call('setPaused', true)).toEqual(['call', 'setPaused', [true]]);
});

describe('a connection that is lost', () => {
  test('is made again, and hello comes again; what was asked is rejected', async () => {
    await transport.start();
    await greeted();
    const asked = settled(transport.call('listProcesses'));
    server.sockets[0]?.close(1001, 'the server was stopped');
    expect(await asked).toBeInstanceOf(TransportClosed);
    await greeted(2);
    expect(states).toEqual([
      { state: 'open' },
      { state: 'lost', detail: 'the server was stopped' },
      { state: 'open' },
    ]);
  });

  test('waits for a server that is away, with growing waits', async () => {
    await transport.start();
    await greeted();
    await server.stop();
    await vi.waitFor(
      () => expect(states.filter(({ state }) => state === 'lost').length).toBeGreaterThan(2),
      10_000,
    );
    expect(states.at(-1)).toMatchObject({ detail: expect.stringContaining('does not answer') });
    await server.listen();
    await greeted(2);
    expect(transport.state).toEqual({ state: 'open' });
  });

  test('is told why a server that is full does not take it', async () => {
    server.refusal = { status: 503, sentence: '16 pages are open' };
    void transport.start();
    await eventually(() => expect(transport.state).toEqual({ state: 'lost', detail: '16 pages are open' }));
    server.refusal = null;
    await greeted();
  });
});

test('a token of another start is the end', async () => {
  server.refusal = { status: 401, sentence: 'open the address that was printed' };
  void transport.start();
  await eventually(() => expect(transport.state.state).toBe('closed'));
  expect(states).toEqual([{ state: 'closed', detail: 'open the address that was printed' }]);
  await new Promise(resolve => setTimeout(resolve, 1000));
  expect(server.asked).toHaveLength(1);
});

test.each([
  ['text', 'hello'],
  ['bytes', new ArrayBuffer(64)],
])('%s instead of a message is the end, and is said', async (_, data) => {
  await transport.start();
  await greeted();
  server.sockets[0]?.send(data);
  await eventually(() => expect(transport.state.state).toBe('closed'));
  expect(transport.state).toMatchObject({
    detail: expect.stringMatching(/could not be read: .*Load this page again/),
  });
});

test('closed, it stays closed', async () => {
  await transport.start();
  await greeted();
  transport.close();
  await eventually(() => expect(server.sockets[0]?.readyState).toBe(NodeSocket.CLOSED));
  expect(states.at(-1)).toEqual({ state: 'closed', detail: 'the page closed it' });
});
