/**
 * A real QEMU whose virtio-gpu and balloon are driven over qtest. The second source is QEMU itself: `gpa2hpa` says which
 * host page is behind a guest address, and the entries of a blob are what the test asked for.
 */
import { connect } from 'node:net';
import { parseGpa2hpa } from '../../../model/qemu/addresses.ts';
import type { Resource, Snapshot } from '../../../model/snapshot.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { pagesOf, perPage, pfnsOf } from '../compare.ts';
import { type MemoryEntry, scattered } from '../guest/gpu.ts';
import { guestRam, type RealQemu } from '../guest/qemu.ts';

const MiB = 1 << 20;
const FRAMEBUFFER_BYTES = 1920 * 1080 * 4;

/** A framebuffer of 2025 pages in 254 pieces, one of repeated and overlapping entries, one of single pages. */
const framebuffer = scattered(guestRam.free, FRAMEBUFFER_BYTES, 32 * 1024, 64 * 1024);
const repeated: MemoryEntry[] = [
  { address: 0x400_0000, length: 64 * 1024 },
  { address: 0x400_8000, length: 64 * 1024 },
  { address: 0x400_0000, length: 64 * 1024 },
];
const singles = scattered(0x500_0000, 100 * 4096, 4096, 3 * 4096);
const small = (i: number): MemoryEntry[] => [
  { address: 0x800_0000 + i * 16384, length: 4096 },
  { address: 0x800_0000 + i * 16384 + 8192, length: 4096 },
];

const guestPages = (entries: readonly MemoryEntry[]): number[] =>
  entries.flatMap(({ address, length }) =>
    Array.from({ length: length / 4096 }, (_, i) => address + i * 4096),
  );

const gpasOf = (resource: Resource): (number | null)[] =>
  perPage(resource.pages?.runs ?? [], (run, i) => (run.gpa === null ? null : Number(run.gpa) + 4096 * i));

/** Resources in the order in which QEMU made them: inode numbers of dma-bufs only grow. */
const inOrder = (snapshot: Snapshot): Resource[] => [...snapshot.resources].sort((a, b) => a.inode - b.inode);

async function checkGpa2hpa(t: CaseContext, vm: RealQemu, what: string, resource: Resource): Promise<void> {
  const gpas = gpasOf(resource);
  const pfns = pfnsOf(resource.pages?.runs ?? []);
  const step = Math.max(1, Math.floor(pfns.length / 24));
  const wrong: unknown[] = [];
  let asked = 0;
  for (let i = 0; i < pfns.length; i += step) {
    const reply = parseGpa2hpa(await vm.hmp(`gpa2hpa 0x${(gpas[i] ?? 0).toString(16)}`));
    const theirs = reply.state === 'refused' ? reply.detail : Number(reply.address) / 4096;
    if (theirs !== pfns[i]) wrong.push({ gpa: gpas[i], ours: pfns[i], theirs });
    asked++;
  }
  t.ok(
    `${what}: ${asked} sampled pages agree with gpa2hpa`,
    asked >= Math.min(3, pfns.length) && wrong.length === 0,
    wrong.slice(0, 3),
  );
}

