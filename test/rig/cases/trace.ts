/**
 * What QEMU's own trace tells: which resource a dma-buf is, and where it is shown. The second source is the guest, that is the case:
 * it made the resources over the virtqueue.
 */
import type { Snapshot, Virtio } from '../../../model/snapshot.ts';
import { TRACE_PATTERNS } from '../../../sampler/qemu-trace.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { checkRechecks } from '../compare.ts';
import { scattered, type VirtioGpu } from '../guest/gpu.ts';
import { guestRam, type RealQemu } from '../guest/qemu.ts';

const frameBytes = 1920 * 1080 * 4;
const frontFrame = scattered(guestRam.free, frameBytes, 32 * 1024, 64 * 1024);
const backFrame = scattered(0x800_0000, frameBytes, 32 * 1024, 64 * 1024);
const small = scattered(0xa00_0000, 16384, 4096, 8192);
/** As large as {@link small}, in one piece: QEMU 7.2 makes no dma-buf of it. */
const onePiece = [{ address: 0xb00_0000, length: 16384 }];

const told = ({ resources }: Snapshot): (Virtio | null)[] =>
  [...resources].sort((a, b) => a.inode - b.inode).map(({ virtio }) => virtio);
const stateOf = ({ sources }: Snapshot) => sources.find(({ name }) => name === 'qemu-trace')?.state;
const is = (resourceId: number | null, scanout: Virtio['scanout']): Virtio => ({ resourceId, scanout });
const longPins = ({ findings }: Snapshot) => findings.filter(({ rule }) => rule === 'long-pin');

const pause = () => new Promise(resolve => setTimeout(resolve, 50));

/** A snapshot eleven minutes later by the wall clock, which ages are of. */
async function later(
  t: CaseContext,
  vm: RealQemu,
  use: (snapshot: Snapshot) => Promise<void>,
): Promise<void> {
  await t.sh(`date -s '+11 minutes' >/dev/null`);
  try {
    await use(await t.snapshot(vm.pid));
  } finally {
    await t.sh(`date -s '-11 minutes' >/dev/null`);
  }
}

/** What docs/SOURCES.md says for a QEMU that runs. */
async function switchOn(vm: RealQemu, file: string): Promise<void> {
  await vm.hmp(`logfile ${file}`);
  for (const pattern of TRACE_PATTERNS) await vm.hmp(`trace-event ${pattern} on`);
}

async function twoFrames(gpu: VirtioGpu): Promise<{ front: number; back: number; icon: number }> {
  const front = await gpu.createBlob(frontFrame);
  const back = await gpu.createBlob(backFrame);
  await gpu.setScanoutBlob(front, 1920, 1080);
  const icon = await gpu.createBlob(small);
  await gpu.setScanoutBlob(back, 1920, 1080);
  return { front, back, icon };
}

