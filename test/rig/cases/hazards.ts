/** Hazards, from pages that really are where they should not be to the sentence on the terminal. */
import { readFileSync, writeFileSync } from 'node:fs';
import { hasHoles, parseSystemRam } from '../../../model/host/iomem.ts';
import { parseGpa2hpa } from '../../../model/qemu/addresses.ts';
import type { Finding, Snapshot } from '../../../model/snapshot.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { checkRechecks, pagesOf, pfnsOf } from '../compare.ts';
import { scattered } from '../guest/gpu.ts';
import { entriesOf, heldPlaces, movableTest, touchedPages } from '../guest/held-places.ts';
import { guestRam } from '../guest/qemu.ts';

const AS_USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--inh-caps=-all', '--'];
const framebuffer = scattered(guestRam.free, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);

const brief = (findings: readonly Finding[]) =>
  findings.map(({ rule, severity, resource, title }) => [rule, severity, resource, title]);
const remoteOf = ({ findings }: Snapshot) => findings.filter(({ rule }) => rule === 'remote-node');

/** The first memory block of these pages that may go offline at all: the kernel refuses one with a hole or of two zones (EINVAL). */
async function offlinable(t: CaseContext, pfns: readonly number[]): Promise<number> {
  for (const block of new Set(pfns.map(pfn => Math.floor(pfn / 32768)))) {
    const zones = await t.sh(`cat /sys/devices/system/memory/memory${block}/valid_zones`);
    if (zones.trim() === 'Movable') return block;
  }
  throw new Error('no block of these pages is whole and of ZONE_MOVABLE alone');
}

