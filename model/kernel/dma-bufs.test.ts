import { describe, expect, test } from 'vitest';
import { cpuMs } from '../../test/cpu-time.ts';
import { type Expected, expandRuns } from '../../test/kernel-expected.ts';
import type { KernelImage } from '../../test/kernel-image.ts';
import { type RecordedKernel, recordedKernels } from '../../test/kernel-recording.ts';
import { RacingMemory } from '../../test/racing-memory.ts';
import { type DmaBuf, readUdmabufs, stillThere, walkDmaBufs } from './dma-bufs.ts';
import type { KernelLayout } from './layout.ts';
import type { KernelMemory } from './memory.ts';

/** Inode → bytes, of all buffers that the recording made. */
function sizes({ udmabufs, qemu }: Expected): Map<number, number> {
  return new Map([
    ...udmabufs.map(({ inode, sizeBytes }): [number, number] => [inode, sizeBytes]),
    ...qemu.flatMap(({ blobs }) =>
      blobs.map(({ inode, entries }): [number, number] => [
        inode,
        entries.reduce((sum, [, bytes]) => sum + bytes, 0),
      ]),
    ),
  ]);
}

/** Inode → PFNs of the buffers whose pages can be read. */
async function pfnsOf(memory: KernelMemory, layout: KernelLayout): Promise<Map<number, number[]>> {
  const { buffers } = await walkDmaBufs(memory, layout);
  const pages = await readUdmabufs(memory, layout, buffers);
  return new Map(
    buffers.flatMap(({ inode }, i): [number, number[]][] => {
      const read = pages[i];
      return read ? [[inode, Array.from(read.pfn)]] : [];
    }),
  );
}

/** The buffers in the order of the list, on the unchanged recording. */
const listed = async (kernel: RecordedKernel): Promise<readonly DmaBuf[]> =>
  (await walkDmaBufs(kernel.memory(), kernel.layout)).buffers;

