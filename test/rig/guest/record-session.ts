/**
 * Makes the session that the window opens where nothing uses udmabuf: a real QEMU with a framebuffer, a window and a video, whose
 * guest gives pages of its framebuffer to the balloon while they are shown. A sample a second, as the window takes them.
 */
import { appendFileSync } from 'node:fs';
import type { SampleTiming } from '../../../model/contract.ts';
import { toSnapshot } from '../../../model/run-columns.ts';
import { openHost } from '../../../sampler/access.ts';
import { Sampler } from '../../../sampler/sampler.ts';
import { Schedule } from '../../../sampler/schedule.ts';
import { scattered } from './gpu.ts';
import { guestRam, type RealQemu, startQemu } from './qemu.ts';

/** Where the guest sees the memory of a DIMM: behind the 4 GiB border. */
const DIMM = 0x1_0000_0000;
const FRAMEBUFFER = scattered(guestRam.free, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);
const NEXT_FRAMEBUFFER = scattered(0x800_0000, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);

/** What the guest does before the sample of this number is taken. */
type Script = ReadonlyMap<number, () => Promise<void>>;

/** `count` guest pages from page `from` of the framebuffer on, as frame numbers. */
const framebufferPages = (from: number, count: number): number[] => {
  const pages = FRAMEBUFFER.flatMap(({ address, length }) =>
    Array.from({ length: length / 4096 }, (_, i) => address / 4096 + i),
  );
  return pages.slice(from, from + count);
};

async function script(vm: RealQemu): Promise<Script> {
  const gpu = await vm.gpu();
  const balloon = await vm.balloon();
  const video: number[] = [];
  const nextFrame = async (n: number) => {
    // Three frames in turn, each in a place of its own in memory of huge pages.
    video.push(
      await gpu.createBlob(scattered(DIMM + (n % 3) * 0x80_0000, 1280 * 720 * 4, 64 * 1024, 128 * 1024)),
    );
    const old = video.length > 3 ? video.shift() : undefined;
    if (old !== undefined) await gpu.unref(old);
  };
  const frame = await gpu.createBlob(FRAMEBUFFER);
  await gpu.setScanoutBlob(frame, 1920, 1080);
  // A cursor and a panel.
  await gpu.createBlob(scattered(0x500_0000, 16 * 1024, 4096, 8192));
  await gpu.createBlob(scattered(0x780_0000, 1920 * 32 * 4, 16 * 1024, 48 * 1024));
  let window = 0;
  let menu = 0;
  let next = 0;
  const lost = framebufferPages(400, 24);
  const more = framebufferPages(1187, 9);
  return new Map<number, () => Promise<void>>([
    [
      10,
      async () => {
        window = await gpu.createBlob(scattered(0x600_0000, 1024 * 768 * 4, 128 * 1024, 256 * 1024));
      },
    ],
    ...[16, 18, 20, 22, 24, 26].map((at, n): [number, () => Promise<void>] => [at, () => nextFrame(n)]),
    [
      29,
      async () => {
        menu = await gpu.createBlob(scattered(0x700_0000, 200 * 1024, 8192, 20 * 1024));
      },
    ],
    [33, () => gpu.unref(menu)],
    // The guest gives pages back that it still shows: QEMU discards them, the framebuffer keeps the old ones.
    [38, () => balloon.inflate([...lost, ...Array.from({ length: 300 }, (_, i) => 0xa00_0000 / 4096 + i)])],
    // Some it takes again and writes to: the memfd has other pages there now.
    [
      46,
      async () => {
        const again = lost.slice(0, 10);
        await balloon.deflate(again);
        for (const page of again) await vm.qtest.writeBytes(page * 4096, Buffer.from('again'));
      },
    ],
    [
      52,
      async () => {
        for (const resource of video.splice(0)) await gpu.unref(resource);
      },
    ],
    [57, () => balloon.inflate(more)],
    [64, () => gpu.unref(window)],
    // A new mode: another framebuffer, whose pages are the guest's.
    [
      74,
      async () => {
        next = await gpu.createBlob(NEXT_FRAMEBUFFER);
        await gpu.setScanoutBlob(next, 1920, 1080);
      },
    ],
    [76, () => gpu.unref(frame)],
  ]);
}

/**
 * @param file gets a JSON document a line: `{"snapshot": …}` or `{"skipped": N}`, the times left out since the line before
 * @param samples how many
 */
export async function recordSession(file: string, samples = 90): Promise<void> {
  const vm = await startQemu({
    dir: '/tmp/recorded',
    name: 'fedora',
    balloon: true,
    testMonitor: true,
    trace: true,
    args: [
      ...['-object', 'memory-backend-memfd,id=mem2,size=128M,hugetlb=on,prealloc=on'],
      ...['-device', 'pc-dimm,id=dimm0,memdev=mem2'],
      ...['-msg', 'timestamp=on', '-D', '/tmp/qemu.log'],
    ],
  });
  const sampler = new Sampler(openHost());
  try {
    const steps = await script(vm);
    // The first sample learns the kernel's layout, which takes longer than a period here.
    await sampler.sample(vm.pid);
    let skipped = 0;
    await new Promise<void>((resolve, reject) => {
      let taken = 0;
      const schedule = new Schedule(1000, async (timing: () => SampleTiming) => {
        try {
          await steps.get(taken)?.();
          const reading = await sampler.sample(vm.pid);
          if (reading.state !== 'ok') throw new Error(JSON.stringify(reading));
          const { skipped: now } = timing();
          if (now > skipped) appendFileSync(file, `${JSON.stringify({ skipped: now - skipped })}\n`);
          skipped = now;
          appendFileSync(file, `${JSON.stringify({ snapshot: toSnapshot(reading.value) })}\n`);
          if (++taken < samples) return;
          schedule.stop();
          resolve();
        } catch (error) {
          schedule.stop();
          reject(error);
        }
      });
      schedule.start();
    });
  } finally {
    sampler.close();
    await vm.kill();
  }
}
