import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadNative } from './index.ts';

const native = loadNative();
const openFds = () => readdirSync('/proc/self/fd').length;

let ours: number;
let theirs: number;
beforeEach(() => {
  [ours, theirs] = native.socketPair();
});
afterEach(() => {
  for (const fd of new Set([ours, theirs])) if (fd >= 0) closeSync(fd);
});
const closeTheirs = () => {
  closeSync(theirs);
  theirs = -1;
};

/** Sends descriptors as no export does. Runs in a child that has the socket as its standard input. */
async function sendFds(code: string, ...more: string[]): Promise<void> {
  const script = `import array, os, socket, sys
s = socket.socket(fileno=0)
def send(data, fds): s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
${code}`;
  const child = spawn('python3', ['-c', script, ...more], { stdio: [theirs, 'ignore', 'inherit'] });
  const [exit] = await once(child, 'exit');
  expect(exit).toBe(0);
}

describe('a pair of sockets', () => {
  test('close-on-exec, packets whole and in order, both ways', () => {
    for (const fd of [ours, theirs]) {
      const flags = /^flags:\s*0(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
      expect(Number.parseInt(flags ?? '', 8) & 0o2000000).toBe(0o2000000);
      expect(fstatSync(fd).isSocket()).toBe(true);
    }
    native.sendPacket(ours, Uint8Array.of(1, 2, 3), 0);
    native.sendPacket(ours, Uint8Array.of(4), 0);
    expect(native.receivePacket(theirs, 100, 0)).toEqual({ data: Uint8Array.of(1, 2, 3), fds: [] });
    expect(native.receivePacket(theirs, 1, 0)).toEqual({ data: Uint8Array.of(4), fds: [] });
    const large = new Uint8Array(100_000).map((_, i) => i);
    native.sendPacket(theirs, large.subarray(10), 0);
    expect(native.receivePacket(ours, 1 << 20, 0).data).toEqual(large.subarray(10));
  });

  test('what is longer than asked for is refused, and the next one is whole', () => {
    native.sendPacket(ours, new Uint8Array(101), 0);
    native.sendPacket(ours, Uint8Array.of(7), 0);
    expect(() => native.receivePacket(theirs, 100, 0)).toThrow(
      expect.objectContaining({ code: 'EMSGSIZE', syscall: 'recvmsg', path: `fd ${theirs}` }),
    );
    expect(native.receivePacket(theirs, 100, 0).data).toEqual(Uint8Array.of(7));
  });

  test('nothing comes: a timeout; the other end closes: told as such', () => {
    const started = performance.now();
    expect(() => native.receivePacket(ours, 1, 30)).toThrow(
      expect.objectContaining({ code: 'ETIMEDOUT', syscall: 'poll', path: `fd ${ours}` }),
    );
    expect(performance.now() - started).toBeGreaterThanOrEqual(29);
    native.sendPacket(theirs, Uint8Array.of(1), 0);
    closeTheirs();
    expect(native.receivePacket(ours, 1, 0).data).toEqual(Uint8Array.of(1));
    expect(() => native.receivePacket(ours, 1, 1000)).toThrow(
      expect.objectContaining({ code: 'ECONNRESET' }),
    );
    expect(() => native.sendPacket(ours, Uint8Array.of(1), 1000)).toThrow(
      expect.objectContaining({ code: 'EPIPE', syscall: 'send' }),
    );
  });

  test('nobody receives: a timeout once it is full', () => {
    const fill = () => {
      for (;;) native.sendPacket(ours, new Uint8Array(50_000), 0);
    };
    expect(fill).toThrow(expect.objectContaining({ code: 'ETIMEDOUT' }));
    expect(native.receivePacket(theirs, 1 << 20, 0).data.byteLength).toBe(50_000);
  });

  test('arguments', () => {
    expect(() => native.sendPacket(ours, new Uint16Array(1) as unknown as Uint8Array, 0)).toThrow(TypeError);
    expect(() => native.sendPacket(ours, new Uint8Array(1), -1)).toThrow(TypeError);
    expect(() => native.receivePacket(ours, 0, 0)).toThrow(TypeError);
    expect(() => native.receivePacket(ours, 2 ** 20 + 1, 0)).toThrow(
      'maxBytes: whole number from 1 to 1048576',
    );
    expect(() => native.receivePacket(ours, 1, 60_001)).toThrow(TypeError);
    const closed = openSync('/dev/null', 'r');
    closeSync(closed);
    expect(() => native.sendPacket(closed, new Uint8Array(1), 0)).toThrow(
      expect.objectContaining({ code: 'EBADF' }),
    );
  });
});

describe('descriptors beside a packet', () => {
  test('are the same files here, close-on-exec, and the caller’s', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pinscope-packets-'));
    const path = join(folder, 'sent');
    try {
      await sendFds("f = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR); send(b'two', [f, 0])", path);
      const before = openFds();
      const { data, fds } = native.receivePacket(ours, 10, 0);
      expect(Buffer.from(data).toString()).toBe('two');
      expect(openFds()).toBe(before + 2);
      const [file = -1, socket = -1] = fds;
      expect(fstatSync(file).ino).toBe(statSync(path).ino);
      expect(fstatSync(socket).ino).toBe(fstatSync(theirs).ino);
      const flags = /^flags:\s*0(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${file}`, 'utf8'))?.[1];
      expect(Number.parseInt(flags ?? '', 8) & 0o2000000).toBe(0o2000000);
      closeSync(file);
      closeSync(socket);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('too many, or with a packet that is too long: none stays open', async () => {
    await sendFds("send(b'x', [0] * 17); send(b'y' * 11, [0, 0]); send(b'z', [0] * 16)");
    const before = openFds();
    expect(() => native.receivePacket(ours, 10, 0)).toThrow(expect.objectContaining({ code: 'EMFILE' }));
    expect(() => native.receivePacket(ours, 10, 0)).toThrow(expect.objectContaining({ code: 'EMSGSIZE' }));
    expect(openFds()).toBe(before);
    const { fds } = native.receivePacket(ours, 10, 0);
    expect(fds.length).toBe(16);
    for (const fd of fds) closeSync(fd);
    expect(openFds()).toBe(before);
  });
});