describe.each(recordedKernels)('dma-bufs of Linux $id, as recorded', kernel => {
  const { expected, layout } = kernel;
  const memory = kernel.memory();

  test('all of the machine, with size and time of creation as stat has them', async () => {
    const walk = await walkDmaBufs(memory, layout);
    expect([walk.raced, walk.racedBuffers]).toEqual([false, 0]);
    expect(new Map(walk.buffers.map(({ inode, sizeBytes }) => [inode, sizeBytes]))).toEqual(sizes(expected));
    expect(walk.buffers.every(({ isUdmabuf }) => isUdmabuf)).toBe(true);
    for (const { inode, createdNs } of expected.udmabufs) {
      expect(walk.buffers.find(buffer => buffer.inode === inode)?.createdNs).toBe(BigInt(createdNs));
    }
  });
  test('the attached device, as debugfs names it', async () => {
    const { buffers } = await walkDmaBufs(memory, layout);
    const { inode, device } = expected.attached;
    expect(device).not.toBe('');
    for (const buffer of buffers) {
      const mapped = layout.attachment.sgt === undefined ? undefined : expect.any(Boolean);
      expect(buffer.attachments).toEqual(buffer.inode === inode ? [{ device, mapped }] : []);
    }
  });
  test('every PFN equals the pagemap of the program that made the buffer', async () => {
    const found = await pfnsOf(memory, layout);
    for (const { inode, pages, sizeBytes } of expected.udmabufs) {
      expect(found.get(inode), `buffer ${inode}`).toEqual(expandRuns(pages));
      expect(found.get(inode)?.length).toBe(sizeBytes / 4096);
    }
  });
  test('sampled PFNs equal gpa2hpa of QEMU', async () => {
    const found = await pfnsOf(memory, layout);
    let compared = 0;
    for (const { inode, samples } of expected.qemu.flatMap(({ blobs }) => blobs)) {
      for (const [entry, pfn] of samples) {
        expect(found.get(inode)?.[entry], `blob ${inode}, entry ${entry}`).toBe(pfn);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(100);
  });
  test('pins: one a list item and folio, none in the page-refs era', async () => {
    const { buffers } = await walkDmaBufs(memory, layout);
    const pages = await readUdmabufs(memory, layout, buffers);
    for (const { inode, items, folioPages, pages: runs } of expected.udmabufs) {
      const size = new Map(folioPages);
      const pfns = expandRuns(runs);
      let at = 0;
      let pins = 0;
      for (const { bytes } of items) {
        const mine = pfns.slice(at, at + bytes / 4096);
        // Folios lie at multiples of their size.
        pins += new Set(mine.map(pfn => pfn - (pfn % (size.get(pfn) ?? 1)))).size;
        at += mine.length;
      }
      const i = buffers.findIndex(buffer => buffer.inode === inode);
      expect(pages[i]?.pins, `buffer ${inode}`).toBe(layout.era === 'page-refs' ? 0 : pins);
    }
  });
  test('all are still there', async () => {
    const { buffers } = await walkDmaBufs(memory, layout);
    expect(await stillThere(memory, layout, buffers)).toEqual(buffers.map(() => true));
  });
  test('nothing to read', async () => {
    expect(await readUdmabufs(memory, layout, [])).toEqual([]);
    expect(await stillThere(memory, layout, [])).toEqual([]);
  });
});

describe.each(recordedKernels)('lists of Linux $id that change while they are read', kernel => {
  const { layout } = kernel;
  const { next, prev } = layout.list;
  const node = (buffer: DmaBuf | undefined) => (buffer?.address ?? 0n) + BigInt(layout.dmaBuf.node);
  /** Unlinks as list_del does, poison included. */
  const unlink = (image: KernelImage, at: bigint): void => {
    const [after, before] = [image.readU64(at + BigInt(next)), image.readU64(at + BigInt(prev))];
    image.writeU64(before + BigInt(next), after);
    image.writeU64(after + BigInt(prev), before);
    image.writeU64(at + BigInt(next), 0xdead_0000_0000_0100n);
    image.writeU64(at + BigInt(prev), 0xdead_0000_0000_0122n);
  };
  const walk = (memory: KernelMemory) => walkDmaBufs(memory, layout);

  test('an empty list', async () => {
    const image = kernel.memory();
    image.writeU64(layout.listHead + BigInt(next), layout.listHead);
    image.writeU64(layout.listHead + BigInt(prev), layout.listHead);
    expect(await walk(image)).toEqual({ buffers: [], raced: false, racedBuffers: 0 });
  });
  test('a buffer that is closed at any moment: the others are exact, it is there or not', async () => {
    const all = await listed(kernel);
    const truth = sizes(kernel.expected);
    for (let call = 0; call < 14; call++) {
      const victim = all[Math.floor(all.length / 2)];
      const memory = new RacingMemory(kernel.memory(), (at, _, image) => {
        if (at === call) unlink(image, node(victim));
      });
      const { buffers, raced } = await walk(memory);
      for (const { inode, sizeBytes } of buffers) expect(sizeBytes).toBe(truth.get(inode));
      const missing = [...truth.keys()].filter(inode => !buffers.some(buffer => buffer.inode === inode));
      expect(raced || missing.every(inode => inode === victim?.inode), `call ${call}`).toBe(true);
    }
  });
  test('a list that moves under every attempt is said to have raced, after a few', async () => {
    const all = await listed(kernel);
    const memory = new RacingMemory(kernel.memory(), (call, _, image) => {
      // One more gone ahead of every read: its poison is met where a neighbour was read before.
      const victim = all[call];
      if (victim) image.writeU64(node(victim) + BigInt(prev), 0xdead_0000_0000_0122n);
    });
    const { raced, buffers } = await walk(memory);
    expect(raced).toBe(true);
    expect(buffers.length).toBeLessThan(all.length);
    expect(memory.calls).toBeLessThan(100);
  });
  test('a node that does not point back', async () => {
    const all = await listed(kernel);
    const image = kernel.memory();
    const third = node(all[2]);
    image.writeU64(third + BigInt(prev), node(all[0]));
    const { buffers, raced } = await walk(image);
    expect(raced).toBe(true);
    expect(buffers.map(({ inode }) => inode)).toEqual(all.slice(0, 2).map(({ inode }) => inode));
  });
  test.each([
    ['NULL', 0n],
    ['poison', 0xdead_0000_0000_0100n],
    ['a user address', 0x7fff_ffff_f000n],
    ['the end of memory', 0xffff_ffff_ffff_fff8n],
    ['an odd address', 0xffff_ffff_ffff_fff1n],
    ['unmapped memory', 0xffff_f000_0000_0000n],
  ])('a node that goes on at %s', async (_, address) => {
    const all = await listed(kernel);
    const image = kernel.memory();
    image.writeU64(node(all[4]) + BigInt(next), address);
    const { buffers, raced } = await walk(image);
    expect(raced).toBe(true);
    expect(buffers.map(({ inode }) => inode)).toEqual(all.slice(0, 5).map(({ inode }) => inode));
  });
  test('a ring that does not come back to the head ends', async () => {
    const all = await listed(kernel);
    const image = kernel.memory();
    // The fourth node goes back to the second, which points back to it: only the count of nodes ends this.
    image.writeU64(node(all[3]) + BigInt(next), node(all[1]));
    image.writeU64(node(all[1]) + BigInt(prev), node(all[3]));
    image.writeU64(layout.listHead + BigInt(next), node(all[1]));
    image.writeU64(node(all[1]) + BigInt(prev), layout.listHead);
    const started = cpuMs();
    const memory = new RacingMemory(image, (call, _, at) => {
      if (call === 1) at.writeU64(node(all[1]) + BigInt(prev), node(all[3]));
    });
    expect((await walk(memory)).raced).toBe(true);
    expect(cpuMs() - started).toBeLessThan(20_000);
  });
  test('memory that goes away at any read: no throw', async () => {
    for (let call = 0; call < 14; call++) {
      const image = kernel.memory();
      let calls = 0;
      const memory: KernelMemory = {
        read: async ranges => (calls++ === call ? ranges.map(() => undefined) : image.read(ranges)),
      };
      const { buffers } = await walk(memory);
      const pages = await readUdmabufs(memory, layout, buffers);
      await stillThere(memory, layout, buffers);
      expect(pages.length).toBe(buffers.length);
    }
    expect(await walk({ read: async ranges => ranges.map(() => undefined) })).toEqual({
      buffers: [],
      raced: true,
      racedBuffers: 0,
    });
  });

  test('a freed dma-buf whose memory serves something else is left out and counted', async () => {
    const [first, second] = await listed(kernel);
    const image = kernel.memory();
    image.writeU64((first?.address ?? 0n) + BigInt(layout.dmaBuf.file), second?.file ?? 0n);
    const { buffers, racedBuffers } = await walk(image);
    expect(racedBuffers).toBe(1);
    expect(buffers.some(({ address }) => address === first?.address)).toBe(false);
  });
  test('another exporter’s buffer is no udmabuf', async () => {
    const [first] = await listed(kernel);
    const image = kernel.memory();
    image.writeU64((first?.address ?? 0n) + BigInt(layout.dmaBuf.ops), layout.udmabufOps + 64n);
    const { buffers } = await walk(image);
    expect(buffers.map(({ isUdmabuf }) => isUdmabuf).filter(is => !is).length).toBe(1);
    expect(buffers.find(({ isUdmabuf }) => !isUdmabuf)?.inode).toBe(first?.inode);
  });
  test('a time that no calendar has is no time', async () => {
    const { ctimeSec, ctimeNsec } = layout.inode;
    if (ctimeSec === undefined || ctimeNsec === undefined) throw new Error('no change time');
    for (const [at, value] of [
      [ctimeSec, 2n ** 63n],
      [ctimeSec, 8_640_000_000_000n],
      [ctimeNsec, 1_000_000_000n],
    ] as const) {
      const [first] = await listed(kernel);
      const image = kernel.memory();
      const inode = image.readU64((first?.file ?? 0n) + BigInt(layout.file.inode));
      image.writeU64(inode + BigInt(at), value);
      expect((await walk(image)).buffers[0]?.createdNs).toBeUndefined();
    }
  });
});

describe.each(recordedKernels)('attachments of Linux $id', kernel => {
  const { expected, layout } = kernel;
  const { attachment, dmaBuf, list } = layout;
  const attached = async () => {
    const buffer = (await listed(kernel)).find(({ inode }) => inode === expected.attached.inode);
    if (!buffer) throw new Error('nothing is attached');
    const image = kernel.memory();
    const head = buffer.address + BigInt(dmaBuf.attachments);
    const node = image.readU64(head + BigInt(list.next));
    const device = image.readU64(node - BigInt(attachment.node) + BigInt(attachment.dev));
    return { buffer, image, head, node, device };
  };
  const named = async (memory: KernelMemory) =>
    (await walkDmaBufs(memory, layout)).buffers.find(({ inode }) => inode === expected.attached.inode)
      ?.attachments;

  test('names up to 255 characters, also across the border of two pages', async () => {
    for (const length of [1, 63, 64, 255]) {
      for (const left of [4096, length + 1, length, 3, 1]) {
        const { image, device } = await attached();
        const text = 'n'.repeat(length);
        const page = 0xffff_a000_1234_0000n;
        image.pages.set(page >> 12n, new Uint8Array(4096));
        if (left <= length) image.pages.set((page >> 12n) + 1n, new Uint8Array(4096));
        const at = page + BigInt(4096 - left);
        image.write(at, Buffer.from(`${text}\0`));
        image.writeU64(device + BigInt(attachment.initName), at);
        expect(
          (await named(image))?.map(row => row.device),
          `${length}, ${left}`,
        ).toEqual([text]);
      }
    }
  });
  test('a name without an end, or none: the buffer is left out', async () => {
    const endless = await attached();
    const page = 0xffff_a000_1234_0000n;
    endless.image.pages.set(page >> 12n, new Uint8Array(4096).fill(65));
    endless.image.writeU64(endless.device + BigInt(attachment.initName), page);
    expect(await named(endless.image)).toBeUndefined();
    const none = await attached();
    for (const member of [attachment.initName, attachment.kobjName])
      none.image.writeU64(none.device + BigInt(member), 0n);
    expect(await named(none.image)).toBeUndefined();
  });
  test('the device mapping that old kernels keep', async () => {
    const { image, node } = await attached();
    if (attachment.sgt === undefined) return expect((await named(image))?.[0]?.mapped).toBeUndefined();
    for (const [value, mapped] of [
      [0n, false],
      [0xffff_8881_0000_0000n, true],
    ] as const) {
      image.writeU64(node - BigInt(attachment.node) + BigInt(attachment.sgt), value);
      expect((await named(image))?.[0]?.mapped).toBe(mapped);
    }
  });
  test('a list that moves is read again', async () => {
    const { image, node, head } = await attached();
    let spoilt = 0;
    const memory = new RacingMemory(image, (_, ranges) => {
      // The page of the node is read: once it shows an entry that another one was put before.
      const hit = ranges.some(
        ({ address, bytes }) => bytes === 4096 && address <= node && node < address + 4096n,
      );
      if (hit) image.writeU64(node + BigInt(list.prev), spoilt++ === 0 ? 0xffff_8881_0000_0000n : head);
    });
    // Whole pages are read for the walk of all dma-bufs too; the attachment's page must not be one of those.
    expect((await named(memory))?.map(row => row.device)).toEqual([expected.attached.device]);
    expect(spoilt).toBeGreaterThan(1);
  });
});

describe.each(recordedKernels)('page arrays of Linux $id that contradict themselves', kernel => {
  const { layout } = kernel;
  const { udmabuf } = layout;
  const one = async (change: (image: KernelImage, buffer: DmaBuf) => void) => {
    const buffers = await listed(kernel);
    const image = kernel.memory();
    const [victim, ...others] = buffers;
    if (!victim) throw new Error('no buffers');
    const truth = await pfnsOf(image, layout);
    change(image, victim);
    const [read, ...rest] = await readUdmabufs(image, layout, buffers);
    // Whatever happens to one, the others are exact.
    for (const [i, { inode }] of others.entries())
      expect(Array.from(rest[i]?.pfn ?? [])).toEqual(truth.get(inode));
    return { read, truth: truth.get(victim.inode) };
  };
  const member = udmabuf.entries.kind === 'pages' ? udmabuf.entries.pages : udmabuf.entries.folios;

  test.each([0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n])('a pagecount of %i', async value => {
    const { read } = await one((image, { priv }) => image.writeU64(priv + BigInt(udmabuf.pagecount), value));
    expect(read).toBeUndefined();
  });
  test.each([0n, 0xdead_0000_0000_0100n, 0x1000n, 0xffff_ffff_ffff_fff8n])('an array at %i', async value => {
    const { read } = await one((image, { priv }) => image.writeU64(priv + BigInt(member), value));
    expect(read).toBeUndefined();
  });
  test.each([
    ['NULL', 0n],
    ['a user address', 0x7fff_ffff_f000n],
    ['the page before the map', layout.page.vmemmap - 64n],
    ['the middle of a struct page', layout.page.vmemmap + 32n],
    ['a struct page past all memory', layout.page.vmemmap + 2n ** 46n],
    ['poison', 0xdead_0000_0000_0122n],
  ])('an entry that is %s', async (_, value) => {
    const { read } = await one((image, { priv }) =>
      image.writeU64(image.readU64(priv + BigInt(member)) + 8n, value),
    );
    expect(read).toBeUndefined();
  });
  test('an offset in a folio that is none (6.12)', async () => {
    if (udmabuf.entries.kind !== 'folios') return;
    const { offsets } = udmabuf.entries;
    for (const value of [1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 4096n]) {
      const { read } = await one((image, { priv }) =>
        image.writeU64(image.readU64(priv + BigInt(offsets)), value),
      );
      expect(read, String(value)).toBeUndefined();
    }
  });
  test('more pins than entries, or a list of them that does not end', async () => {
    const { pins } = udmabuf;
    if (pins.kind === 'none') return;
    const { read } = await one((image, { priv }) => {
      if (pins.kind === 'count') image.writeU64(priv + BigInt(pins.count), 2n ** 20n);
      else image.writeU64(priv + BigInt(pins.head) + BigInt(layout.list.next), 0xdead_0000_0000_0100n);
      // With an entry inside a folio the list must be followed.
      const { entries } = udmabuf;
      if (entries.kind === 'folios') image.writeU64(image.readU64(priv + BigInt(entries.offsets)), 4096n);
    });
    expect(read).toBeUndefined();
  });
  test('entries that each are a folio of their own have a pin each, whatever their list', async () => {
    const { pins, entries } = udmabuf;
    if (pins.kind !== 'list' || entries.kind !== 'folios') return;
    const { read } = await one((image, { priv }) => {
      image.writeU64(priv + BigInt(pins.head) + BigInt(layout.list.next), 0xdead_0000_0000_0100n);
    });
    expect(read?.pins).toBe(read?.pfn.length);
  });
  test('a buffer that is larger than any', async () => {
    const [buffer] = await listed(kernel);
    if (!buffer) throw new Error('no buffers');
    const image = kernel.memory();
    const count = 2n ** 40n;
    image.writeU64(buffer.priv + BigInt(udmabuf.pagecount), count);
    const asked: number[] = [];
    const memory: KernelMemory = {
      read: ranges => {
        asked.push(...ranges.map(({ bytes }) => bytes));
        return image.read(ranges);
      },
    };
    expect(await readUdmabufs(memory, layout, [{ ...buffer, sizeBytes: Number(count) * 4096 }])).toEqual([
      undefined,
    ]);
    expect(Math.max(...asked)).toBeLessThan(1 << 20);
  });
  test('gone, changed or reused: not there any more', async () => {
    const buffers = await listed(kernel);
    const [victim] = buffers;
    if (!victim) throw new Error('no buffers');
    const { dmaBuf, file, inode, list } = layout;
    const inodeAt = kernel.memory().readU64(victim.file + BigInt(file.inode));
    const changes: [string, bigint, bigint][] = [
      ['unlinked', victim.address + BigInt(dmaBuf.node + list.next), 0xdead_0000_0000_0100n],
      ['unlinked', victim.address + BigInt(dmaBuf.node + list.prev), 0xdead_0000_0000_0122n],
      ['another exporter', victim.address + BigInt(dmaBuf.ops), layout.udmabufOps + 8n],
      ['priv freed', victim.address + BigInt(dmaBuf.priv), 0n],
      ['another priv', victim.address + BigInt(dmaBuf.priv), victim.priv + 64n],
      ['another file', victim.address + BigInt(dmaBuf.file), victim.file + 256n],
      ['another inode', victim.file + BigInt(file.inode), 0n],
      ['an inode of another number', inodeAt + BigInt(inode.ino), BigInt(victim.inode + 1000)],
      ['an inode number past 2^53', inodeAt + BigInt(inode.ino), 2n ** 60n],
    ];
    for (const [what, address, value] of changes) {
      const image = kernel.memory();
      image.writeU64(address, value);
      expect(await stillThere(image, layout, buffers), what).toEqual(
        buffers.map(buffer => buffer !== victim),
      );
    }
  });
});
