/**
 * The packaged window on an ordinary user's desktop: real Electron with its sandbox on, the broker through a real pkexec and
 * polkitd, everything by keyboard. What stands on the screen is compared with what the program that made the buffers reads of
 * its own pagemap, and with QEMU's page table at the addresses that its monitor tells.
 */
import { readFileSync } from 'node:fs';
import type { CaseContext, RigCase } from '../case.ts';
import { type BufferEvent, expandPages } from '../guest/buffers.ts';
import {
  asUser,
  Desktop,
  type DesktopUser,
  makeUser,
  type PinscopeWindow,
  type ShownRow,
  shownPfns,
} from '../guest/desktop.ts';
import { type MemoryEntry, scattered } from '../guest/gpu.ts';
import { heldPlaces, hostPages, type Place } from '../guest/held-places.ts';
import { ShownPageMap } from '../guest/page-map.ts';
import { Polkit } from '../guest/polkit.ts';
import { guestRam } from '../guest/qemu.ts';

const MiB = 1 << 20;
const FRAMEBUFFER_BYTES = 1920 * 1080 * 4;
const framebuffer = scattered(guestRam.free, FRAMEBUFFER_BYTES, 32 * 1024, 64 * 1024);
const blob = (i: number): MemoryEntry[] => scattered(0x800_0000 + i * MiB, 64 * 1024, 8 * 1024, 24 * 1024);

const guestPages = (entries: readonly MemoryEntry[]): number[] =>
  entries.flatMap(({ address, length }) =>
    Array.from({ length: length / 4096 }, (_, i) => address + i * 4096),
  );

/** A user with a desktop and a policy that lets them in; /dev/udmabuf is theirs to use, as udev's rules make it on desktops. */
async function desktopOf(t: CaseContext): Promise<{ user: DesktopUser; desktop: Desktop }> {
  await t.sh('chmod 666 /dev/udmabuf');
  const user = await makeUser(t);
  const polkit = await Polkit.start('installing');
  t.atEnd(() => polkit.stop());
  return { user, desktop: await Desktop.start(t, user) };
}

/** Returns the runs, for more to be looked at. */
async function checkShownPfns(
  t: CaseContext,
  window: PinscopeWindow,
  what: string,
  witness: BufferEvent,
): Promise<ShownRow[]> {
  const runs = await window.runsOf(witness.inode);
  const shown = shownPfns(runs);
  const theirs = expandPages(witness.pages ?? []);
  const same = shown.filter((pfn, i) => pfn === theirs[i]).length;
  t.equal(
    `${what}: PFNs on screen equal to the program’s own pagemap`,
    [same, shown.length],
    [theirs.length, theirs.length],
  );
  return runs;
}

/** Addresses on screen, page by page. */
const shownGpas = (runs: readonly ShownRow[]): number[] =>
  runs.flatMap(run =>
    Array.from({ length: Number(run.Pages) }, (_, i) => Number(run['Guest address']) + 4096 * i),
  );

/** uid, sandbox and rights of every process of the window, from /proc. */
async function checkProcesses(t: CaseContext, window: PinscopeWindow, user: DesktopUser): Promise<void> {
  const main = window.pid;
  const all = (await t.sh("ps -eo pid,ppid,uid,comm,args | awk '$4 ~ /^pinscope/'")).trim().split('\n');
  const rows = all
    .map(line => /^\s*(\d+)\s+\d+\s+(\d+)\s+\S+\s+(.*)$/.exec(line))
    .filter(row => row !== null);
  t.ok('several processes', rows.length >= 4 && rows.some(([, pid]) => Number(pid) === main), all);
  t.equal('all of the user', [...new Set(rows.map(([, , uid]) => Number(uid)))], [user.uid]);
  t.ok('none without its sandbox', !all.join('\n').includes('--no-sandbox'), all);
  const page = rows.find(([, , , args]) => args?.includes('--type=renderer'));
  const status = readFileSync(`/proc/${page?.[1]}/status`, 'utf8');
  t.ok(
    'the page’s process has a seccomp filter and no new privileges',
    /Seccomp:\t2/.test(status) && /NoNewPrivs:\t1/.test(status),
    status,
  );
  t.ok(
    'and lives in namespaces of its own',
    (await t.sh(`readlink /proc/${page?.[1]}/ns/user`)) !== (await t.sh('readlink /proc/self/ns/user')),
  );
}