const blobs = (backing: 'hugetlb' | 'shmem', backend: string): RigCase => ({
  name: `real QEMU on a ${backing} memfd: framebuffer of 2025 pages beside 302 blobs, every guest address exact`,
  boot: 'zones',
  async run(t) {
    const vm = await t.qemu({ name: 'guest,, one', backend });
    const gpu = await vm.gpu();
    const frame = await gpu.createBlob(framebuffer);
    await gpu.createBlob(repeated);
    await gpu.createBlob(singles);
    for (let i = 0; i < 300; i++) await gpu.createBlob(small(i));
    await gpu.setScanoutBlob(frame, 1920, 1080);
    await gpu.flush(frame, 1920, 1080);

    const snapshot = await t.snapshot(vm.pid);
    const { target } = snapshot;
    t.equal(
      'target',
      [target.kind, target.name, target.qmp, target.comm],
      ['qemu', 'guest, one', 'ok', 'qemu-system-x86'],
    );
    t.equal(
      'RAM',
      target.ram?.map(({ id, sizeBytes, pageSizeBytes, share, sealed }) => ({
        id,
        sizeBytes,
        pageSizeBytes,
        share,
        sealed,
      })),
      [
        {
          id: 'mem1',
          sizeBytes: 256 * MiB,
          pageSizeBytes: backing === 'hugetlb' ? 2 * MiB : 4096,
          share: true,
          sealed: true,
        },
      ],
    );
    const resources = inOrder(snapshot);
    t.equal('resources', resources.length, 303);
    const asked = [framebuffer, repeated, singles, ...Array.from({ length: 300 }, (_, i) => small(i))];
    const wrong = resources.filter(
      (resource, i) => JSON.stringify(gpasOf(resource)) !== JSON.stringify(guestPages(asked[i] ?? [])),
    );
    t.equal(
      'resources whose guest addresses differ from what was asked for',
      wrong.map(({ inode }) => inode),
      [],
    );
    const [fb, rep, single, first] = resources;
    t.equal(
      'framebuffer',
      [fb?.sizeBytes, fb?.pages?.count, fb?.exporter],
      [FRAMEBUFFER_BYTES, 2025, 'udmabuf'],
    );
    t.equal(
      'framebuffer references',
      [fb?.pages?.pageReferences, (fb?.pages?.pinReferences ?? 0) >= 254],
      t.pageRefs ? [2025, false] : [0, true],
    );
    for (const [what, resource] of [
      ['framebuffer', fb],
      ['repeated', rep],
      ['single pages', single],
      ['small', first],
    ] as const) {
      if (!resource) throw new Error(`no ${what} resource`);
      await checkGpa2hpa(t, vm, what, resource);
    }
    t.equal(
      'all connected',
      [...new Set(resources.flatMap(r => r.pages?.runs.map(run => run.backing) ?? []))],
      ['connected'],
    );
    t.equal(
      'QEMU holds and maps each',
      resources.every(
        ({ holders }) =>
          holders.length === 1 && holders[0]?.pid === vm.pid && holders[0].mappings.length === 1,
      ),
      true,
    );
    t.equal('QEMU warned of nothing', vm.stderr(), '');

    await vm.reset();
    t.equal('after a reset nothing is held', (await t.snapshot(vm.pid)).resources.length, 0);
  },
});

