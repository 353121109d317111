import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { BROWSER_SHELL } from '../../model/contract.ts';
import { openHost } from '../../sampler/access.ts';
import { Privilege } from '../../sampler/privilege.ts';
import { eventually } from '../../test/eventually.ts';
import {
  ask,
  builtPage,
  GoodPage,
  openSocket,
  partsOf,
  rawSocket,
  statusOf,
  upgradeText,
} from '../../test/served.ts';
import { MAX_SOCKETS } from './http.ts';
import { terminalRights } from './rights.ts';
import { type RunningServer, startServer } from './server.ts';
import { MAX_MESSAGES_A_SECOND, MAX_SESSIONS } from './sockets.ts';

const page = builtPage();
const host = openHost();
const startup = { version: '1.2.3', runtimeNotice: null, open: { pid: 7 } };
const start = (listen = '127.0.0.1') =>
  startServer({
    folder: page.folder,
    listen,
    port: 0,
    startup,
    host,
    rights: terminalRights(new Privilege(host, 'sudo')),
  });
let server: RunningServer;
let url: string;
let port: number;
let token: string;
beforeAll(async () => {
  server = await start();
  ({ url } = server);
  ({ port, token } = partsOf(url));
});
afterAll(async () => {
  await server.close();
  page.remove();
});

/** Something to watch: a process of our own. */
const watched = spawn('sleep', ['600']);
afterAll(() => watched.kill());
const target = () => {
  const { pid = -1 } = watched;
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return { pid, startTime: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '' };
};

/** A page that watches, and what checks afterwards that its samples came as ever. */
async function watchingPage() {
  const good = new GoodPage(url);
  onTestFinished(() => good.socket.terminate());
  await once(good.socket, 'open');
  good.call('watch', target());
  await eventually(() => expect(good.samples).toBeGreaterThan(0));
  return {
    good,
    async goesOn() {
      const before = good.samples;
      await eventually(() => expect(good.samples).toBeGreaterThan(before + 1));
      expect(good.socket.readyState).toBe(good.socket.OPEN);
    },
  };
}
const noSessions = () => eventually(() => expect(server.sessions.count).toBe(0));

describe('the page', () => {
  test('is served without the token, marked as that of the browser shell, with the policy of the window', async () => {
    const { status, headers, text } = await ask(port, '/');
    expect(status).toBe(200);
    expect(text).toContain('<meta name="pinscope-shell" content="browser" />');
    expect(text).not.toContain(token);
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
    });
    expect(headers).not.toHaveProperty('access-control-allow-origin');
    expect(headers).not.toHaveProperty('set-cookie');
    const policy = headers['content-security-policy'];
    expect(policy).toContain(`default-src 'none'; script-src 'self'`);
    expect(policy).toContain(`connect-src 'self' ws://127.0.0.1:${port};`);
    expect(policy).not.toMatch(/unsafe-|\*/);
    expect((await ask(port, '/index.html?pid=3')).text).toBe(text);
    expect((await ask(port, '/assets/index-1.js')).text).toBe('console.log(1)');
    expect((await ask(port, '/', { method: 'HEAD' })).text).toBe('');
  });

  test.each([
    '/../secret.js',
    '/assets/../../secret.js',
    '/%2e%2e/secret.js',
    '/..%2fsecret.js',
    '/assets/..%5c..%5csecret.js',
    '//secret.js',
    '/assets/index-1.js.map',
    '/assets/',
    '/assets',
    '/assets/index-1.js%00.html',
    'http://127.0.0.1/secret.js',
    '/etc/passwd',
    '/__proto__',
  ])('has no file %s', async path => {
    const { status, text } = await ask(port, path);
    expect([status, text]).toEqual([404, 'The page has no such file.\n']);
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])('is not asked by %s', async method => {
    expect((await ask(port, '/', { method })).status).toBe(405);
  });
});