export const windowCases: readonly RigCase[] = [
  {
    name: 'the window, an ordinary user, pkexec: denied before the grant, after it PFNs on screen 256 of 256, shmem and hugetlb',
    boot: 'window',
    kernels: ['7.2'],
    async run(t) {
      const { user, desktop } = await desktopOf(t);
      const helper = await t.buffers(
        ...[
          '--as',
          String(user.uid),
          '--memfd',
          'shmem,4M',
          '--buffer',
          '12K,1M',
          '--memfd',
          'huge2m,4M',
          '--buffer',
          '12K,1M',
          // Else they are told of after a minute, as nobody uses them.
          '--map',
        ],
      );
      const [shmem, hugetlb] = helper.buffers;
      if (!shmem || !hugetlb) throw new Error('two buffers were asked for');
      const window = await desktop.open();
      await window.watch(helper.pid);
      const rows = await window.rows('Resources');
      t.equal(
        'the buffers are listed',
        rows.map(row => [row['dma-buf'], row.Size]).sort(),
        [shmem, hugetlb].map(buffer => [String(buffer.inode), '1 MiB']).sort(),
      );
      t.ok(
        'pages are denied',
        rows.every(row => /denied/.test(Object.values(row).join(' '))),
        rows,
      );
      t.ok(
        'and the grant is offered',
        await window.page.getByRole('button', { name: 'Grant access to pages…' }).isVisible(),
      );
      await window.pictures(t, 'denied');
      await checkProcesses(t, window, user);

      await window.grant('Kernel memory');
      await window.page.getByText('Kernel memory granted').first().waitFor();
      await window.resourcesSay('connected');
      await checkShownPfns(t, window, 'shmem', shmem);
      const runs = await checkShownPfns(t, window, 'hugetlb', hugetlb);
      t.equal('folio of a 2 MiB page', [...new Set(runs.map(run => run.Folio))], ['2 MiB']);
      t.equal('healthy buffers raise no warning', await window.warnings(), []);
      await window.select(shmem.inode);
      await window.pictures(t, 'granted');
    },
  },
  {
    name: 'the window beside a real QEMU: framebuffer of 2025 pages and five more blobs, what the balloon discards turns disconnected',
    boot: 'window',
    kernels: ['6.12'],
    async run(t) {
      const { user, desktop } = await desktopOf(t);
      await t.sh(`chown -R ${user.uid}:${user.gid} ${t.dir}`);
      const vm = await t.qemu({ name: 'guest', balloon: true, before: asUser(user) });
      const gpu = await vm.gpu();
      // As a guest does that draws: the pages are in QEMU's page table then.
      for (const { address, length } of framebuffer) await vm.qtest.fill(address, length, 0x5a);
      const frame = await gpu.createBlob(framebuffer);
      for (let i = 0; i < 5; i++) await gpu.createBlob(blob(i));
      await gpu.setScanoutBlob(frame, 1920, 1080);
      await gpu.flush(frame, 1920, 1080);
      const balloon = await vm.balloon();

      const window = await desktop.open('--pid', String(vm.pid));
      await window.grant('Kernel memory');
      await window.page.getByText('Kernel memory granted').first().waitFor();
      await window.resourcesSay('connected');
      const rows = await window.rows('Resources');
      t.equal(
        'six resources, the framebuffer first',
        [rows.length, rows[0]?.Pages, rows[0]?.Size],
        [6, '2025', '7.91 MiB'],
      );
      const inode = Number(rows[0]?.['dma-buf']);
      const runs = await window.runsOf(inode);
      t.equal('2025 guest addresses as the guest gave them', shownGpas(runs), guestPages(framebuffer));
      const gpas = guestPages(framebuffer);
      const first = Math.min(...gpas);
      const theirs = await hostPages(vm, first, (Math.max(...gpas) - first) / 4096 + 1);
      t.equal(
        'all PFNs on screen are those of QEMU’s page table at these addresses',
        shownPfns(runs),
        gpas.map(gpa => theirs[(gpa - first) / 4096]),
      );
      t.equal('a healthy guest raises no warning', await window.warnings(), []);
      await window.select(inode);
      await window.pictures(t, 'qemu');

      const map = new ShownPageMap(window);
      await map.open();
      t.equal('its pages on the page map', await map.legend(`dma-buf ${inode}`), 2025);
      t.equal('none of them red', await map.disconnectedPoints(), 0);

      const before = await window.samplesTaken();
      const discarded = [3, 4, 100, 2024];
      await balloon.inflate(discarded.map(i => (gpas[i] ?? 0) / 4096));
      await window.page.getByRole('button', { name: 'Next disconnected' }).waitFor();
      const samples = (await window.samplesTaken()) - before;
      t.ok('disconnected within two samples', samples <= 2, samples);
      t.ok('and painted red', await map.turnsRed());
      const lost = await map.nextDisconnected();
      t.ok(
        'the map leads to one of them',
        discarded.some(i => (gpas[i] ?? 0) === Number(lost['Guest address'])),
        lost,
      );
      await window.pictures(t, 'page-map');
      await window.resourcesSay('4 disconnected');
      const warnings = await window.warnings();
      const at = (i: number, byte = 0) => `0x${((gpas[i] ?? 0) + byte).toString(16)}`;
      t.ok(
        'one finding, on that resource',
        warnings.length === 1 &&
          warnings[0]?.includes('4 of 2025 pages no longer the guest’s') === true &&
          warnings[0].includes(`dma-buf ${inode}`),
        warnings,
      );
      const why = await window.explanationOf(/4 of 2025 pages no longer the guest’s/);
      t.ok(
        'explained with exactly those guest addresses',
        new RegExp(`of the pages\\s*${at(3)}-${at(4, 4095)}, ${at(100)}, ${at(2024)}(?!,| and)`).test(why),
        why,
      );
      await window.pictures(t, 'disconnected');
    },
  },
  {
    name: 'the window in the page-refs era: blobs of a real QEMU in ZONE_MOVABLE and in CMA, each with its warning on the right resource',
    boot: 'movable-cma',
    kernels: ['6.1'],
    async run(t) {
      const { user, desktop } = await desktopOf(t);
      await t.sh(`chown -R ${user.uid}:${user.gid} ${t.dir}`);
      const { vm, blobs } = await heldPlaces({
        dir: t.dir,
        testMonitor: true,
        name: 'desktop',
        before: asUser(user),
      });
      t.atEnd(() => vm.kill());
      const window = await desktop.open('--pid', String(vm.pid));
      await window.grant('Kernel memory');
      await window.page.getByText('Kernel memory granted').first().waitFor();
      await window.resourcesSay('connected');

      const rows = (await window.rows('Resources')).sort(
        (a, b) => Number(a['dma-buf']) - Number(b['dma-buf']),
      );
      t.equal(
        'three blobs',
        rows.map(row => Number(row.Pages)),
        blobs.map(({ gpas }) => gpas.length),
      );
      const inodeOf = (place: Place) =>
        rows[blobs.findIndex(blob => blob.place === place)]?.['dma-buf'] ?? '';
      for (const { place, gpas, pfnsBefore } of blobs) {
        const runs = await window.runsOf(Number(inodeOf(place)));
        t.equal(
          `${place}: PFNs on screen are those that QEMU’s page table showed`,
          shownPfns(runs),
          pfnsBefore,
        );
        t.equal(`${place}: guest addresses on screen`, shownGpas(runs), gpas);
        t.equal(
          `${place}: zone`,
          [...new Set(runs.map(run => run.Zone === 'Movable'))],
          [place === 'movable'],
        );
        t.equal(
          `${place}: pageblocks`,
          [...new Set(runs.map(run => run.Migratetype === 'CMA'))],
          [place === 'cma'],
        );
      }
      const warnings = await window.warnings();
      const about = (place: Place, words: RegExp) =>
        warnings.filter(text => words.test(text) && text.includes(`dma-buf ${inodeOf(place)}`));
      const [movable] = about('movable', /768 of 768 pages held in ZONE_MOVABLE/);
      const [cma] = about('cma', /256 of 256 pages held in CMA pageblocks/);
      t.ok('ZONE_MOVABLE and CMA each on its resource', movable !== undefined && cma !== undefined, warnings);
      t.equal(
        'nothing else is warned of than these two places',
        warnings.filter(
          text => ![inodeOf('movable'), inodeOf('cma')].some(inode => text.includes(`dma-buf ${inode}`)),
        ),
        [],
      );
      t.ok(
        'no pin is claimed',
        [movable, cma].every(text => /held/.test(text ?? '') && !/pin/i.test(text ?? '')),
        [movable, cma],
      );
      t.ok(
        'ZONE_MOVABLE with evidence',
        /Evidence[\s\S]*\/proc\/zoneinfo/.test(await window.explanationOf(/held in ZONE_MOVABLE/)),
      );
      t.ok(
        'CMA with evidence',
        /Evidence[\s\S]*CMA/.test(await window.explanationOf(/held in CMA pageblocks/)),
      );
      await window.pictures(t, 'held');
      await window.select(Number(inodeOf('movable')));
      await window.pictures(t, 'held-resource');
    },
  },
];
