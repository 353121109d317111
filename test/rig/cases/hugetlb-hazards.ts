/**
 * Huge pages: what a buffer holds beside its own, and the pools, reservations and limits that it goes past. In boot `numa` pools are
 * set at run time, on one node of a machine without ZONE_MOVABLE, so that every free page can fill a hole.
 */
import { spawn } from 'node:child_process';
import type { Snapshot } from '../../../model/snapshot.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { checkRechecks } from '../compare.ts';
import { freeHugePages, freeInSysfs } from '../guest/free-huge-pages.ts';
import { scattered } from '../guest/gpu.ts';
import { cmaTest, movableTest } from '../guest/held-places.ts';
import { guestRam } from '../guest/qemu.ts';

const AS_USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--inh-caps=-all', '--'];
const ON_NODE_0 = ['taskset', '-c', '0'];
const MIB = 2 ** 20;
const framebuffer = scattered(guestRam.free, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);

/** Gives node 0 so many free pages of 2 MiB; the case takes them back. */
async function pool(t: CaseContext, pages: number): Promise<void> {
  const file = '/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages';
  await t.sh(`echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; echo ${pages} >${file}`);
  const got = Number(await t.sh(`cat ${file}`));
  if (got !== pages) throw new Error(`node 0 gave ${got} of ${pages} huge pages`);
  if (pages > 0) t.atEnd(() => pool(t, 0));
}

const reserved = async (t: CaseContext): Promise<string> =>
  (await t.sh('cat /sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages')).trim();

const byUser = async (t: CaseContext, pid: number): Promise<Snapshot> =>
  JSON.parse((await t.pinscope(['snapshot', '--pid', String(pid), '--json'], AS_USER)).stdout) as Snapshot;

const foundBy = ({ findings }: Snapshot, ...rules: readonly string[]) =>
  findings.filter(({ rule }) => rules.includes(rule));

const fillableOf = ({ host }: Snapshot) =>
  host.hugetlb?.find(({ node, pageSizeBytes }) => node === null && pageSizeBytes === 2 * MIB)?.fillable;

/** Makes a buffer over four huge pages of a memfd that nobody has mapped, and keeps both until its input ends. */
const UNMAPPED = `
import fcntl, os, struct, sys
fd = os.memfd_create('unmapped', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | os.MFD_HUGETLB | os.MFD_HUGE_2MB)
os.ftruncate(fd, 8 << 20)
F_ADD_SEALS, F_SEAL_SHRINK, UDMABUF_CREATE = 1033, 2, 0x40187542
fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
arguments = bytearray(struct.pack('IIQQ', fd, 0, 0, 8 << 20))
print(fcntl.ioctl(os.open('/dev/udmabuf', os.O_RDWR), UDMABUF_CREATE, arguments), flush=True)
sys.stdin.read()
`;

async function unmapped(
  t: CaseContext,
): Promise<{ readonly pid: number; readonly end: () => Promise<void> }> {
  const child = spawn('taskset', ['-c', '0', 'python3', '-c', UNMAPPED], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()));
  const end = () => {
    child.stdin.end();
    return ended;
  };
  t.atEnd(end);
  const answer = await Promise.race([
    new Promise<string>(resolve => child.stdout.once('data', (data: Buffer) => resolve(String(data)))),
    ended.then(() => 'it ended'),
  ]);
  if (!(Number(answer) > 2)) throw new Error(`no buffer of the memfd that is not mapped: ${answer}`);
  return { pid: child.pid ?? 0, end };
}

