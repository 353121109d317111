/**
 * Records what a real QEMU prints of its virtio-gpu when it is traced, `test/fixtures/qemu-7.2/trace`: the same guest in front of every way
 * of switching the trace on.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scattered } from './gpu.ts';
import { guestRam, type RealQemu, startQemu } from './qemu.ts';

const frame = (at: number) => scattered(at, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);
const small = scattered(0x800_0000, 16384, 4096, 8192);

/** Two frames in turn, a small blob that comes and goes, one piece alone, one that is refused, and a reboot. */
async function guest(vm: RealQemu): Promise<void> {
  const gpu = await vm.gpu();
  const front = await gpu.createBlob(frame(guestRam.free));
  const back = await gpu.createBlob(frame(0xa00_0000));
  await gpu.setScanoutBlob(front, 1920, 1080);
  await gpu.flush(front, 1920, 1080);
  await gpu.setScanoutBlob(back, 1920, 1080);
  const gone = await gpu.createBlob(small);
  await gpu.detachBacking(gone);
  await gpu.attachBacking(gone, small);
  await gpu.unref(gone);
  await gpu.createBlob([{ address: 0x900_0000, length: 65536 }]);
  // 65 MiB, with pieces of guest memory that come again: more than size_limit_mb.
  const piece = scattered(guestRam.free, 1 << 20, 65536, 131072);
  await gpu.createBlob(Array.from({ length: 65 }, () => piece).flat());
  await gpu.disableScanout();
  await vm.reset();
  const again = await gpu.createBlob(frame(guestRam.free));
  await gpu.setScanoutBlob(again, 1920, 1080);
}

/** @param target directory for the logs */
export async function recordTrace(target: string): Promise<void> {
  mkdirSync(target, { recursive: true });
  const record = async (
    name: string,
    args: readonly string[],
    log?: string,
    before?: (vm: RealQemu) => Promise<void>,
  ) => {
    const vm = await startQemu({ dir: `/tmp/${name}`, testMonitor: true, args });
    try {
      await before?.(vm);
      await guest(vm);
      writeFileSync(join(target, `${name}.txt`), log === undefined ? vm.stderr() : readFileSync(log));
      if (log !== undefined) writeFileSync(join(target, `${name}-stderr.txt`), vm.stderr());
    } finally {
      await vm.kill();
    }
  };
  await record('stderr', ['-trace', 'virtio_gpu_*']);
  await record('stamped', [
    '-trace',
    'virtio_gpu_*',
    '-trace',
    'virtio_set_status',
    '-msg',
    'timestamp=on,guest-name=on',
    '-name',
    'a guest',
  ]);
  await record('file', ['-trace', 'virtio_gpu_*', '-D', '/tmp/trace.log'], '/tmp/trace.log');
  await record('run-time', [], '/tmp/run-time.log', async vm => {
    await vm.hmp('logfile /tmp/run-time.log');
    await vm.qmp('trace-event-set-state', { name: 'virtio_gpu_*', enable: true });
    writeFileSync(
      join(target, 'get-state.json'),
      JSON.stringify(await vm.qmp('trace-event-get-state', { name: 'virtio_gpu_*' })),
    );
  });
}
