/** A guest with blobs and a real vfio device, in both orders: what the thread said would not work, and where it does. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { CaseContext, RigCase } from '../case.ts';
import { allocatedBlocks, pagesOf } from '../compare.ts';
import { entriesOf, movableTest, touchedPages } from '../guest/held-places.ts';
import { guestRam, type RealQemu } from '../guest/qemu.ts';
import { bindToVfio, vfioDevice } from '../guest/vfio.ts';

const FRAME_PAGES = 768;

/** A blob of 1024 x 768 of guest pages that lie in ZONE_MOVABLE, on the scanout. */
async function frameInMovable(vm: RealQemu): Promise<void> {
  const pages = 8192;
  const isMovable = movableTest();
  const chosen = (await touchedPages(vm, pages)).flatMap((pfn, i) =>
    isMovable(pfn) ? [guestRam.free + i * 4096] : [],
  );
  if (chosen.length < FRAME_PAGES) throw new Error(`${chosen.length} of ${pages} pages lie in ZONE_MOVABLE`);
  const gpu = await vm.gpu();
  await gpu.setScanoutBlob(await gpu.createBlob(entriesOf(chosen.slice(0, FRAME_PAGES))), 1024, 768);
}

const addDevice = (vm: RealQemu): Promise<string> =>
  vm
    .qmp('device_add', { driver: 'vfio-pci', host: vfioDevice, id: 'net0' })
    .then(() => 'added')
    .catch((error: Error) => error.message);

const zonesOf = async (t: CaseContext, vm: RealQemu): Promise<(string | null)[]> => {
  const snapshot = await t.snapshot(vm.pid);
  const [resource] = snapshot.resources;
  return [...new Set(pagesOf(snapshot, resource?.inode ?? 0).runs.map(({ zone }) => zone))];
};

/** A line of /proc/PID/status in kB. */
const statusOf = (pid: number, key: string): number =>
  Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

/** The fd of its memory backend. */
function memfdOf(pid: number): number {
  const fd = readdirSync(`/proc/${pid}/fd`).find(name =>
    readlinkSync(`/proc/${pid}/fd/${name}`).startsWith('/memfd:memory-backend-memfd'),
  );
  if (fd === undefined) throw new Error(`${pid} has no memory backend`);
  return Number(fd);
}

export const vfioCases: readonly RigCase[] = [
  {
    name: 'a vfio device after the blobs: fails on 6.1 as predicted, works since 6.11',
    boot: 'vfio',
    async run(t) {
      bindToVfio();
      const vm = await t.qemu();
      await frameInMovable(vm);
      t.judged('a blob, no vfio device yet', await t.snapshot(vm.pid));
      t.equal('the blob before', await zonesOf(t, vm), [t.pageRefs ? 'Movable' : 'DMA32']);
      const answer = await addDevice(vm);
      if (t.pageRefs) {
        t.ok(
          'QEMU’s answer',
          /memory listener initialization failed: Region mem1: vfio_dma_map\(.*\) = -12 \(Cannot allocate memory\)/.test(
            answer,
          ),
          answer,
        );
        t.ok('QEMU’s log', vm.stderr().includes('VFIO_MAP_DMA failed: Cannot allocate memory'), vm.stderr());
      } else {
        t.equal('QEMU’s answer', answer, 'added');
        t.ok(
          'all guest memory is locked',
          statusOf(vm.pid, 'VmLck') >= 256 * 1024,
          statusOf(vm.pid, 'VmLck'),
        );
      }
      t.judged('a blob, then device_add vfio-pci', await t.snapshot(vm.pid));
    },
  },
  {
    name: 'blobs after a vfio device: work on every kernel',
    boot: 'vfio',
    async run(t) {
      bindToVfio();
      const vm = await t.qemu();
      t.equal('QEMU’s answer', await addDevice(vm), 'added');
      const gpu = await vm.gpu();
      await gpu.createBlob([
        { address: guestRam.free, length: 1 << 20 },
        { address: 0x400_0000, length: 1 << 20 },
      ]);
      t.judged('a vfio device, then a blob', await t.snapshot(vm.pid));
      const zones = await zonesOf(t, vm);
      t.ok('the blob’s pages are out of ZONE_MOVABLE', zones.length > 0 && !zones.includes('Movable'), zones);
      t.equal('QEMU warned of nothing', vm.stderr(), '');
    },
  },
  {
    name: 'a balloon beside a live blob: discards nothing while there is a vfio device, and does without',
    boot: 'vfio',
    async run(t) {
      bindToVfio();
      const lost = [guestRam.free, guestRam.free + 4096, guestRam.free + 16 * 4096];
      for (const [what, args, works] of [
        ['a vfio device', ['-device', `vfio-pci,host=${vfioDevice},id=net0`], false],
        ['no vfio device', [], true],
      ] as const) {
        const vm = await t.qemu({ dir: `${t.dir}/${args.length}`, balloon: true, args });
        // Every page is there before, so that the balloon alone changes how many are.
        await vm.qtest.fill(guestRam.free, 1 << 20, 0x5a);
        await (await vm.gpu()).createBlob([
          { address: guestRam.free, length: 1 << 19 },
          { address: guestRam.free + (1 << 19), length: 1 << 19 },
        ]);
        const balloon = await vm.balloon();
        // Of a page that is not there: the guest’s own message takes memory the first time.
        await balloon.inflate([0x700_0000 / 4096]);
        const before = await t.snapshot(vm.pid);
        t.judged(`a balloon beside a blob, ${what}`, before);
        t.equal(
          `${what}: discard-possible`,
          before.findings.filter(({ rule }) => rule === 'discard-possible').length,
          works ? 1 : 0,
        );
        const blocks = () => allocatedBlocks(vm.pid, memfdOf(vm.pid));
        const there = blocks();
        await balloon.inflate(lost.map(gpa => gpa / 4096));
        t.equal(`${what}: pages that the memfd has less`, (there - blocks()) / 8, works ? lost.length : 0);
        const after = await t.snapshot(vm.pid);
        t.judged(`the same, ${what}, inflated over three pages of the blob`, after);
        t.equal(
          `${what}: disconnected`,
          after.findings.filter(({ rule }) => rule === 'disconnected').map(({ title }) => title),
          works ? ['3 of 256 pages no longer the guest’s'] : [],
        );
        t.equal(`${what}: QEMU is silent`, vm.stderr(), '');
        await vm.kill();
      }
    },
  },
];