export const hugetlbHazardCases: readonly RigCase[] = [
  {
    name: 'a buffer of 12 KiB in a huge page, and what stays of the page when the guest gives it back',
    boot: 'numa',
    async run(t) {
      await pool(t, 12);
      const memfd = ['--node', '0', '--memfd', 'huge2m,4M'];
      const helper = await t.buffersAs(ON_NODE_0, ...memfd, '--buffer', '12K,12K');
      const held = await t.snapshot(helper.pid);
      const { count, folioBytes } = held.resources[0]?.pages ?? {};
      t.equal('3 pages hold 2 MiB', [count, folioBytes], [3, 2 * MIB]);
      t.judged('12 KiB in a 2 MiB page', held);
      await checkRechecks(t, foundBy(held, 'amplification'));
      await helper.command('punch 0 2M');
      t.judged('the same, the page given back', await t.snapshot(helper.pid));
      const larger = await t.buffersAs(ON_NODE_0, ...memfd, '--buffer', '12K,1M');
      t.judged('1 MiB in a 2 MiB page', await t.snapshot(larger.pid));
    },
  },
  {
    name: 'reservations of the pool: a memfd that is not mapped takes them below zero on 6.12',
    boot: 'numa',
    kernels: ['6.12', '7.2'],
    async run(t) {
      await pool(t, 12);
      const mapped = await t.buffersAs(ON_NODE_0, '--memfd', 'huge2m,8M,hole', '--buffer', '0,8M');
      t.judged('a buffer over four holes of a mapped memfd', await t.snapshot(mapped.pid));
      await mapped.quit();
      const program = await unmapped(t);
      const wraps = t.kernel === '6.12';
      t.equal('resv_hugepages', await reserved(t), wraps ? String(2n ** 64n - 4n) : '0');
      const over = await t.snapshot(program.pid);
      t.judged('a buffer over four holes of a memfd that is not mapped', over);
      if (wraps) await checkRechecks(t, foundBy(over, 'reserve-underflow'));
      await t.sh('chmod 700 /sys/kernel/mm/hugepages');
      t.atEnd(async () => void (await t.sh('chmod 755 /sys/kernel/mm/hugepages')));
      t.judged('the same, by an ordinary user who may not read the pools', await byUser(t, program.pid));
      await program.end();
      t.equal('resv_hugepages after the memfd is closed', await reserved(t), '0');
    },
  },
  {
    name: 'huge pages that no limit of the cgroup counts',
    boot: 'numa',
    kernels: ['6.12', '7.2'],
    async run(t) {
      await pool(t, 12);
      const cgroup = '/sys/fs/cgroup/pinscope-guest';
      await t.sh(`echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control; mkdir -p ${cgroup}`);
      t.atEnd(async () => void (await t.sh(`rmdir ${cgroup}`)));
      const inside = [...ON_NODE_0, 'sh', '-c', `echo $$ >${cgroup}/cgroup.procs; exec "$0" "$@"`];
      const counted = async () => Number(await t.sh(`cat ${cgroup}/hugetlb.2MB.current`));
      for (const [hole, bytes, situation] of [
        [',hole', 0, 'a buffer over four holes, in a cgroup of the hugetlb controller'],
        ['', 8 * MIB, 'the same, the memory touched before'],
      ] as const) {
        const helper = await t.buffersAs(inside, '--memfd', `huge2m,8M${hole}`, '--buffer', '0,8M');
        t.equal(`${situation}: counted`, await counted(), bytes);
        const snapshot = await t.snapshot(helper.pid);
        t.judged(situation, snapshot);
        if (bytes === 0) {
          await checkRechecks(t, foundBy(snapshot, 'cgroup-escape'));
          t.judged('a buffer over four holes, seen by an ordinary user', await byUser(t, helper.pid));
        }
        await helper.quit();
      }
    },
  },
  {
    name: 'guest memory of huge pages with holes, and a pool that cannot fill them',
    boot: 'numa',
    async run(t) {
      await pool(t, 40);
      const options = { memoryMiB: 128, before: ON_NODE_0 };
      const vm = await t.qemu({ ...options, dir: `${t.dir}/a`, backend: 'hugetlb=on,reserve=off' });
      const gpu = await vm.gpu();
      const before = await t.snapshot(vm.pid);
      t.judged('QEMU, 64 huge pages without a reservation, a pool of 40', before);
      await checkRechecks(t, foundBy(before, 'pool-starvation'));
      t.judged('the same guest, seen by an ordinary user', await byUser(t, vm.pid));
      const blobOf = (from: number) =>
        gpu.createBlob([0, 28].map(at => ({ address: (from + at) * MIB, length: 24 * MIB })));
      if (t.pageRefs) {
        await blobOf(2);
        t.ok('a hole is refused', /UDMABUF_CREATE_LIST: Invalid argument/.test(vm.stderr()), vm.stderr());
      } else {
        await blobOf(2);
        t.equal('48 MiB of holes are filled', vm.stderr(), '');
        await blobOf(64);
        t.ok(
          'the next are not',
          /UDMABUF_CREATE_LIST: Cannot allocate memory/.test(vm.stderr()),
          vm.stderr(),
        );
      }
      t.judged('the same, a buffer over the holes refused', await t.snapshot(vm.pid));
      await vm.kill();
      await pool(t, 70);
      const safe = await t.qemu({ ...options, dir: `${t.dir}/b`, backend: 'hugetlb=on' });
      await safe.gpu();
      t.judged('QEMU, 64 huge pages reserved, a pool of 70', await t.snapshot(safe.pid));
      await safe.kill();
      const whole = await t.qemu({ ...options, dir: `${t.dir}/c`, backend: 'hugetlb=on,prealloc=on' });
      await whole.gpu();
      t.judged('QEMU, 64 huge pages, prealloc=on', await t.snapshot(whole.pid));
    },
  },
  {
    name: 'the command line of the linux-mm thread, healthy: the doctor finds nothing',
    boot: 'numa',
    kernels: ['6.12', '7.2'],
    async run(t) {
      await pool(t, 80);
      // Its words but for the size, TCG and the display, which has no window here.
      const vm = await t.qemu({ memoryMiB: 128, before: ON_NODE_0, backend: 'hugetlb=on' });
      await vm.qtest.fill(guestRam.free, 16 * MIB, 0x5a);
      const gpu = await vm.gpu();
      await gpu.setScanoutBlob(await gpu.createBlob(framebuffer), 1920, 1080);
      t.equal('QEMU is silent', vm.stderr(), '');
      // Before this process looks, which keeps the monitor.
      const { code, stdout } = await t.pinscope(['doctor', '--pid', String(vm.pid), '--json']);
      const told = JSON.parse(stdout) as Pick<Snapshot, 'findings' | 'notChecked'>;
      t.equal(
        'findings that are no information',
        told.findings.filter(({ severity }) => severity !== 'info').map(({ title }) => title),
        [],
      );
      t.equal(
        'not checked, but for what one sample cannot tell',
        told.notChecked
          .filter(({ rule }) => rule !== 'leak')
          .map(({ rule, because }) => `${rule}: ${because}`),
        [],
      );
      t.equal('exit code', code, 0);
      const snapshot = await t.snapshot(vm.pid);
      t.equal('pages', snapshot.resources[0]?.pages?.count, 2025);
      t.judged('the command line of the thread, a live framebuffer', snapshot);
    },
  },
  {
    name: '1 GiB pages outside ZONE_MOVABLE: a buffer can be made of them',
    boot: 'gigantic',
    async run(t) {
      const helper = await t.buffers('--memfd', 'huge1g,1G', '--buffer', '12K,1M');
      t.equal('refused', helper.refused, []);
      t.judged('a buffer in a 1 GiB page of Normal', await t.snapshot(helper.pid));
    },
  },
  {
    name: '1 GiB pages in ZONE_MOVABLE: no buffer can be made of them, but of 2 MiB pages there',
    boot: 'gigantic-movable',
    async run(t) {
      const vm = await t.qemu({
        dir: `${t.dir}/a`,
        memoryMiB: 1024,
        backend: 'hugetlb=on,hugetlbsize=1G',
      });
      const gpu = await vm.gpu();
      await vm.qtest.fill(guestRam.free, MIB, 0x5a);
      const before = await t.snapshot(vm.pid);
      t.equal(
        'where the page lies',
        before.target.ram?.map(({ gigantic }) => gigantic),
        [{ pages: 1, inMovable: 1 }],
      );
      t.judged('guest memory is a 1 GiB page of ZONE_MOVABLE', before);
      await checkRechecks(t, foundBy(before, 'gigantic-in-movable'));
      await gpu.createBlob(framebuffer);
      const refused = vm.stderr().includes('UDMABUF_CREATE_LIST: Cannot allocate memory');
      t.equal('refused', refused, !t.pageRefs);
      const after = await t.snapshot(vm.pid);
      t.judged('the same, after its first framebuffer', after);
      await checkRechecks(t, foundBy(after, 'create-refused'));
      t.judged('the same, seen by an ordinary user, on 1 GiB pages', await byUser(t, vm.pid));
      await vm.kill();
      const smaller = await t.qemu({ dir: `${t.dir}/b`, memoryMiB: 64, backend: 'hugetlb=on' });
      await smaller.qtest.fill(guestRam.free, 32 * MIB, 0x5a);
      await (await smaller.gpu()).createBlob(framebuffer);
      t.equal('2 MiB pages: QEMU is silent', smaller.stderr(), '');
      t.judged('guest memory is 2 MiB pages of ZONE_MOVABLE', await t.snapshot(smaller.pid));
    },
  },
  {
    name: 'free huge pages that a hole can be filled from: the kernel’s lists and its page map agree',
    boot: 'zones',
    kernels: ['6.12', '7.2'],
    async run(t) {
      const vm = await t.qemu({ memoryMiB: 64, backend: 'hugetlb=on' });
      await vm.qtest.fill(guestRam.free, 8 * MIB, 0x5a);
      const snapshot = await t.snapshot(vm.pid);
      const theirs = freeHugePages(2 * MIB);
      t.equal('free pages: sysfs', theirs.length, freeInSysfs(2 * MIB));
      const [isMovable, isCma] = [movableTest(), cmaTest()];
      t.equal(
        'those outside ZONE_MOVABLE and CMA',
        fillableOf(snapshot),
        theirs.filter(pfn => !isMovable(pfn) && !isCma(pfn)).length,
      );
      t.ok('some lie in ZONE_MOVABLE', theirs.some(isMovable), theirs.length);
      t.equal(
        'as an ordinary user, unknown',
        (await byUser(t, vm.pid)).host.hugetlb
          ?.map(({ fillable }) => fillable ?? null)
          .every(each => each === null),
        true,
      );
    },
  },
  {
    name: 'holes of guest memory on a host with ZONE_MOVABLE: told by where the pool’s free pages lie',
    boot: 'gigantic-movable',
    async run(t) {
      const file = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';
      const before = (await t.sh(`cat ${file}`)).trim();
      t.atEnd(async () => void (await t.sh(`echo ${before} >${file}`)));
      // Filled anew: a buffer that was made before has put pages of other zones into the pool.
      await t.sh(`echo 3 >/proc/sys/vm/drop_caches; echo 0 >${file}; echo 40 >${file}`);
      const isMovable = movableTest();
      const outside = () => freeHugePages(2 * MIB).filter(pfn => !isMovable(pfn)).length;
      const doctor = async (pid: number): Promise<number> =>
        (await t.pinscope(['doctor', '--pid', String(pid), '--json'])).code;
      t.equal('no free page lies outside ZONE_MOVABLE', outside(), 0);
      const start = (name: string) =>
        t.qemu({ dir: `${t.dir}/${name}`, memoryMiB: 64, backend: 'hugetlb=on' });
      const vm = await start('a');
      const misplaced = await t.snapshot(vm.pid);
      t.equal('read', fillableOf(misplaced), 0);
      t.judged('QEMU, 32 huge pages reserved, all free ones in ZONE_MOVABLE', misplaced);
      await checkRechecks(t, foundBy(misplaced, 'pool-starvation'));
      t.equal('the doctor: information', await doctor(vm.pid), 0);
      t.judged('the same holes, seen by an ordinary user', await byUser(t, vm.pid));
      const overHoles = [16, 20].map(at => ({ address: at * MIB, length: 2 * MIB }));
      await (await vm.gpu()).createBlob(overHoles);
      t.ok(
        'a hole is refused',
        vm.stderr().includes('UDMABUF_CREATE_LIST: Cannot allocate memory'),
        vm.stderr(),
      );
      const refused = await t.snapshot(vm.pid);
      t.judged('the same, a buffer over its holes refused', refused);
      t.ok(
        'and told as a cause',
        /of the free ones of the pool \(\d+\) only 0 lie outside/.test(
          JSON.stringify(foundBy(refused, 'create-refused')),
        ),
        foundBy(refused, 'create-refused'),
      );
      await vm.kill();

      // More than ZONE_MOVABLE has room for.
      await t.sh(`echo 3 >/proc/sys/vm/drop_caches; echo 1200 >${file}`);
      const there = outside();
      t.ok('pages outside ZONE_MOVABLE', there >= 32, there);
      const other = await start('b');
      const fine = await t.snapshot(other.pid);
      t.equal('read again', fillableOf(fine), outside());
      t.judged('QEMU, 32 huge pages reserved, enough of the free ones outside ZONE_MOVABLE', fine);
      t.equal('nothing to tell', foundBy(fine, 'pool-starvation'), []);
      t.equal('the doctor: well', await doctor(other.pid), 0);
      await (await other.gpu()).createBlob(overHoles);
      t.equal('QEMU is silent', other.stderr(), '');
    },
  },
];
