/**
 * Makes the snapshot that the program shows where nothing uses udmabuf: a real QEMU with a framebuffer and seven more blobs, in huge
 * pages and in small ones, one of which lost pages to the balloon.
 */
import { writeFileSync } from 'node:fs';
import { openHost } from '../../../sampler/access.ts';
import { Sampler } from '../../../sampler/sampler.ts';
import { scattered } from './gpu.ts';
import { guestRam, startQemu } from './qemu.ts';

/** Where the guest sees the memory of a DIMM: behind the 4 GiB border. */
const dimm = 0x1_0000_0000;

/** @param file where the snapshot goes, one JSON document */
export async function recordSnapshot(file: string): Promise<void> {
  const vm = await startQemu({
    dir: '/tmp/recorded',
    name: 'fedora',
    backend: 'hugetlb=on,prealloc=on',
    balloon: true,
    testMonitor: true,
    trace: true,
    args: [
      ...['-object', 'memory-backend-memfd,id=mem2,size=128M', '-device', 'pc-dimm,id=dimm0,memdev=mem2'],
      ...['-msg', 'timestamp=on', '-D', '/tmp/qemu.log'],
    ],
  });
  const sampler = new Sampler(openHost());
  try {
    const gpu = await vm.gpu();
    const frame = await gpu.createBlob(scattered(guestRam.free, 1920 * 1080 * 4, 32 * 1024, 64 * 1024));
    await gpu.setScanoutBlob(frame, 1920, 1080);
    // A cursor, a window, two icons and a panel, as a desktop has them.
    await gpu.createBlob(scattered(0x500_0000, 16 * 1024, 4096, 8192));
    await gpu.createBlob(scattered(0x600_0000, 1024 * 768 * 4, 128 * 1024, 256 * 1024));
    await gpu.createBlob(scattered(0x700_0000, 36 * 1024, 4096, 12288));
    await gpu.createBlob(scattered(0x740_0000, 36 * 1024, 4096, 12288));
    await gpu.createBlob(scattered(0x780_0000, 1920 * 32 * 4, 16 * 1024, 48 * 1024));
    // A video frame and its successor in the memory that was added, whose pages are small.
    const video = scattered(dimm, 1280 * 720 * 4, 64 * 1024, 128 * 1024);
    await gpu.createBlob(video);
    await gpu.createBlob(scattered(dimm + 0x200_0000, 1280 * 720 * 4, 64 * 1024, 128 * 1024));
    // Of the first, the guest gives pages back too early, and takes some again and writes to them.
    const lost = [3, 11, 12, 30].flatMap(piece => {
      const first = (video[piece]?.address ?? 0) / 4096;
      return Array.from({ length: 9 }, (_, i) => first + i);
    });
    const balloon = await vm.balloon();
    await balloon.inflate(lost);
    await balloon.deflate(lost.slice(0, 9));
    for (const page of lost.slice(0, 9)) await vm.qtest.writeBytes(page * 4096, Buffer.from('again'));
    const reading = await sampler.snapshot(vm.pid);
    if (reading.state !== 'ok') throw new Error(JSON.stringify(reading));
    writeFileSync(file, `${JSON.stringify(reading.value)}\n`);
  } finally {
    sampler.close();
    await vm.kill();
  }
}
