/** Makes the snapshot that the program shows where nothing uses udmabuf: a real QEMU with a framebuffer and five more blobs. */
import { writeFileSync } from 'node:fs';
import { openHost } from '../../../sampler/access.ts';
import { Sampler } from '../../../sampler/sampler.ts';
import { scattered } from './gpu.ts';
import { guestRam, startQemu } from './qemu.ts';

/** @param file where the snapshot goes, one JSON document */
export async function recordSnapshot(file: string): Promise<void> {
  const vm = await startQemu({
    dir: '/tmp/recorded',
    name: 'fedora',
    backend: 'hugetlb=on,prealloc=on',
    balloon: true,
    testMonitor: true,
  });
  const sampler = new Sampler(openHost());
  try {
    const gpu = await vm.gpu();
    const frame = await gpu.createBlob(scattered(guestRam.free, 1920 * 1080 * 4, 256 * 1024, 512 * 1024));
    await gpu.setScanoutBlob(frame, 1920, 1080);
    // A cursor, a window, two icons and a video frame, as a desktop has them.
    await gpu.createBlob(scattered(0x500_0000, 16 * 1024, 4096, 8192));
    await gpu.createBlob(scattered(0x600_0000, 1024 * 768 * 4, 128 * 1024, 256 * 1024));
    await gpu.createBlob(scattered(0x700_0000, 36 * 1024, 4096, 12288));
    await gpu.createBlob(scattered(0x740_0000, 36 * 1024, 4096, 12288));
    await gpu.createBlob(scattered(0x800_0000, 1280 * 720 * 4, 64 * 1024, 128 * 1024));
    const reading = await sampler.snapshot(vm.pid);
    if (reading.state !== 'ok') throw new Error(JSON.stringify(reading));
    writeFileSync(file, `${JSON.stringify(reading.value)}\n`);
  } finally {
    sampler.close();
    await vm.kill();
  }
}
