/** What a real QEMU cannot make a buffer of: told from the configuration before, and from its own warning after. */
import type { Snapshot } from '../../../model/snapshot.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { checkRechecks } from '../compare.ts';
import { scattered } from '../guest/gpu.ts';
import { guestRam, type RealQemu } from '../guest/qemu.ts';

const AS_USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--inh-caps=-all', '--'];
const PARAMETERS = '/sys/module/udmabuf/parameters';
const frameBytes = 1920 * 1080 * 4;
/** 2025 pages in 254 pieces. */
const framebuffer = scattered(guestRam.free, frameBytes, 32 * 1024, 64 * 1024);
/** The same in 64. */
const lessScattered = scattered(guestRam.free, frameBytes, 128 * 1024, 256 * 1024);
const small = scattered(0x800_0000, 16384, 4096, 8192);

/** Sets a parameter of udmabuf; the case puts it back. */
async function limit(t: CaseContext, name: string, value: number): Promise<() => Promise<void>> {
  const file = `${PARAMETERS}/${name}`;
  const before = (await t.sh(`cat ${file}`)).trim();
  const restore = async () => void (await t.sh(`echo ${before} >${file}`));
  t.atEnd(restore);
  await t.sh(`echo ${value} >${file}`);
  return restore;
}

const refused = (vm: RealQemu, error: string): boolean =>
  vm.stderr().includes(`virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: ${error}`);

const foundBy = ({ findings }: Snapshot, ...rules: readonly string[]) =>
  findings.filter(({ rule }) => rules.includes(rule));

