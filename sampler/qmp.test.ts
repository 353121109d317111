import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseMaps } from '../model/proc/maps.ts';
import { parseQemuCommandLine, splitCmdline } from '../model/qemu/cmdline.ts';
import { parseQueryMemdev } from '../model/qemu/memdev.ts';
import { known } from '../model/reading.ts';
import { readGuestLayout } from './guest-memory.ts';
import { type ConnectOptions, connectQmp, type QmpClient, QmpError } from './qmp.ts';

const dir = mkdtempSync(join(tmpdir(), 'pinscope-qmp-'));
const unhandled: unknown[] = [];
const remember = (reason: unknown): void => {
  unhandled.push(reason);
};
process.on('unhandledRejection', remember);
process.on('uncaughtException', remember);
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
  process.off('unhandledRejection', remember);
  process.off('uncaughtException', remember);
});
afterEach(async () => {
  await new Promise(resolve => setTimeout(resolve, 20));
  expect(unhandled).toEqual([]);
});

const unix = (path: string) => ({ kind: 'unix', path }) as const;
async function mustConnect(path: string, options: ConnectOptions = {}): Promise<QmpClient> {
  const found = await connectQmp(unix(path), options);
  if (found.state !== 'ok') throw new Error(`${found.state}: ${found.detail}`);
  return found.client;
}
/** The QmpError that a promise fails with. */
async function refusal(promise: Promise<unknown>): Promise<QmpError> {
  const error: unknown = await promise.then(
    value => new Error(`succeeded with ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (!(error instanceof QmpError)) throw error;
  return error;
}
const ownFds = (): number => readdirSync('/proc/self/fd').length;
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}

function hasQemu(): boolean {
  try {
    execFileSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const qemuFound = hasQemu();
if (!qemuFound && process.env.PINSCOPE_NO_SKIP !== '1') {
  process.stderr.write('sampler/qmp.test.ts: qemu-system-x86_64 is not installed, its tests are skipped\n');
}

describe.skipIf(!qemuFound && process.env.PINSCOPE_NO_SKIP !== '1')('a real QEMU', () => {
  // Long enough that a sockaddr_un cannot hold it, with what a shell would trip over.
  const far = join(dir, 'deep '.repeat(12), 'x\ny'.repeat(20));
  const paths = {
    main: join(dir, 'main.sock'),
    odd: join(dir, 'a,b c\n.sock'),
    pretty: join(dir, 'pretty.sock'),
    human: join(dir, 'human.sock'),
    link: join(far, 'q.sock'),
  };
  let port = 0;
  let qemu: ReturnType<typeof spawn>;
  let gone: Promise<unknown>;

  beforeAll(async () => {
    if (!qemuFound) throw new Error('qemu-system-x86_64 is not installed');
    mkdirSync(far, { recursive: true });
    port = await freePort();
    mkdirSync(join(dir, 'far'));
    const socket = (path: string): string => `unix:${path.replaceAll(',', ',,')},server=on,wait=off`;
    qemu = spawn(
      'qemu-system-x86_64',
      [
        ...['-display', 'none', '-nodefaults', '-S', '-accel', 'tcg', '-name', 'guest=t,debug-threads=on'],
        ...['-machine', 'pc,memory-backend=mem1', '-m', '64M,maxmem=1G,slots=2'],
        ...['-object', 'memory-backend-memfd,id=mem1,size=64M,share=on'],
        ...['-object', 'memory-backend-memfd,id=mem2,size=128M', '-device', 'pc-dimm,memdev=mem2,id=dimm0'],
        ...['-qmp', socket(paths.main), '-qmp', socket(paths.odd), '-qmp-pretty', socket(paths.pretty)],
        ...['-monitor', socket(paths.human), '-qmp', `tcp:127.0.0.1:${port},server=on,wait=off`],
        ...[
          '-chardev',
          'socket,id=abs,path=pinscope-test-abs,abstract=on,server=on,wait=off',
          '-mon',
          'abs,mode=control',
        ],
        ...['-chardev', 'socket,id=far,path=far/q.sock,server=on,wait=off', '-mon', 'far,mode=control'],
      ],
      { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] },
    );
    gone = new Promise(resolve => qemu.once('exit', resolve));
    for (let i = 0; i < 100; i++) {
      const found = await connectQmp(unix(paths.main), { timeoutMs: 5000 });
      if (found.state === 'ok') {
        await found.client.close();
        return;
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error('QEMU did not start');
  });
  afterAll(async () => {
    qemu?.kill('SIGKILL');
    await gone;
  });

  it('answers at every kind of address', async () => {
    for (const path of [paths.main, paths.odd, paths.pretty]) {
      const client = await mustConnect(path);
      expect(client.version.major).toBeGreaterThanOrEqual(6);
      expect(await client.execute('query-name')).toEqual({ name: 't' });
      await client.close();
    }
    for (const host of ['localhost', '127.0.0.1', '']) {
      const found = await connectQmp({ kind: 'tcp', host, port: String(port) });
      expect(found.state).toBe('ok');
      if (found.state === 'ok') await found.client.close();
    }
  });
  it('reaches a socket whose path is longer than a socket address', async () => {
    const path = `/proc/${qemu.pid}/cwd/${'./'.repeat(80)}far/q.sock`;
    expect(path.length).toBeGreaterThan(108);
    const client = await mustConnect(path);
    expect(await client.execute('query-status')).toMatchObject({ running: false });
    await client.close();
    expect(await connectQmp(unix(`${far}/none.sock`))).toMatchObject({ state: 'none' });
  });
  it('reads busy while another client has the monitor, and ok after', async () => {
    const first = await mustConnect(paths.main);
    const second = await connectQmp(unix(paths.main), { timeoutMs: 200 });
    expect(second).toMatchObject({
      state: 'busy',
      detail: expect.stringContaining('no greeting within 200 ms'),
    });
    // Two may wait in the queue; the next gets no place.
    await connectQmp(unix(paths.main), { timeoutMs: 50 });
    const full = await connectQmp(unix(paths.main), { timeoutMs: 100 });
    expect(full).toEqual({ state: 'busy', detail: 'other clients waited for the monitor for 100 ms' });
    expect(await first.execute('query-name')).toEqual({ name: 't' });
    await first.close();
    const again = await mustConnect(paths.main, { timeoutMs: 5000 });
    await again.close();
  });
  it('sees that a monitor is taken without connecting to it', async () => {
    const listener = { netUnix: `/proc/${qemu.pid}/net/unix`, path: paths.pretty };
    const waiting = (): number =>
      readFileSync(listener.netUnix, 'latin1')
        .split('\n')
        .filter(line => line.endsWith(` ${paths.pretty}`)).length;
    const client = await mustConnect(paths.pretty, { listener });
    const before = waiting();
    expect(await connectQmp(unix(paths.pretty), { listener })).toEqual({
      state: 'busy',
      detail: 'another client is connected to the monitor',
    });
    expect(waiting()).toBe(before);
    await client.close();
    // QEMU notices a moment later.
    for (let i = 0; i < 50 && waiting() > 1; i++) await new Promise(resolve => setTimeout(resolve, 20));
    await (await mustConnect(paths.pretty, { listener })).close();
  });
  it('takes the human monitor for none', async () => {
    expect(await connectQmp(unix(paths.human))).toMatchObject({
      state: 'none',
      detail: expect.stringContaining('QMP: expected a JSON object'),
    });
  });
  it('only sends what reads state', async () => {
    const client = await mustConnect(paths.main);
    for (const command of [
      'system_reset',
      'quit',
      'cont',
      'human-monitor-command',
      'balloon',
      'query-\nquit',
      'object-add',
    ]) {
      expect((await refusal(client.execute(command))).code, command).toBe('not-read-only');
    }
    for (const line of [
      'quit',
      'gpa2hpa 0x0',
      'info mtree -f\nquit',
      'xp 0',
      'info tlb',
      'gpa2hva 0x0;quit',
    ]) {
      expect((await refusal(client.hmp(line))).code, line).toBe('not-read-only');
    }
    expect(await client.hmp('gpa2hva 0x0')).toMatch(/^Host virtual address for 0x0 \(mem1\) is 0x/);
    await client.close();
    const rig = await mustConnect(paths.main, { unrestricted: true });
    expect(await rig.hmp('gpa2hpa 0x800000000000')).toMatch(/^No memory is mapped/);
    await rig.close();
  });
  it('gives refusals of QEMU with its class, and stays usable', async () => {
    const client = await mustConnect(paths.main);
    const error = await refusal(client.execute('query-nothing'));
    expect(error).toMatchObject({ code: 'refused', qmpClass: 'CommandNotFound' });
    expect((await refusal(client.execute('qom-get', { path: '/objects/none', property: 'size' }))).code).toBe(
      'refused',
    );
    const both = await Promise.all([client.execute('query-memdev'), client.execute('query-name')]);
    expect(
      parseQueryMemdev(both[0])
        .map(memdev => memdev.id)
        .sort(),
    ).toEqual(['mem1', 'mem2']);
    expect(both[1]).toEqual({ name: 't' });
    await client.close();
    expect((await refusal(client.execute('query-name'))).code).toBe('closed');
    await client.close();
  });
  it('finds the guest memory in the memfds', async () => {
    const argv = splitCmdline(readFileSync(`/proc/${qemu.pid}/cmdline`, 'latin1'));
    const { monitors } = parseQemuCommandLine(argv);
    expect(monitors.map(monitor => [monitor.protocol, monitor.address.kind])).toEqual([
      ['qmp', 'unix'],
      ['qmp', 'unix'],
      ['qmp', 'unix'],
      ['hmp', 'unix'],
      ['qmp', 'tcp'],
      ['qmp', 'abstract'],
      ['qmp', 'unix'],
    ]);
    const address = monitors[1]?.address;
    if (address?.kind !== 'unix') throw new Error('no unix address');
    expect(address.path).toBe(paths.odd);
    const client = await mustConnect(address.path);
    const layout = await readGuestLayout(client, parseMaps(readFileSync(`/proc/${qemu.pid}/maps`, 'utf8')));
    await client.close();
    expect(known(layout)?.files.map(file => [file.backendId, file.path, file.ranges])).toEqual([
      [
        'mem1',
        '/memfd:memory-backend-memfd',
        [
          { gpa: 0, bytes: 0xc0000, offset: 0 },
          { gpa: 0x100000, bytes: 0x3f00000, offset: 0x100000 },
        ],
      ],
      ['mem2', '/memfd:memory-backend-memfd', [{ gpa: 2 ** 32, bytes: 2 ** 27, offset: 0 }]],
    ]);
    expect(known(layout)?.unknown.bytes).toBe(0);
  });
  it('leaves no descriptor and no timer behind', async () => {
    const before = ownFds();
    for (let i = 0; i < 5; i++) await (await mustConnect(paths.odd, { timeoutMs: 60_000 })).close();
    for (let i = 0; i < 3; i++) await connectQmp(unix(paths.human), { timeoutMs: 60_000 });
    expect(ownFds()).toBe(before);
    expect(process.getActiveResourcesInfo().filter(name => name === 'Timeout').length).toBeLessThan(3);
  });
  it('says what happened when QEMU is stopped, and when it is killed', async () => {
    const client = await mustConnect(paths.odd);
    qemu.kill('SIGSTOP');
    expect(await refusal(client.execute('query-name', {}, 100))).toMatchObject({
      code: 'timeout',
      message: 'query-name: no reply within 100 ms',
    });
    expect((await refusal(client.execute('query-name'))).code).toBe('closed');
    expect(await connectQmp(unix(paths.main), { timeoutMs: 100 })).toMatchObject({ state: 'busy' });
    qemu.kill('SIGCONT');
    const other = await mustConnect(paths.pretty, { timeoutMs: 5000 });
    const waiting = refusal(
      other
        .execute('query-name', {}, 5000)
        .then(() => other.execute('query-name', {}, 5000))
        .then(() => {
          qemu.kill('SIGKILL');
          return gone.then(() => other.execute('query-name', {}, 5000));
        }),
    );
    expect((await waiting).code).toBe('closed');
    expect(await connectQmp(unix(paths.main))).toMatchObject({
      state: 'none',
      detail: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('addresses without a server', () => {
  it('is none', async () => {
    writeFileSync(join(dir, 'plain'), '');
    const cases = [
      unix(join(dir, 'nothing.sock')),
      unix(join(dir, 'plain')),
      unix(dir),
      unix(''),
      unix('/a\0b'),
      unix(`/${'x'.repeat(5000)}`),
      { kind: 'tcp', host: '127.0.0.1', port: '1' },
      { kind: 'tcp', host: '192.0.2.1', port: '4444' },
      { kind: 'tcp', host: 'example.org', port: '4444' },
      { kind: 'tcp', host: '', port: '0' },
      { kind: 'tcp', host: '', port: 'http' },
      { kind: 'fd', fd: '32' },
      { kind: 'other', backend: 'stdio' },
      { kind: 'abstract', name: 'pinscope-nobody', tight: false },
    ] as const;
    for (const address of cases) {
      const found = await connectQmp(address);
      expect(found.state, JSON.stringify(address)).toBe('none');
    }
  });
  it('is denied without permission', async () => {
    // The temporary directory is for its owner alone, so another user may not look into it.
    const path = join(dir, 'closed', 'q.sock');
    mkdirSync(join(dir, 'closed'), { mode: 0 });
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65534);
    try {
      expect(await connectQmp(unix(path))).toEqual({
        state: 'denied',
        detail: expect.stringContaining('EACCES'),
      });
      const far = `${dir}/${'./'.repeat(60)}closed/q.sock`;
      expect(await connectQmp(unix(far))).toEqual({
        state: 'denied',
        detail: expect.stringContaining('EACCES'),
      });
    } finally {
      if (root) process.seteuid?.(0);
    }
  });
});

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n';

/** Servers that are no QEMU, or a sick one. Nothing here says how QEMU behaves. */
describe('hostile servers', () => {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  let count = 0;
  async function serve(talk: (socket: Socket) => void): Promise<string> {
    const path = join(dir, `hostile-${count++}.sock`);
    const server = createServer(socket => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      talk(socket);
      // Without a reader it would not notice that the client left.
      socket.resume();
    });
    servers.push(server);
    await new Promise<void>(resolve => server.listen(path, resolve));
    return path;
  }
  /** Greets, negotiates, and answers every later command with `answer`. */
  const negotiated = (answer: (socket: Socket, id: number) => void) => (socket: Socket) => {
    socket.write(GREETING);
    socket.on('data', data => {
      for (const line of data.toString().split('\n').filter(Boolean)) {
        const { execute, id } = JSON.parse(line);
        if (execute === 'qmp_capabilities') socket.write(`{"return": {}, "id": ${id}}\r\n`);
        else answer(socket, id);
      }
    });
  };
  afterEach(async () => {
    // The client let go of every one.
    for (let i = 0; i < 100 && sockets.size > 0; i++) await new Promise(resolve => setTimeout(resolve, 10));
    expect(sockets.size).toBe(0);
    for (const server of servers.splice(0)) server.close();
  });
  const flood = (socket: Socket, chunk: string): void => {
    const more = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on('drain', more);
    more();
  };

  it.each([
    ['says nothing', () => {}, 'busy', /no greeting within 150 ms/],
    ['hangs in the greeting', (s: Socket) => s.write(GREETING.slice(0, 30)), 'busy', /no greeting/],
    ['greets and hangs', (s: Socket) => s.write(GREETING), 'busy', /greeted, and then did not answer/],
    ['closes at once', (s: Socket) => s.end(), 'none', /closed the connection/],
    ['drops', (s: Socket) => s.destroy(), 'none', /closed|ECONNRESET/],
    ['closes in the greeting', (s: Socket) => s.end(GREETING.slice(0, 30)), 'none', /closed the connection/],
    [
      'talks HTTP',
      (s: Socket) => s.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'none',
      /expected a JSON object/,
    ],
    ['sends bytes', (s: Socket) => s.write(Buffer.from([0xff, 0, 0x1b, 0x5b])), 'none', /expected ASCII/],
    [
      'answers what nobody asked',
      (s: Socket) => s.write(`${GREETING}{"return": {}, "id": 77}`),
      'none',
      /nothing that was asked/,
    ],
    ['greets twice', (s: Socket) => s.write(GREETING + GREETING), 'none', /second greeting/],
    [
      'greets without a version',
      (s: Socket) => s.write('{"QMP": {}}'),
      'none',
      /expected an object as QMP.version/,
    ],
    ['floods blanks', (s: Socket) => flood(s, ' '.repeat(65536)), 'none', /bytes without a reply/],
    [
      'sends a line without end',
      (s: Socket) => flood(s, '{"QMP": "'.padEnd(65536, 'x').replaceAll('"x', 'xx')),
      'none',
      /levels|at most|JSON/,
    ],
    [
      'floods events',
      (s: Socket) => flood(s, '{"event": "E"}\n'.repeat(4000)),
      'none',
      /bytes without a reply/,
    ],
  ])('%s', async (_, talk: (socket: Socket) => void, state, detail) => {
    const path = await serve(talk);
    const slow = state === 'none' ? 20_000 : 150;
    expect(await connectQmp(unix(path), { timeoutMs: slow, maxMessageBytes: 2 ** 22 })).toEqual({
      state,
      detail: expect.stringMatching(detail),
    });
  });

  it('ends a string without end at the limit', async () => {
    const path = await serve(socket => {
      socket.write('{"QMP": "');
      flood(socket, 'x'.repeat(65536));
    });
    const found = await connectQmp(unix(path), { timeoutMs: 20_000, maxMessageBytes: 2 ** 20 });
    expect(found).toEqual({
      state: 'none',
      detail: expect.stringMatching(/a message of at most 1048576 bytes/),
    });
  });
  it.each([
    ['hangs', () => {}, 'timeout'],
    ['closes', (s: Socket) => s.end(), 'closed'],
    ['closes in the reply', (s: Socket, id: number) => s.end(`{"return": [1, 2], "id": ${id}`), 'closed'],
    ['drops', (s: Socket) => s.destroy(), 'closed'],
    ['sends garbage', (s: Socket) => s.write('(qemu) '), 'protocol'],
    [
      'answers something else',
      (s: Socket, id: number) => s.write(`{"return": {}, "id": ${id + 1}}`),
      'protocol',
    ],
    [
      'answers without id',
      (s: Socket) => s.write('{"error": {"class": "GenericError", "desc": "JSON parse error"}}'),
      'protocol',
    ],
    ['answers no text', (s: Socket, id: number) => s.write(`{"return": {}, "id": ${id}}`), 'protocol'],
    [
      'drips',
      (s: Socket) => setInterval(() => s.destroyed || s.write('{"event": "E"}'), 5).unref(),
      'timeout',
    ],
    ['floods events', (s: Socket) => flood(s, '{"event": "E"}\n'.repeat(4000)), 'too-long'],
    [
      'sends a string without end',
      (s: Socket) => {
        s.write('{"return": "');
        flood(s, 'x'.repeat(65536));
      },
      'too-long',
    ],
  ])('a reply: %s', async (_, answer: (socket: Socket, id: number) => void, code) => {
    const path = await serve(negotiated(answer));
    const client = await mustConnect(path, { timeoutMs: 5000, maxMessageBytes: 2 ** 22 });
    const started = Date.now();
    expect((await refusal(client.hmp('info mtree -f', code === 'timeout' ? 150 : 20_000))).code).toBe(code);
    expect((await refusal(client.hmp('info mtree -f'))).code).toBe('closed');
    expect(Date.now() - started).toBeLessThan(15_000);
    await client.close();
  });
  it('fails everything that waits when one reply is late', async () => {
    const path = await serve(negotiated(() => {}));
    const client = await mustConnect(path);
    const all = ['query-name', 'query-memdev', 'query-kvm'].map((command, i) =>
      refusal(client.execute(command, {}, 100 + 1000 * i)),
    );
    expect((await Promise.all(all)).map(error => error.code)).toEqual(['timeout', 'timeout', 'timeout']);
    await client.close();
  });
  it('makes a map that cannot be true absent, and one that changes raced', async () => {
    const view = (end: string): string =>
      `FlatView #0\n AS "memory", root: system\n Root memory region: system\n  0000000000000000-${end} (prio 0, ram): m\n\n`;
    const layoutWith = async (...replies: string[]) => {
      const path = await serve(
        negotiated((socket, id) =>
          socket.write(`${JSON.stringify({ return: replies.shift() ?? '', id })}\n`),
        ),
      );
      const client = await mustConnect(path);
      const layout = await readGuestLayout(client, []);
      await client.close();
      return layout;
    };
    const hva = 'Host virtual address for 0x0 (m) is 0x7f0000000000\r\n';
    const small = view('0000000000000fff');
    expect(await layoutWith(small, hva, small)).toMatchObject({
      state: 'ok',
      value: { files: [], unknown: { bytes: 4096 } },
    });
    expect(await layoutWith(small, hva, view('0000000000001fff'))).toMatchObject({ state: 'raced' });
    expect(await layoutWith(small, 'No memory is mapped at address 0x0\r\n')).toMatchObject({
      state: 'raced',
    });
    expect(await layoutWith(small, hva.replace('(m)', '(n)'))).toMatchObject({ state: 'raced' });
    expect(await layoutWith('nonsense')).toMatchObject({
      state: 'absent',
      detail: expect.stringContaining('info mtree -f'),
    });
    expect(await layoutWith(small, 'nonsense')).toMatchObject({
      state: 'absent',
      detail: expect.stringContaining('gpa2hva'),
    });
  });
});