export const qemuCases: readonly RigCase[] = [
  blobs('hugetlb', 'hugetlb=on,prealloc=on'),
  blobs('shmem', ''),
  {
    name: 'guest pages that QEMU’s own balloon discards: exactly those are disconnected',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ balloon: true });
      const gpu = await vm.gpu();
      await gpu.createBlob(framebuffer);
      const balloon = await vm.balloon();
      const [fb] = inOrder(await t.snapshot(vm.pid));
      const inode = fb?.inode ?? 0;
      const lost = async () => {
        const { runs } = pagesOf(await t.snapshot(vm.pid), inode);
        const backing = perPage(runs, run => run.backing);
        const gpas = perPage(runs, (run, i) => (run.gpa === null ? null : Number(run.gpa) + 4096 * i));
        return backing.flatMap((state, i) => (state === 'connected' ? [] : [[gpas[i], state]]));
      };
      t.equal('none before', await lost(), []);
      const pages = guestPages(framebuffer);
      const chosen = [pages[3], pages[4], pages[100], pages[2024]].map(page => page ?? 0);
      await balloon.inflate([...chosen, 0x700_0000].map(gpa => gpa / 4096));
      t.equal(
        'those four, with their guest addresses',
        await lost(),
        chosen.map(gpa => [gpa, 'disconnected']),
      );
      // The guest takes them back and writes: other pages are there now, the buffer keeps its own.
      await balloon.deflate(chosen.map(gpa => gpa / 4096));
      for (const gpa of chosen) await vm.qtest.writeBytes(gpa, Buffer.from('again'));
      t.equal(
        'the same after the guest wrote there again',
        await lost(),
        chosen.map(gpa => [gpa, 'disconnected']),
      );
      const now = pagesOf(await t.snapshot(vm.pid), inode).runs;
      const ours = perPage(now, (run, i) => run.pfn + i);
      const differs: boolean[] = [];
      for (const gpa of chosen) {
        const reply = parseGpa2hpa(await vm.hmp(`gpa2hpa 0x${gpa.toString(16)}`));
        differs.push(reply.state !== 'refused' && Number(reply.address) / 4096 !== ours[pages.indexOf(gpa)]);
      }
      t.equal('gpa2hpa shows another page there too', differs, [true, true, true, true]);
    },
  },
  {
    name: 'a huge page that the balloon discards in one message',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ balloon: true, backend: 'hugetlb=on,prealloc=on' });
      const gpu = await vm.gpu();
      const entries = [
        { address: 0x400_0000, length: 2 * MiB },
        { address: 0x440_0000, length: MiB },
      ];
      await gpu.createBlob(entries);
      const balloon = await vm.balloon();
      const [resource] = (await t.snapshot(vm.pid)).resources;
      const states = async () =>
        perPage(pagesOf(await t.snapshot(vm.pid), resource?.inode ?? 0).runs, run => run.backing);
      t.equal('before', [...new Set(await states())], ['connected']);
      await balloon.inflate(Array.from({ length: 512 }, (_, i) => 0x400_0000 / 4096 + i));
      const after = await states();
      t.equal('the first 512 pages', [...new Set(after.slice(0, 512))], ['disconnected']);
      t.equal('the other 256', [...new Set(after.slice(512))], ['connected']);
    },
  },
  {
    name: 'a monitor that is taken reads busy, and pages are exact all the same',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ testMonitor: false });
      const gpu = await vm.gpu();
      await gpu.createBlob(framebuffer);
      const free = await t.snapshot(vm.pid);
      const socket = connect(vm.qmpSocket);
      t.atEnd(async () => void socket.destroy());
      await new Promise<void>((resolve, reject) => {
        socket.once('data', () => resolve());
        socket.once('error', reject);
      });
      const taken = await t.snapshot(vm.pid);
      t.equal('monitor', [free.target.qmp, taken.target.qmp], ['ok', 'busy']);
      const inode = free.resources[0]?.inode ?? 0;
      t.equal('the same pages', pfnsOf(pagesOf(taken, inode).runs), pfnsOf(pagesOf(free, inode).runs));
      t.equal('backing', [...new Set(pagesOf(taken, inode).runs.map(run => run.backing))], ['connected']);
      t.equal(
        'guest addresses are null, not guessed',
        [...new Set(pagesOf(taken, inode).runs.map(run => run.gpa))],
        [null],
      );
      t.equal(
        'the backend is still told by its size',
        taken.target.ram?.map(ram => [ram.id, ram.guestRanges]),
        [['mem1', null]],
      );
      const why = taken.sources.find(({ name }) => name === 'qmp');
      t.ok('and why is said', why?.state === 'absent' && why.detail.includes('busy'), why);
    },
  },
  {
    name: 'RAM that is mapped private is told, and the guest’s pages are not the buffer’s',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ backend: 'share=off' });
      const gpu = await vm.gpu();
      // What the guest writes goes to private copies.
      for (const gpa of guestPages(repeated)) await vm.qtest.writeBytes(gpa, Buffer.from('guest'));
      await gpu.createBlob(repeated);
      const snapshot = await t.snapshot(vm.pid);
      t.equal(
        'share',
        snapshot.target.ram?.map(({ share }) => share),
        [false],
      );
      const runs = pagesOf(snapshot, snapshot.resources[0]?.inode ?? 0).runs;
      t.equal('backing', [...new Set(runs.map(run => run.backing))], ['disconnected']);
    },
  },
];
