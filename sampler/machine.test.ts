import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseQemuCommandLine } from '../model/qemu/cmdline.ts';
import { loadNative } from '../native/index.ts';
import { isRoot, lacks } from '../test/need.ts';
import { RecordedHost } from '../test/recorded-host.ts';
import { HostFiles } from './files.ts';
import { readMachineMemory } from './machine.ts';
import { readStat } from './process.ts';
import { connectQmp } from './qmp.ts';
import { SourceLog } from './sources.ts';
import { readTarget } from './target.ts';

function hasQemu(): boolean {
  try {
    execFileSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** QEMU allows postcopy only to whom the kernel gives userfaultfd. */
const mayPostcopy = isRoot || /^1/.test(readFileSync('/proc/sys/vm/unprivileged_userfaultfd', 'utf8'));

describe.skipIf(
  lacks('qemu-system-x86_64', hasQemu()) || lacks('root, or vm.unprivileged_userfaultfd=1', mayPostcopy),
)('a real QEMU that waits for a migration', () => {
  const dir = mkdtempSync(join(tmpdir(), 'pinscope-machine-'));
  const socket = join(dir, 'qmp');
  let child: ChildProcess;
  beforeAll(async () => {
    const memory = ['-object', 'memory-backend-memfd,id=m,size=64M', '-machine', 'pc,memory-backend=m'];
    const rest = ['-m', '64M', '-nodefaults', '-display', 'none', '-incoming', 'defer'];
    child = spawn('qemu-system-x86_64', [...memory, ...rest, '-qmp', `unix:${socket},server=on,wait=off`], {
      stdio: 'ignore',
    });
    for (let tries = 0; tries < 100; tries++) {
      const connection = await connectQmp({ kind: 'unix', path: socket }, { unrestricted: true });
      if (connection.state === 'ok') {
        const capabilities = [{ capability: 'postcopy-ram', state: true }];
        await connection.client.execute('migrate-set-capabilities', { capabilities });
        await connection.client.close();
        return;
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error('no monitor');
  }, 30_000);
  afterAll(() => {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });

  test('capabilities, state, memory of the machine, and that its messages are thrown away', async () => {
    const files = new HostFiles();
    const stat = readStat(files, child.pid ?? 0);
    if (stat.state !== 'ok') throw new Error(stat.state);
    const log = new SourceLog();
    const { target } = await readTarget(files, loadNative(), stat.value, log, undefined);
    const states = new Map(log.list().map(({ name, state }) => [name, state]));
    expect(target.migration).toMatchObject({ incoming: 'defer', capabilities: ['postcopy-ram'] });
    expect(target.machineMemory).toEqual({
      ...{ kind: 'memfd', backend: 'm', seal: true, share: true, hugetlbSizeBytes: null, prealloc: false },
    });
    expect([target.qmp, target.refusals]).toEqual(['ok', null]);
    expect(['migration', 'machine-memory', 'refusals'].map(name => states.get(name))).toEqual([
      'ok',
      'ok',
      'absent',
    ]);
  });
});

describe('the size of a huge page that the command line does not name', () => {
  const commandLine = parseQemuCommandLine(
    `q -machine memory-backend=m -object memory-backend-memfd,id=m,size=1G,hugetlb=on`.split(' '),
  );
  test('is the host’s default', () => {
    const host = new RecordedHost('linux-6.12');
    expect(readMachineMemory(host.files, 5, commandLine, null)).toMatchObject({
      state: 'ok',
      value: { hugetlbSizeBytes: 2 ** 21 },
    });
    host.remove('/proc/meminfo');
    expect(readMachineMemory(host.files, 5, commandLine, null)).toMatchObject({
      state: 'absent',
      detail: expect.stringContaining('page size'),
    });
    expect(readMachineMemory(host.files, 5, null, null).state).toBe('absent');
    host.close();
  });
});