export const hazardCases: readonly RigCase[] = [
  {
    name: 'a real QEMU’s blobs in ZONE_MOVABLE and in CMA: found on the right resource, on no other',
    boot: 'movable-cma',
    async run(t) {
      const { vm, blobs } = await heldPlaces({ dir: t.dir, testMonitor: true, name: 'desktop' });
      t.atEnd(() => vm.kill());
      const snapshot = await t.snapshot(vm.pid);
      const resources = [...snapshot.resources].sort((a, b) => a.inode - b.inode);
      const [movable, cma, elsewhere] = resources;
      if (!movable || !cma || !elsewhere) throw new Error(`${resources.length} resources`);
      const now = resources.map(({ inode }) => pfnsOf(pagesOf(snapshot, inode).runs));
      t.equal(
        'pages',
        now.map(pfns => pfns.length),
        [768, 256, 64],
      );
      t.judged('blobs of pages of ZONE_MOVABLE, of CMA, of neither', snapshot);
      const wrong: unknown[] = [];
      for (const [i, { gpas }] of blobs.entries()) {
        for (const at of [0, 31, gpas.length - 1]) {
          const reply = parseGpa2hpa(await vm.hmp(`gpa2hpa 0x${(gpas[at] ?? 0).toString(16)}`));
          const theirs = reply.state === 'refused' ? reply.detail : Number(reply.address) / 4096;
          if (theirs !== now[i]?.[at]) wrong.push([i, at, theirs, now[i]?.[at]]);
        }
      }
      t.equal('pages equal to gpa2hpa', wrong, []);
      const stayed = blobs.map(
        ({ pfnsBefore }, i) => pfnsBefore.filter((pfn, at) => now[i]?.[at] === pfn).length,
      );
      if (!t.pageRefs) {
        t.equal('CREATE moved what had to be moved, and only that', stayed, [0, 0, 64]);
        return;
      }
      t.equal('CREATE moved nothing', stayed, [768, 256, 64]);
      const pins = snapshot.findings.filter(({ rule }) => rule.startsWith('pin-in-'));
      t.equal('findings', brief(pins), [
        ['pin-in-movable', 'warning', movable.inode, '768 of 768 pages held in ZONE_MOVABLE'],
        ['pin-in-cma', 'warning', cma.inode, '256 of 256 pages held in CMA pageblocks'],
      ]);
      t.ok(
        'nothing is called a pin in this era',
        pins.every(each => !/\bpinned\b/.test(JSON.stringify(each))),
        pins,
      );
      await checkRechecks(t, snapshot.findings);
      const text = (await t.pinscope(['snapshot', '--pid', String(vm.pid)])).stdout;
      t.ok(
        'the terminal says so',
        text.includes(`dma-buf ${movable.inode}: 768 of 768 pages held in ZONE_MOVABLE.`) &&
          text.includes(`dma-buf ${cma.inode}: 256 of 256 pages held in CMA pageblocks.`),
        text,
      );
      const block = await offlinable(t, blobs[0]?.pfnsBefore ?? []);
      const heldTold = snapshot.findings.find(({ rule }) => rule === 'block-held');
      t.ok(
        'predicted: the block is held, by that resource',
        heldTold?.resource === movable.inode && JSON.stringify(heldTold).includes(`memory${block}`),
        heldTold,
      );
      const offline = `echo offline >/sys/devices/system/memory/memory${block}/state`;
      t.ok('evidence names the memory block', JSON.stringify(pins[0]).includes(`memory${block}`), pins[0]);
      const tried = await t.sh(
        `timeout -s INT 12 bash -c '${offline}'; echo $?; dmesg | grep -c 'migrating pfn' || true`,
      );
      const [status, migrating] = tried.trim().split('\n').map(Number);
      t.ok('taking that block offline loops until a signal', status !== 0 && (migrating ?? 0) > 0, tried);
      await vm.kill();
      await t.sh(offline);
      t.equal(
        'and works once the buffers are gone',
        await t.sh(`cat /sys/devices/system/memory/memory${block}/state`),
        'offline\n',
      );
    },
  },
  {
    name: 'blobs in a block of ZONE_MOVABLE that begins in a hole, and beside it: the kernel has the first down as Unmovable',
    boot: 'holes',
    async run(t) {
      const memoryMiB = 448;
      const vm = await t.qemu({ memoryMiB });
      // Files that were read, QEMU's own too, lie in the movable zone and fill it.
      writeFileSync('/proc/sys/vm/drop_caches', '3');
      // Blocks of other types come last, and what the kernel keeps free (for huge pages, 5 % of all) is more than they have.
      writeFileSync('/proc/sys/vm/min_free_kbytes', '2048');
      const pfns = await touchedPages(vm, (memoryMiB * 2 ** 20 - guestRam.free) / 4096);
      const isMovable = movableTest();
      const ram = parseSystemRam(readFileSync('/proc/iomem', 'utf8'));
      // Told by the firmware's map of memory, not by the types of blocks, which are what is tested.
      const cut = (pfn: number) => {
        const start = Math.floor(pfn / 512) * 512 * 4096;
        return hasHoles(ram, { start, end: start + 4096 }) === true;
      };
      const inMovable = pfns.flatMap((pfn, i) => (isMovable(pfn) ? [i] : []));
      const wanted = [true, false].map(want =>
        inMovable.filter(i => cut(pfns[i] ?? 0) === want).slice(0, 64),
      );
      t.equal(
        'guest pages in such blocks, and in others of the zone',
        wanted.map(list => list.length),
        [64, 64],
      );
      const counted = Number(
        await t.sh(`awk '/^Number of blocks/{on=1} on&&/zone +Movable/{print $5}' /proc/pagetypeinfo`),
      );
      t.ok('the kernel counts those blocks as Unmovable', counted >= 6, counted);
      const gpu = await vm.gpu();
      for (const list of wanted) await gpu.createBlob(entriesOf(list.map(i => guestRam.free + i * 4096)));
      const snapshot = await t.snapshot(vm.pid);
      const resources = [...snapshot.resources].sort((a, b) => a.inode - b.inode);
      const before = wanted.map(list => list.map(i => pfns[i] ?? 0));
      const now = resources.map(({ inode }) => pfnsOf(pagesOf(snapshot, inode).runs));
      const types = resources.map(({ inode }) => [
        ...new Set(pagesOf(snapshot, inode).runs.map(({ zone, migratetype }) => `${zone} ${migratetype}`)),
      ]);
      t.judged('blobs of pages of ZONE_MOVABLE, in a block that begins in a hole, in another', snapshot);
      const told = snapshot.findings.filter(({ rule }) => rule === 'unmovable-block-in-movable');
      if (!t.pageRefs) {
        const stayed = now.map((list, i) => list.filter((pfn, at) => before[i]?.[at] === pfn).length);
        t.equal('CREATE moved all pages', stayed, [0, 0]);
        t.ok('out of the zone', !JSON.stringify(types).includes('Movable Unmovable'), types);
        t.equal('silent', told, []);
        return;
      }
      t.equal('CREATE moved nothing', now, before);
      t.equal('zone and type of the blocks', types, [['Movable Unmovable'], ['Movable Movable']]);
      t.equal('the first blob alone', brief(told), [
        [
          'unmovable-block-in-movable',
          'warning',
          resources[0]?.inode,
          '64 of 64 pages held in Unmovable blocks of ZONE_MOVABLE',
        ],
      ]);
      const evidence = told[0]?.evidence.find(({ source }) => source === '/proc/pagetypeinfo');
      t.equal('blocks of that type, as the kernel counts them', evidence?.value, String(counted));
      await checkRechecks(t, snapshot.findings);
    },
  },
  {
    name: 'healthy buffers of a program and of a real QEMU: nothing to warn of',
    boot: 'zones',
    kernels: ['6.12', '7.2'],
    async run(t) {
      const helper = await t.buffers(
        ...['--memfd', 'shmem,4M', '--buffer', '12K,1M', '--list', '0,64K+32K,64K'],
        ...[
          '--memfd',
          'huge2m,4M',
          '--buffer',
          '12K,1M',
          '--memfd',
          'thp,8M',
          '--buffer',
          '12K,12K',
          '--map',
        ],
      );
      t.equal('buffers of the program', helper.buffers.length, 4);
      const program = await t.snapshot(helper.pid);
      t.judged('a program’s buffers of shmem, of 2 MiB pages, of THPs', program);
      for (const [backing, backend] of [
        ['shmem', ''],
        ['hugetlb', 'hugetlb=on,prealloc=on'],
      ] as const) {
        const vm = await t.qemu({ backend, dir: `${t.dir}/${backend.length}` });
        const gpu = await vm.gpu();
        const frame = await gpu.createBlob(framebuffer);
        await gpu.setScanoutBlob(frame, 1920, 1080);
        for (let i = 0; i < 10; i++)
          await gpu.createBlob(scattered(0x800_0000 + i * 65536, 16384, 4096, 8192));
        const snapshot = await t.snapshot(vm.pid);
        t.equal(
          'pages',
          snapshot.resources.map(({ pages }) => pages?.count),
          [2025, ...Array(10).fill(4)],
        );
        t.judged(`a framebuffer and ten small blobs on ${backing}`, snapshot);
        t.equal(
          'no error, no warning',
          snapshot.findings.filter(({ severity }) => severity !== 'info').map(({ title }) => title),
          [],
        );
        await vm.kill();
      }
    },
  },
  {
    name: 'pages that the balloon discarded: one error with their number and guest addresses',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ balloon: true });
      const gpu = await vm.gpu();
      await gpu.createBlob(framebuffer);
      await gpu.createBlob(scattered(0x800_0000, 16384, 4096, 8192));
      const balloon = await vm.balloon();
      const lost = [guestRam.free, guestRam.free + 4096, guestRam.free + 65536, 0x700_0000];
      await balloon.inflate(lost.map(gpa => gpa / 4096));
      const snapshot = await t.snapshot(vm.pid);
      const inode = Math.min(...snapshot.resources.map(resource => resource.inode));
      t.judged('the balloon discards three pages of a framebuffer', snapshot);
      const errors = snapshot.findings.filter(({ severity }) => severity === 'error');
      t.equal('errors', brief(errors), [
        ['disconnected', 'error', inode, '3 of 2025 pages no longer the guest’s'],
      ]);
      t.equal('guest addresses', errors[0]?.evidence[0]?.value, '0x200000-0x201fff, 0x210000');
      t.ok('the balloon is named', errors[0]?.explanation.includes('virtio-balloon-pci') ?? false, errors);
      await checkRechecks(t, errors);
      const denied = await t.pinscope(['snapshot', '--pid', String(vm.pid), '--json'], AS_USER);
      t.judged('the same, seen by an ordinary user', JSON.parse(denied.stdout) as Snapshot);
      const one = await t.pinscope(['snapshot', '--pid', String(vm.pid), '--resource', String(inode)]);
      t.ok(
        'the terminal shows it with its shell lines',
        /ERROR +disconnected[\s\S]* sudo [^|]*pinscope(\.js)? snapshot/.test(one.stdout),
        one.stdout,
      );

      // The same by the system call alone: whoever has the memfd may.
      const punched = guestRam.free + 0x40000;
      const memfd = await t.sh(`find /proc/${vm.pid}/fd -lname '/memfd:memory-backend-memfd*' | head -n 1`);
      await t.sh(`fallocate --punch-hole --offset ${punched} --length 4096 ${memfd.trim()}`);
      const after = await t.snapshot(vm.pid);
      t.judged('then fallocate punches a fourth', after);
      const lostNow = after.findings.filter(({ rule }) => rule === 'disconnected');
      t.equal('a page more', brief(lostNow), [
        ['disconnected', 'error', inode, '4 of 2025 pages no longer the guest’s'],
      ]);
      t.equal('at its address', lostNow[0]?.evidence[0]?.value, '0x200000-0x201fff, 0x210000, 0x240000');
    },
  },
  {
    name: 'private RAM: told of the process, and its buffers are disconnected because of it',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ backend: 'share=off' });
      for (let i = 0; i < 8; i++) await vm.qtest.writeBytes(0x400_0000 + i * 4096, Buffer.from('guest'));
      const gpu = await vm.gpu();
      await gpu.createBlob([
        { address: 0x400_0000, length: 16384 },
        { address: 0x400_4000, length: 16384 },
      ]);
      const snapshot = await t.snapshot(vm.pid);
      t.judged('share=off', snapshot);
      const { resources } = snapshot;
      const findings = snapshot.findings.filter(({ severity }) => severity === 'error');
      t.equal('errors', brief(findings), [
        ['private-ram', 'error', null, 'Guest memory mem1 is mapped private'],
        ['disconnected', 'error', resources[0]?.inode, '8 of 8 pages no longer the guest’s'],
      ]);
      t.ok('with the reason', findings[1]?.explanation.includes('private') ?? false, findings);
      await checkRechecks(t, findings);
    },
  },
  {
    name: 'an ordinary user: no rule about pages is said to be fine',
    boot: 'zones',
    kernels: ['6.12'],
    async run(t) {
      await t.sh('chmod 666 /dev/udmabuf');
      const helper = await t.buffersAs(AS_USER, '--memfd', 'shmem,1M', '--buffer', '12K,64K');
      const args = ['snapshot', '--pid', String(helper.pid)];
      const snapshot = JSON.parse((await t.pinscope([...args, '--json'], AS_USER)).stdout) as Snapshot;
      const other = await t.buffers('--memfd', 'shmem,1M', '--buffer', '12K,64K');
      const denied = await t.pinscope(['snapshot', '--pid', String(other.pid), '--json'], AS_USER);
      t.judged('an ordinary user looks at another’s program', JSON.parse(denied.stdout) as Snapshot);
      t.judged('an ordinary user looks at a program of his own', snapshot);
      const pageRules = [
        'disconnected',
        'pin-in-movable',
        'unmovable-block-in-movable',
        'pin-in-cma',
        'remote-node',
      ];
      const unread = snapshot.notChecked.filter(({ rule }) => pageRules.includes(rule));
      t.equal(
        'rules about pages are not checked',
        unread.map(({ rule }) => rule),
        pageRules,
      );
      t.ok(
        'each says what would grant it',
        unread.every(({ because }) => /kernel-memory is denied.*needs root/.test(because)),
        unread,
      );
      const { stdout } = await t.pinscope(args, AS_USER);
      t.ok('the terminal too', /\nNot checked\n[\s\S]*disconnected, pin-in-movable,/.test(stdout), stdout);
    },
  },
  {
    name: 'memory on another node than the CPUs, or than the policy',
    boot: 'numa',
    async run(t) {
      const pages = ['--memfd', 'shmem,1M', '--buffer', '0,1M'];
      const nodes = (snapshot: Snapshot) => [
        ...new Set(snapshot.resources.flatMap(({ pages }) => pages?.runs.map(({ node }) => node) ?? [])),
      ];
      const remote = await t.buffersAs(['taskset', '-c', '0'], '--node', '1', ...pages);
      const far = await t.snapshot(remote.pid);
      t.equal('remote: the pages are on node 1', nodes(far), [1]);
      const numaMaps = await t.sh(`grep pinscope-buffers /proc/${remote.pid}/numa_maps`);
      t.ok('as numa_maps has them', /\bN1=256\b/.test(numaMaps) && !/\bN0=/.test(numaMaps), numaMaps);
      t.judged('a program on node 0, its buffer on node 1', far);
      t.equal('remote: found', brief(remoteOf(far)), [
        [
          'remote-node',
          'warning',
          far.resources[0]?.inode,
          '256 of 256 pages on node 1, away from where they are used',
        ],
      ]);
      await checkRechecks(t, remoteOf(far));

      const local = await t.buffersAs(['taskset', '-c', '1'], '--node', '1', ...pages);
      const near = await t.snapshot(local.pid);
      t.judged('program and buffer on node 1', near);
      t.equal('local: nodes', nodes(near), [1]);

      const free = await t.snapshot((await t.buffers('--node', '1', ...pages)).pid);
      t.judged('a program free to run on both nodes', free);
      t.equal('free to run on both nodes: nodes', [nodes(free), free.target.cpuNodes], [[1], [0, 1]]);

      const unbound = await t.qemu({ dir: `${t.dir}/unbound` });
      const unboundGpu = await unbound.gpu();
      await unboundGpu.createBlob(framebuffer);
      const anywhere = await t.snapshot(unbound.pid);
      t.judged('QEMU without a policy, free to run on both nodes', anywhere);
      t.equal('QEMU, anywhere', [remoteOf(anywhere), anywhere.target.cpuNodes], [[], [0, 1]]);
      await unbound.kill();

      const vm = await t.qemu({ backend: 'host-nodes=1,policy=bind' });
      const gpu = await vm.gpu();
      await gpu.createBlob(framebuffer);
      const bound = await t.snapshot(vm.pid);
      t.judged('QEMU, policy=bind to node 1', bound);
      t.equal('QEMU, policy kept: nodes', nodes(bound), [1]);
      await t.sh(`taskset -a -p -c 0 ${vm.pid}`);
      const away = await t.snapshot(vm.pid);
      t.judged('the same, all threads on node 0', away);
      t.equal('QEMU, all threads moved to node 0', brief(remoteOf(away)), [
        [
          'remote-node',
          'warning',
          away.resources[0]?.inode,
          '2025 of 2025 pages on node 1, away from where they are used',
        ],
      ]);
      await t.sh(`for t in /proc/${vm.pid}/task/*; do taskset -p -c 1 \${t##*/}; break; done`);
      t.judged('the same, one thread back on node 1', await t.snapshot(vm.pid));
    },
  },
];
