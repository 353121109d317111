/** How long buffers live, who keeps them, and what they hold past a limit: the states that take time or a second process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { openHost } from '../../../sampler/access.ts';
import { Sampler } from '../../../sampler/sampler.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { scattered } from '../guest/gpu.ts';
import { guestRam, type RealQemu } from '../guest/qemu.ts';

const framebuffer = scattered(guestRam.free, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);
const small = (i: number) => scattered(0x800_0000 + i * 65536, 16384, 4096, 8192);
const AS_USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--inh-caps=-all', '--'];

/** Takes a descriptor of another process, as a viewer is given one (pidfd_getfd(2)), and keeps it until its input ends. */
const VIEWER = `
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(438, libc.syscall(434, int(sys.argv[1]), 0), int(sys.argv[2]), 0)
print(fd, flush=True)
sys.stdin.read()
`;

async function viewerOf(t: CaseContext, vm: RealQemu, fd: number): Promise<ChildProcess> {
  const child = spawn('python3', ['-c', VIEWER, String(vm.pid), String(fd)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.atEnd(async () => void child.stdin.end());
  const answer = await new Promise<string>(resolve =>
    child.stdout.once('data', (data: Buffer) => resolve(String(data))),
  );
  if (!(Number(answer) > 2)) throw new Error(`the viewer got no descriptor: ${answer}`);
  return child;
}

/** The rules' own minute, and a little. */
const WATCHED_MS = 66_000;
const SAMPLES = 12;

export const lifetimeCases: readonly RigCase[] = [
  {
    name: 'watched for a minute: a guest whose blobs only grow, a program whose buffers nobody uses',
    boot: 'vfio',
    async run(t) {
      const idle = await t.buffers('--memfd', 'shmem,4M', '--count', '20', '--buffer', '0,64K');
      const vm = await t.qemu();
      const gpu = await vm.gpu();
      let blobs = 0;
      const grow = async (count: number) => {
        for (const end = blobs + count; blobs < end; blobs++) await gpu.createBlob(small(blobs));
      };
      await grow(20);
      const second = new Sampler(openHost());
      t.atEnd(async () => second.close());
      const look = async () => {
        const reading = await second.snapshot(idle.pid);
        if (reading.state !== 'ok') throw new Error(JSON.stringify(reading));
        return { guest: await t.snapshot(vm.pid), program: reading.value };
      };
      const started = performance.now();
      const first = await look();
      t.judged('20 blobs, one sample', first.guest);
      t.judged('20 buffers that nobody uses, one sample', first.program);
      for (let i = 1; i < SAMPLES; i++) {
        const due = started + (i * WATCHED_MS) / SAMPLES;
        await new Promise(resolve => setTimeout(resolve, Math.max(0, due - performance.now())));
        await grow(3);
        await look();
      }
      await new Promise(resolve =>
        setTimeout(resolve, Math.max(0, started + WATCHED_MS - performance.now())),
      );
      await grow(3);
      const last = await look();
      t.judged('20 blobs grow to 56 in a minute', last.guest);
      t.judged('20 buffers that nobody uses, for a minute', last.program);
      // Ages are the wall clock's: it goes ahead instead of the case waiting. Read anew, as by somebody who comes now.
      await t.sh(`date -s '+11 minutes' >/dev/null`);
      t.atEnd(async () => void (await t.sh(`date -s '-11 minutes' >/dev/null`)));
      const later = new Sampler(openHost());
      t.atEnd(async () => later.close());
      const old = await later.snapshot(idle.pid);
      if (old.state !== 'ok') throw new Error(JSON.stringify(old));
      t.judged('20 buffers, eleven minutes old', old.value);
    },
  },
  {
    name: 'a viewer that outlives QEMU keeps the guest’s pages',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu();
      const gpu = await vm.gpu();
      await gpu.setScanoutBlob(await gpu.createBlob(framebuffer), 1920, 1080);
      const [resource] = (await t.snapshot(vm.pid)).resources;
      const viewer = await viewerOf(t, vm, resource?.holders[0]?.fds[0] ?? -1);
      const pid = viewer.pid ?? 0;
      t.judged('a viewer of a live QEMU’s framebuffer', await t.snapshot(pid));
      await vm.kill();
      const after = await t.snapshot(pid);
      t.equal('it keeps the buffer', after.resources[0]?.inode, resource?.inode);
      t.equal('and all its pages', after.resources[0]?.pages?.count, 2025);
      t.judged('the viewer after QEMU was killed', after);
    },
  },
  {
    name: '64 MiB held by an ordinary user who may lock nothing',
    boot: 'zones',
    async run(t) {
      await t.sh('chmod 666 /dev/udmabuf');
      const buffer = ['--memfd', 'shmem,64M', '--buffer', '0,64M', '--map'];
      for (const [limit, situation] of [
        ['0', '64 MiB of a user with a memlock limit of 0'],
        ['unlimited', 'the same without a limit'],
      ] as const) {
        const helper = await t.buffersAs(['prlimit', `--memlock=${limit}:${limit}`, ...AS_USER], ...buffer);
        const snapshot = await t.snapshot(helper.pid);
        t.equal(`${limit}: pages`, snapshot.resources[0]?.pages?.count, 16384);
        t.judged(situation, snapshot);
        await helper.quit();
      }
    },
  },
];
