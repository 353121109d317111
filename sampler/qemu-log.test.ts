import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { RecordedHost } from '../test/recorded-host.ts';
import { HostFiles } from './files.ts';
import { readRefusals } from './qemu-log.ts';

const dir = mkdtempSync(join(tmpdir(), 'pinscope-log-'));
const hosts: RecordedHost[] = [];
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
  for (const host of hosts) host.close();
});
const refusal = 'qemu: warning: virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Invalid argument\n';

/** Reads of a real process whose standard error is `stderr`. */
async function of(stderr: 'pipe' | 'ignore' | number) {
  const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', stderr] });
  await once(child, 'spawn');
  try {
    return readRefusals(new HostFiles(), child.pid ?? 0, null);
  } finally {
    child.kill();
  }
}
async function ofFile(name: string, text: string, remove = false) {
  const path = join(dir, name);
  writeFileSync(path, text);
  const fd = openSync(path, 'a');
  if (remove) rmSync(path);
  try {
    return await of(fd);
  } finally {
    closeSync(fd);
  }
}

describe('a real process', () => {
  test('a file behind standard error', async () => {
    expect(await ofFile('a b.log', `hello\n${refusal}${refusal}`)).toMatchObject({
      state: 'ok',
      value: [{ source: join(dir, 'a b.log'), errno: 'EINVAL', times: 2 }],
    });
    expect(await ofFile('empty.log', '')).toMatchObject({ state: 'ok', value: [] });
  });
  test('a file that was removed meanwhile is read all the same', async () => {
    expect(await ofFile('gone.log', refusal, true)).toMatchObject({ state: 'ok', value: [{ times: 1 }] });
  });
  test('the last 256 KiB alone, from a whole line on', async () => {
    const filler = `${'x'.repeat(63)}\n`.repeat(4096);
    expect(await ofFile('long.log', refusal + filler)).toMatchObject({ state: 'ok', value: [] });
    expect(await ofFile('cut.log', refusal + filler.slice(refusal.length - 30))).toMatchObject({
      state: 'ok',
      value: [],
    });
    expect(await ofFile('tail.log', filler + refusal)).toMatchObject({ state: 'ok', value: [{ times: 1 }] });
  });
  test('what cannot be read back says where it went and what to do', async () => {
    expect(await of('ignore')).toMatchObject({
      state: 'absent',
      detail: expect.stringContaining('/dev/null'),
    });
    expect(await of('pipe')).toMatchObject({
      state: 'absent',
      // node gives a child a socket for a pipe.
      detail: expect.stringMatching(/(socket|pipe).*2>FILE, or with -daemonize -D FILE/),
    });
  });
  test('a device and a FIFO are never opened', async () => {
    const path = join(dir, 'fifo');
    spawnSync('mkfifo', [path]);
    const fd = openSync(path, 'r+');
    try {
      expect(await of(fd)).toMatchObject({ state: 'absent' });
    } finally {
      closeSync(fd);
    }
  });
});

describe('libvirt', () => {
  function host(log: string | null) {
    const made = new RecordedHost();
    hosts.push(made);
    made.addProcess(5, 'qemu-system-x86');
    made.link('/proc/5/fd/2', 'pipe:[123]');
    if (log !== null) made.write('/var/log/libvirt/qemu/a guest.log', log);
    return made.files;
  }
  test('its log of the guest, where standard error is a pipe to it', () => {
    expect(readRefusals(host(refusal), 5, 'a guest')).toMatchObject({
      state: 'ok',
      value: [{ source: '/var/log/libvirt/qemu/a guest.log', times: 1 }],
    });
  });
  test('no log, another guest, a name that is a path', () => {
    expect(readRefusals(host(null), 5, 'a guest').state).toBe('absent');
    expect(readRefusals(host(refusal), 5, null).state).toBe('absent');
    expect(readRefusals(host(refusal), 5, '../qemu/a guest').state).toBe('absent');
  });
});

test('a process that is gone', () => {
  const made = new RecordedHost();
  hosts.push(made);
  expect(readRefusals(made.files, 5, null).state).toBe('raced');
});