export const creationCases: readonly RigCase[] = [
  {
    name: 'size_limit_mb too small for the framebuffer: told before, seen after, gone when it is raised',
    boot: 'zones',
    async run(t) {
      const restore = await limit(t, 'size_limit_mb', 7);
      const vm = await t.qemu();
      const before = await t.snapshot(vm.pid);
      t.judged('size_limit_mb is 7, a guest of 1920x1080 before its first blob', before);
      const gpu = await vm.gpu();
      await gpu.createBlob(framebuffer);
      t.ok('QEMU was refused', refused(vm, 'Invalid argument'), vm.stderr());
      const after = await t.snapshot(vm.pid);
      t.judged('the same, refused', after);
      t.equal('no buffer', after.resources.length, 0);
      const [told] = foundBy(after, 'create-refused');
      t.ok('the error and the limit are named', /EINVAL.*size_limit_mb/.test(JSON.stringify(told)), told);
      await checkRechecks(t, foundBy(after, 'create-refused', 'limits'));
      await t.sh(`chmod 600 ${PARAMETERS}/*_limit*`);
      t.atEnd(async () => void (await t.sh(`chmod 644 ${PARAMETERS}/*_limit*`)));
      const denied = await t.pinscope(['snapshot', '--pid', String(vm.pid), '--json'], AS_USER);
      t.judged(
        'the same, by an ordinary user who may not read the limits',
        JSON.parse(denied.stdout) as Snapshot,
      );
      await restore();
      await gpu.createBlob(framebuffer);
      const raised = await t.snapshot(vm.pid);
      t.equal('pages', raised.resources[0]?.pages?.count, 2025);
      t.judged('the limit raised, the framebuffer made anew', raised);
    },
  },
  {
    name: 'list_limit 100 and framebuffers in 64 and in 254 pieces',
    boot: 'zones',
    async run(t) {
      await limit(t, 'list_limit', 100);
      const vm = await t.qemu();
      t.judged('list_limit is 100, before the first blob', await t.snapshot(vm.pid));
      const gpu = await vm.gpu();
      const blob = await gpu.createBlob(lessScattered);
      const fine = await t.snapshot(vm.pid);
      t.equal('64 pieces: pages', fine.resources[0]?.pages?.count, 2025);
      t.judged('list_limit is 100, a framebuffer in 64 pieces', fine);
      await gpu.unref(blob);
      await gpu.createBlob(framebuffer);
      t.ok('254 pieces: QEMU was refused', refused(vm, 'Invalid argument'), vm.stderr());
      const after = await t.snapshot(vm.pid);
      t.judged('list_limit is 100, one in 254 pieces refused', after);
      await checkRechecks(t, foundBy(after, 'create-refused', 'limits'));
    },
  },
  {
    name: 'seal=off: no blob becomes a buffer',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ backend: 'seal=off' });
      t.judged('seal=off, before the first blob', await t.snapshot(vm.pid));
      await (await vm.gpu()).createBlob(framebuffer);
      t.ok('QEMU was refused', refused(vm, 'Invalid argument'), vm.stderr());
      const after = await t.snapshot(vm.pid);
      t.judged('seal=off, refused', after);
      await checkRechecks(t, foundBy(after, 'create-refused', 'blob-without-udmabuf'));
    },
  },
  {
    name: 'list_limit 0: every blob is refused, told before and after, and a program’s UDMABUF_CREATE works',
    boot: 'zones',
    async run(t) {
      const restore = await limit(t, 'list_limit', 0);
      const vm = await t.qemu();
      const before = await t.snapshot(vm.pid);
      t.judged('list_limit is 0, before the first blob', before);
      t.equal(
        'told before',
        foundBy(before, 'limits').map(({ title }) => title),
        ['list_limit is 0: every blob is refused'],
      );
      await checkRechecks(t, foundBy(before, 'create-refused', 'limits'));
      const gpu = await vm.gpu();
      await gpu.createBlob(small);
      t.ok('a blob of four pages is refused', refused(vm, 'Invalid argument'), vm.stderr());
      const after = await t.snapshot(vm.pid);
      t.equal('no buffer', after.resources.length, 0);
      t.judged('list_limit is 0, a blob of four pages refused', after);
      await checkRechecks(t, foundBy(after, 'create-refused', 'limits'));

      const helper = await t.buffers('--memfd', 'shmem,1M', '--buffer', '0,64K', '--list', '0,64K');
      t.equal('a program: refused', helper.refused, [
        { event: 'refused', call: 'UDMABUF_CREATE_LIST', errno: 22, error: 'Invalid argument' },
      ]);
      const program = await t.snapshot(helper.pid);
      t.equal('a program: buffers', program.resources.length, 1);
      t.judged('list_limit is 0, a buffer by UDMABUF_CREATE', program);

      await restore();
      await gpu.createBlob(small);
      const again = await t.snapshot(vm.pid);
      t.equal('restored: pages', again.resources[0]?.pages?.count, 4);
      t.equal('restored: limits', foundBy(again, 'limits'), []);
      t.judged('list_limit restored, the blob made anew', again);
    },
  },
  {
    name: 'a memfd that is not the machine’s memory: QEMU starts, and its blobs silently have no buffer',
    boot: 'zones',
    async run(t) {
      const vm = await t.qemu({ spareBackend: true });
      const before = await t.snapshot(vm.pid);
      t.judged('a memfd beside the machine’s memory, before the first blob', before);
      t.equal(
        'told before',
        foundBy(before, 'blob-without-udmabuf').map(({ severity, title }) => [severity, title]),
        [['error', 'blob=on, and no blob of this guest can become a buffer']],
      );
      const [told] = foundBy(before, 'blob-without-udmabuf');
      t.ok('with the reason', told?.explanation.includes('memory is anonymous') ?? false, told);
      await checkRechecks(t, foundBy(before, 'blob-without-udmabuf'));
      // QEMU looked for seals of any memory backend, found these, and has opened the device.
      t.equal(
        'the spare memfd is sealed',
        before.target.ram?.map(({ id, sealed }) => [id, sealed]),
        [['mem1', true]],
      );
      t.equal('QEMU has /dev/udmabuf open', before.target.open?.udmabuf, 1);
      await (await vm.gpu()).createBlob(framebuffer);
      const after = await t.snapshot(vm.pid);
      t.equal('the device says that all is well, and there is no buffer', after.resources, []);
      t.equal('QEMU is silent', vm.stderr(), '');
      t.judged('a memfd beside the machine’s memory, a blob without a buffer', after);
    },
  },
  {
    name: 'a balloon beside a live framebuffer: merely there, and reporting free pages',
    boot: 'zones',
    async run(t) {
      for (const [what, option] of [
        ['a balloon', ''],
        ['a balloon that reports free pages', ',free-page-reporting=on'],
      ] as const) {
        const vm = await t.qemu({
          dir: `${t.dir}/${option.length}`,
          args: ['-device', `virtio-balloon-pci,id=balloon0,addr=6${option}`],
        });
        t.judged(`${what}, no buffer yet`, await t.snapshot(vm.pid));
        const gpu = await vm.gpu();
        await gpu.setScanoutBlob(await gpu.createBlob(framebuffer), 1920, 1080);
        await gpu.createBlob(small);
        const beside = await t.snapshot(vm.pid);
        t.judged(`${what}, beside live buffers`, beside);
        await checkRechecks(t, foundBy(beside, 'discard-possible'));
        await vm.kill();
      }
    },
  },
];