describe('who is answered', () => {
  const post = (headers: Record<string, string>) =>
    ask(port, BROWSER_SHELL.startup, { method: 'POST', headers });
  const own = () => ({ origin: `http://127.0.0.1:${port}`, authorization: `Bearer ${token}` });

  test('the start is told to the page with the token', async () => {
    const { status, text, headers } = await post(own());
    expect([status, JSON.parse(text)]).toEqual([200, startup]);
    expect(headers['cache-control']).toBe('no-store');
    expect((await ask(port, BROWSER_SHELL.startup, { headers: own() })).status).toBe(405);
  });

  test('no token, another token, or half of it', async () => {
    const { authorization: _, ...without } = own();
    for (const headers of [
      without,
      ...['', 'Bearer ', 'Bearer x', `Basic ${token}`, `Bearer ${token}x`, `Bearer ${token.slice(1)}`].map(
        authorization => ({ ...without, authorization }),
      ),
    ]) {
      const { status, text } = await post(headers);
      expect(status).toBe(401);
      expect(text).toMatch(/: open the address that pinscope serve has printed\.\n$/);
      expect(text).not.toContain(token);
    }
    for (const given of [null, '', 'x', `${token}x`, token.toUpperCase()])
      expect(await statusOf(openSocket(url, { token: given }))).toBe(401);
  });

  test('every start has another token, of 256 bits', async () => {
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    const other = await start();
    expect(partsOf(other.url).token).not.toBe(token);
    expect(await statusOf(openSocket(other.url, { token }))).toBe(401);
    await other.close();
  });

  test('a page of another origin is refused, also with the token', async () => {
    const origins = [
      'https://example.com',
      'null',
      `https://127.0.0.1:${port}`,
      'http://127.0.0.1',
      `http://127.0.0.1:${port + 1}`,
      `http://localhost:${port}`,
      `http://127.0.0.1:${port}.example.com`,
    ];
    for (const origin of origins) {
      expect((await post({ ...own(), origin })).status).toBe(403);
      expect(await statusOf(openSocket(url, { origin }))).toBe(403);
    }
    const { origin: _, ...without } = own();
    expect((await post(without)).status).toBe(403);
    expect(await statusOf(openSocket(url, { origin: null }))).toBe(403);
  });

  test('a name that was made to lead here is refused, for files too', async () => {
    for (const name of ['evil.example', `evil.example:${port}`, '127.0.0.1', `127.0.0.1:${port + 1}`]) {
      const { status, text } = await ask(port, '/', { headers: { host: name } });
      expect(status).toBe(421);
      expect(text).toContain(`open one of 127.0.0.1:${port}, localhost:${port}, [::1]:${port}`);
      const rebound = { host: name, origin: `http://${name}` };
      expect((await post({ ...own(), ...rebound })).status).toBe(421);
      expect(await statusOf(openSocket(url, rebound))).toBe(421);
    }
    for (const name of [`localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`]) {
      expect((await ask(port, '/', { headers: { host: name } })).status).toBe(200);
      expect(await statusOf(openSocket(url, { host: name, origin: `http://${name}` }))).toBe(101);
    }
  });

  test('what a refusal shows of a request has no control characters', async () => {
    const { text } = await ask(port, '/', { headers: { host: 'a\x9b31mb' } });
    expect(text).not.toMatch(/[\x80-\x9f]/);
  });

  test('another socket than the sampler’s is not there', async () => {
    expect(await statusOf(openSocket(url, { path: '/' }))).toBe(404);
  });

  test('with --listen, the name that was given', async () => {
    const named = await start('127.0.0.2');
    onTestFinished(() => named.close());
    expect(new URL(named.url).hostname).toBe('127.0.0.2');
    expect([named.loopback, named.tunnel]).toEqual([
      true,
      expect.stringMatching(/^ssh -L (\d+):127\.0\.0\.2:\1 /),
    ]);
    const every = await start('0.0.0.0');
    onTestFinished(() => every.close());
    expect([every.loopback, every.tunnel]).toEqual([
      false,
      expect.stringMatching(/^ssh -L (\d+):127\.0\.0\.1:\1 /),
    ]);
    const other = partsOf(every.url);
    expect((await ask(other.port, '/', { headers: { host: `evil.example:${other.port}` } })).status).toBe(
      421,
    );
  });
});

