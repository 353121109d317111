import { describe, expect, test } from 'vitest';
import { expandRuns } from '../../test/kernel-expected.ts';
import { recordedKernels } from '../../test/kernel-recording.ts';
import { readUdmabufs, stillThere, walkDmaBufs } from './dma-bufs.ts';

describe.each(recordedKernels.map(kernel => [kernel.id, kernel] as const))(
  'Linux %s, as recorded',
  (_, kernel) => {
    const { expected, layout } = kernel;
    const memory = kernel.memory();

    test('all dma-bufs of the machine, with size and time of creation', async () => {
      const walk = await walkDmaBufs(memory, layout);
      expect([walk.raced, walk.racedBuffers]).toEqual([false, 0]);
      const blobs = expected.qemu.flatMap(({ blobs }) => blobs);
      const sizes = new Map([
        ...expected.udmabufs.map(({ inode, sizeBytes }): [number, number] => [inode, sizeBytes]),
        ...blobs.map(({ inode, entries }): [number, number] => [
          inode,
          entries.reduce((sum, [, bytes]) => sum + bytes, 0),
        ]),
      ]);
      expect(new Map(walk.buffers.map(({ inode, sizeBytes }) => [inode, sizeBytes]))).toEqual(sizes);
      expect(walk.buffers.every(({ isUdmabuf }) => isUdmabuf)).toBe(true);
      for (const { inode, createdNs } of expected.udmabufs) {
        expect(walk.buffers.find(buffer => buffer.inode === inode)?.createdNs).toBe(BigInt(createdNs));
      }
    });
    test('x', async () => {
      const walk = await walkDmaBufs(memory, layout);
      console.log(
        walk.buffers.filter(b => b.attachments.length),
        expected.attached,
      );
      const pages = await readUdmabufs(memory, layout, walk.buffers);
      for (const e of expected.udmabufs) {
        const i = walk.buffers.findIndex(b => b.inode === e.inode);
        expect(Array.from(pages[i]?.pfn ?? [])).toEqual(expandRuns(e.pages));
        console.log(e.inode, pages[i]?.pins);
      }
      expect(await stillThere(memory, layout, walk.buffers)).toEqual(walk.buffers.map(() => true));
    });
  },
);