export const traceCases: readonly RigCase[] = [
  {
    name: 'QEMU traced from its start: which resource a buffer is, and which is shown',
    boot: 'zones',
    async run(t) {
      for (const [what, args] of [
        ['standard error', []],
        ['-D FILE', ['-D', `${t.dir}/trace.log`]],
        ['standard error with times', ['-msg', 'timestamp=on']],
      ] as const) {
        const vm = await t.qemu({ dir: `${t.dir}/${args.length}${args[0] ?? ''}`, trace: true, args });
        const gpu = await vm.gpu();
        const { front, back, icon } = await twoFrames(gpu);
        const first = await t.snapshot(vm.pid);
        t.equal(`${what}: source`, stateOf(first), 'ok');
        t.equal(`${what}: as the guest made them`, told(first), [
          is(front, null),
          is(back, 0),
          is(icon, null),
        ]);
        await later(t, vm, async old => {
          t.equal(
            `${what}: old and not shown`,
            longPins(old).map(({ severity, resource }) => [severity, resource]),
            [0, 2].map(i => ['warning', first.resources[i]?.inode]),
          );
          await checkRechecks(t, longPins(old));
          if (args.length === 0)
            t.judged('a traced guest with two frames and an icon, eleven minutes old', old);
        });
        await gpu.disableScanout();
        await gpu.unref(front);
        t.equal(`${what}: switched off`, told(await t.snapshot(vm.pid)), [is(back, null), is(icon, null)]);
        // Of one size, and only one of them is a dma-buf: times tell which, order does not.
        await gpu.unref(icon);
        await gpu.createBlob(onePiece);
        // The next line says until when a dma-buf of that one was made; the kernel stamps the other with its last tick.
        await gpu.disableScanout();
        await pause();
        const again = await gpu.createBlob(small);
        t.equal(`${what}: one of two`, told(await t.snapshot(vm.pid)), [
          is(back, null),
          is(what.endsWith('times') ? again : null, null),
        ]);
        await vm.reset();
        t.equal(`${what}: a reset`, told(await t.snapshot(vm.pid)), []);
        const other = await gpu.createBlob(small);
        const shown = await gpu.createBlob(backFrame);
        await gpu.setScanoutBlob(shown, 1920, 1080);
        t.equal(`${what}: ids come again`, told(await t.snapshot(vm.pid)), [is(other, null), is(shown, 0)]);
        await vm.kill();
      }
    },
  },
  {
    name: 'QEMU traced from later on: nothing is told of what was before',
    boot: 'zones',
    async run(t) {
      const plain = await t.qemu({ dir: `${t.dir}/plain` });
      const gpu = await plain.gpu();
      const front = await gpu.createBlob(frontFrame);
      await gpu.setScanoutBlob(front, 1920, 1080);
      const untraced = await t.snapshot(plain.pid);
      t.equal('no trace: source', stateOf(untraced), 'absent');
      t.equal('no trace', told(untraced), [null]);
      await switchOn(plain, `${t.dir}/plain.log`);
      await gpu.createBlob(backFrame);
      await gpu.createBlob(small);
      const partly = await t.snapshot(plain.pid);
      t.equal('no times: source', stateOf(partly), 'absent');
      t.equal('no times', told(partly), [null, null, null]);
      await later(t, plain, async old =>
        t.judged('a guest traced from its second frame on, eleven minutes old', old),
      );
      await plain.reset();
      const anew = await twoFrames(gpu);
      t.equal('after the guest’s next start', told(await t.snapshot(plain.pid)), [
        is(anew.front, null),
        is(anew.back, 0),
        is(anew.icon, null),
      ]);
      await plain.kill();

      const vm = await t.qemu({ dir: `${t.dir}/times`, args: ['-msg', 'timestamp=on'] });
      const stamped = await vm.gpu();
      await stamped.createBlob(frontFrame);
      await switchOn(vm, `${t.dir}/times.log`);
      // The first line says when the trace began; what comes after it was traced for sure.
      await stamped.disableScanout();
      await pause();
      const back = await stamped.createBlob(backFrame);
      const icon = await stamped.createBlob(small);
      t.equal('with times', told(await t.snapshot(vm.pid)), [null, is(back, null), is(icon, null)]);
      await stamped.setScanoutBlob(back, 1920, 1080);
      t.equal('with times, shown', told(await t.snapshot(vm.pid)), [null, is(back, 0), is(icon, null)]);
      await vm.hmp('trace-event virtio_gpu_cmd_res_create_* off');
      const off = await t.snapshot(vm.pid);
      t.equal('switched off: source', stateOf(off), 'absent');
      t.equal('switched off', told(off), [null, null, null]);
    },
  },
  {
    name: 'a refused buffer of a traced QEMU is named',
    boot: 'zones',
    async run(t) {
      const file = '/sys/module/udmabuf/parameters/size_limit_mb';
      const before = (await t.sh(`cat ${file}`)).trim();
      t.atEnd(async () => void (await t.sh(`echo ${before} >${file}`)));
      await t.sh(`echo 7 >${file}`);
      const vm = await t.qemu({ trace: true });
      const gpu = await vm.gpu();
      const icon = await gpu.createBlob(small);
      const refused = await gpu.createBlob(frontFrame);
      const after = await t.snapshot(vm.pid);
      const [finding] = after.findings.filter(({ rule }) => rule === 'create-refused');
      t.ok(
        'the resource that was refused',
        finding?.explanation.includes(`resource ${refused} of 7.91 MiB`) ?? false,
        finding,
      );
      t.judged('size_limit_mb is 7, the framebuffer of a traced guest refused', after);
      await t.sh(`echo ${before} >${file}`);
      const frame = await gpu.createBlob(frontFrame);
      // The refused one has the same size, and is no candidate.
      t.equal('the next is told', told(await t.snapshot(vm.pid)), [is(icon, null), is(frame, null)]);
    },
  },
];