describe('a session', () => {
  test('is that of a window: hello, answers, samples', async () => {
    const { good, goesOn } = await watchingPage();
    expect(good.messages[0]).toMatchObject({
      kind: 'event',
      event: { type: 'hello', samplerPid: process.pid },
    });
    const id = good.call('listProcesses');
    await eventually(() =>
      expect(good.messages).toContainEqual(
        expect.objectContaining({
          kind: 'answer',
          id,
          value: expect.objectContaining({ schema: 'pinscope.processes/1' }),
        }),
      ),
    );
    await goesOn();
    expect(good.socket.extensions).toBe('');
    good.socket.close();
    await noSessions();
  });

  test.each([
    ['a binary message', Buffer.from('{}'), 1003],
    ['no JSON', '{', 1008],
    ['a message of 100 MB', 'x'.repeat(100 * 1024 * 1024), 1009],
  ])('%s ends it, and no other', async (_, message, code) => {
    const { goesOn } = await watchingPage();
    const bad = openSocket(url);
    await once(bad, 'open');
    bad.on('error', () => {});
    bad.send(message);
    // The server closes before all of it was sent; the client may see only that.
    const [seen] = (await once(bad, 'close')) as [number];
    expect([code, 1006]).toContain(seen);
    await goesOn();
  });

  test('what is no call of the contract is answered, and does nothing', async () => {
    const bad = new GoodPage(url);
    await once(bad.socket, 'open');
    bad.socket.send(JSON.stringify({ kind: 'call', id: 5, method: 'constructor', args: [] }));
    await eventually(() =>
      expect(bad.messages).toContainEqual({
        kind: 'error',
        id: 5,
        message: 'refused: this is no call of the contract',
      }),
    );
    bad.socket.terminate();
  });

  test('a loop of calls ends it', async () => {
    const { goesOn } = await watchingPage();
    const bad = new GoodPage(url);
    await once(bad.socket, 'open');
    for (let i = 0; i < 3 * MAX_MESSAGES_A_SECOND; i++) bad.call('setPaused', true);
    expect(await once(bad.socket, 'close')).toEqual([1008, Buffer.from('too many calls')]);
    await goesOn();
  });
});

describe('too many', () => {
  test(`at most ${MAX_SESSIONS} sessions; one more is told why`, async () => {
    await noSessions();
    const { good, goesOn } = await watchingPage();
    const others = await Promise.all(
      Array.from({ length: MAX_SESSIONS - 1 }, async () => {
        const socket = openSocket(url);
        await once(socket, 'open');
        return socket;
      }),
    );
    expect(await statusOf(openSocket(url))).toBe(503);
    const { status, text } = await ask(port, BROWSER_SHELL.startup, {
      method: 'POST',
      headers: { origin: `http://127.0.0.1:${port}`, authorization: `Bearer ${token}` },
    });
    expect([status, text]).toEqual([
      503,
      `${MAX_SESSIONS} pages are open, which is the limit: close one of them.\n`,
    ]);
    await goesOn();
    for (const socket of others) socket.terminate();
    await eventually(() => expect(server.sessions.count).toBe(1));
    expect(await statusOf(openSocket(url))).toBe(101);
    good.socket.terminate();
    await noSessions();
  });

  test('200 connections that say nothing, or half a request: refused or closed, and forgotten', async () => {
    const { goesOn } = await watchingPage();
    const halves = ['', 'GET / HTTP/1.1\r\nHost: x', upgradeText(url).slice(0, 60)];
    const sockets = Array.from({ length: 200 }, (_, i) => rawSocket(port, halves[i % 3]));
    let open = sockets.length;
    for (const socket of sockets) {
      socket.resume();
      socket.on('close', () => open--);
    }
    await eventually(() => expect(open).toBeLessThanOrEqual(2 * MAX_SOCKETS));
    // Also while they stand, whoever comes is told.
    const answer = await ask(port, '/').catch(() => null);
    if (answer !== null) expect([200, 503]).toContain(answer.status);
    await goesOn();
    await eventually(() => expect(open).toBe(0));
    expect((await ask(port, '/')).status).toBe(200);
  });

  test('a body of 100 MB is not taken', async () => {
    const { goesOn } = await watchingPage();
    const socket = rawSocket(
      port,
      `POST ${BROWSER_SHELL.startup} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 104857600\r\n\r\n`,
    );
    let text = '';
    socket.on('data', data => {
      text += data;
    });
    const chunk = Buffer.alloc(1024 * 1024);
    let sent = 0;
    const more = () => {
      while (sent < 100 && !socket.destroyed && socket.write(chunk)) sent++;
    };
    socket.on('drain', () => {
      sent++;
      more();
    });
    socket.resume();
    socket.on('connect', more);
    await new Promise(resolve => socket.once('close', resolve));
    expect(text).toMatch(/^(HTTP\/1\.1 413 .*)?$/s);
    expect(sent).toBeLessThan(100);
    await goesOn();
  });
});

test('close ends sessions, connections and the port', async () => {
  const own = await start();
  const session = openSocket(own.url);
  await once(session, 'open');
  const idle = rawSocket(partsOf(own.url).port);
  idle.resume();
  await once(idle, 'connect');
  const ends = [once(session, 'close'), once(idle, 'close')];
  await sleep(50);
  await own.close();
  const [[code]] = (await Promise.all(ends)) as [[number], unknown];
  expect(code).toBe(1001);
  await expect(ask(partsOf(own.url).port, '/')).rejects.toThrow(/ECONNREFUSED/);
});
