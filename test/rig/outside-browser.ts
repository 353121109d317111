/**
 * A browser outside the VM for a case inside it: Debian's Chromium on this machine, steered over its debugging port, which the
 * VM reaches at its gateway; and one loopback port of this machine that leads to the same port of the VM, as `ssh -L` would.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QUIET } from '../window-switches.ts';
import { requirePackages, tied } from './host.ts';

/** nobody and nogroup: Chromium has no sandbox as root. */
const NOBODY = 65534;
/** This machine, seen from a VM with QEMU's user network. */
const GATEWAY = '10.0.2.2';
const PATIENCE_MS = 30_000;

export interface OutsideBrowser {
  /** For the job: where the browser's protocol is, and which port is forwarded. */
  readonly env: Readonly<Record<string, string>>;
  readonly qemuArgs: readonly string[];
  close(): Promise<void>;
}

/** Starts the browser, headless and with its sandbox on. Rejects with what it said when it does not come up. */
export async function startOutsideBrowser(): Promise<OutsideBrowser> {
  requirePackages('drive a browser from outside the VM', [{ path: 'chromium', debianPackage: 'chromium' }]);
  const profile = mkdtempSync(join(tmpdir(), 'pinscope-browser-'));
  const words = [
    '--headless',
    '--no-first-run',
    '--disable-quic',
    '--disable-component-update',
    '--disable-sync',
    '--remote-debugging-port=0',
    `--user-data-dir=${profile}`,
    ...QUIET,
    'about:blank',
  ];
  const root = process.getuid?.() === 0;
  if (root) {
    chownSync(profile, NOBODY, NOBODY);
    chmodSync(profile, 0o700);
  }
  const as = root ? [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--', 'chromium'] : [];
  const [program, args] = tied('KILL', root ? 'setpriv' : 'chromium', [...as, ...words]);
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH ?? '', HOME: profile, LANG: 'C.UTF-8' },
    stdio: ['ignore', 'ignore', 'pipe'],
    // Of its own group, so that all its processes end together.
    detached: true,
  });
  let errors = '';
  child.stderr.on('data', data => {
    errors += data;
  });
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const ended = once(child, 'exit');
      process.kill(-child.pid, 'SIGKILL');
      await ended;
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  const file = join(profile, 'DevToolsActivePort');
  for (let waited = 0; !existsSync(file); waited += 100) {
    if (waited > PATIENCE_MS || child.exitCode !== null) {
      await close();
      throw new Error(`chromium opened no debugging port:\n${errors.slice(-2000)}`);
    }
    await sleep(100);
  }
  const [port] = readFileSync(file, 'utf8').split('\n');
  const forwarded = await freePort();
  return {
    env: {
      PINSCOPE_RIG_BROWSER: `http://${GATEWAY}:${port}`,
      PINSCOPE_RIG_FORWARDED: String(forwarded),
    },
    qemuArgs: [
      ...['-netdev', `user,id=outside,hostfwd=tcp:127.0.0.1:${forwarded}-:${forwarded}`],
      ...['-device', 'virtio-net-pci,netdev=outside'],
    ],
    close,
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('a port was asked for');
  return address.port;
}
