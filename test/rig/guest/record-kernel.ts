/**
 * The inside half of a recording of kernel memory: everything that reading the dma-bufs of this machine looks at, with what
 * other sources say of the same buffers, for the unit tests of `model/kernel` and `model/join`.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { gzipSync } from 'node:zlib';
import { parsePageTypeInfo } from '../../../model/host/pagetypeinfo.ts';
import { parseZoneinfo } from '../../../model/host/zoneinfo.ts';
import { Btf } from '../../../model/kernel/btf.ts';
import type { DmaBuf } from '../../../model/kernel/dma-bufs.ts';
import { CORE_HEADER_BYTES } from '../../../model/kernel/elf.ts';
import {
  type KernelLayout,
  resolveLayout,
  WANTED_SYMBOLS,
  WANTED_TYPES,
} from '../../../model/kernel/layout.ts';
import type { KernelMemory } from '../../../model/kernel/memory.ts';
import { parseGpa2hpa } from '../../../model/qemu/addresses.ts';
import { openHost } from '../../../sampler/access.ts';
import { openKernel, readKernel } from '../../../sampler/kernel.ts';
import {
  type Expected,
  type ExpectedBlob,
  type ExpectedQemu,
  type ExpectedUdmabuf,
  readEverything,
} from '../../kernel-expected.ts';
import { KernelImage, RecordingMemory } from '../../kernel-image.ts';
import { Buffers } from './buffers.ts';
import { type MemoryEntry, scattered } from './gpu.ts';
import { kallsymsOf } from './kallsyms.ts';
import { guestRam, type RealQemu, startQemu } from './qemu.ts';
import { recordKallsyms } from './record-kallsyms.ts';
import { memberNames, trimBtf } from './trim-btf.ts';

const BTF_PATH = '/sys/kernel/btf/vmlinux';

const bufferArguments = [
  ...['--memfd', 'shmem,4M', '--buffer', '12K,1M'],
  ...['--memfd', 'huge2m,8M', '--name', 'render', '--buffer', '12K,1M'],
  ...['--list', '0:0,8K+0:4K,4K+1:0,8K+1:0,8K'],
  ...['--memfd', 'thp,4M', '--count', '3,12K', '--buffer', '1M,64K'],
  ...['--memfd', 'huge1g,1G', '--buffer', '12K,1M'],
];
/** Pages 0 and 1 of the first buffer leave their file; one of them is filled anew. */
const punched = { commands: ['punch 12K 8K 0', 'touch 12K 4K 7 0'], buffer: 0, pages: [0, 1] };

/** Records this machine's kernel below `out`. To be run as root in a rig VM with at least 160 huge pages of 2 MiB. */
export async function recordKernel(out: string, helper: string): Promise<void> {
  mkdirSync(out, { recursive: true });
  const buffers = await Buffers.start([helper], bufferArguments);
  if (buffers.refused.length > 0) throw new Error(`refused: ${JSON.stringify(buffers.refused)}`);
  for (const command of punched.commands) await buffers.command(command);
  await buffers.command('attach /dev/dri/card0 1');
  const hugetlb = await startQemu({
    ...{ dir: '/tmp/qemu-k1', memoryMiB: 256, backend: 'hugetlb=on,hugetlbsize=2M,prealloc=on' },
    testMonitor: true,
  });
  const shmem = await startQemu({ dir: '/tmp/qemu-k2', memoryMiB: 128, testMonitor: true });
  try {
    const blobs = new Map([
      [hugetlb, await makeBlobs(hugetlb, 32768, 65536)],
      [shmem, await makeBlobs(shmem, 1 << 20, 2 << 20)],
    ]);
    const { files, native } = openHost();
    const kernel = readKernel(files);
    const opened = await openKernel(files, native, kernel);
    if (opened.state !== 'ok' || kernel.btf.state !== 'ok') throw new Error(JSON.stringify(opened));
    const { memory } = opened.value;

    const symbols = kallsymsOf([...WANTED_SYMBOLS, 'init_uts_ns']);
    const vmemmapAt = symbols.get('vmemmap_base') ?? 0n;
    const [vmemmap] = await memory.read([{ address: vmemmapAt, bytes: 8 }]);
    const base = vmemmap ? Buffer.from(vmemmap).readBigUInt64LE() : 0n;
    const hex = (value: bigint) => `0x${value.toString(16)}`;
    writeFileSync(
      join(out, 'symbols.json'),
      `${JSON.stringify(
        {
          symbols: Object.fromEntries([...symbols].map(([name, at]) => [name, hex(at)])),
          vmemmap: hex(base),
        },
        null,
        1,
      )}\n`,
    );

    const full = readFileSync(BTF_PATH);
    const small = trimBtf(full, WANTED_TYPES);
    const layout = resolveLayout(Btf.parse(full, WANTED_TYPES), symbols, memory.header.vmcoreinfo, base);
    if ('missing' in layout) throw new Error(layout.missing);
    compareBtf(full, small, btf => resolveLayout(btf, symbols, memory.header.vmcoreinfo, base));
    writeFileSync(join(out, 'btf'), small);

    recordHead(out);
    await recordKallsyms(out, memory, memory.header.vmcoreinfo, [...WANTED_SYMBOLS, 'init_uts_ns']);
    const places = await recordMemory(out, memory, layout);
    const expected: Expected = {
      release: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
      udmabufs: expectedUdmabufs(buffers),
      qemu: [await expectedQemu(hugetlb, blobs), await expectedQemu(shmem, blobs)],
      attached: { inode: buffers.buffers[1]?.inode ?? 0, device: deviceOfBufinfo() },
      ...places,
    };
    writeFileSync(join(out, 'expected.json'), `${JSON.stringify(expected)}\n`);
    writeFileSync(join(out, 'COMMANDS.md'), notes());
    memory.close();
  } finally {
    await hugetlb.kill();
    await shmem.kill();
    await buffers.quit();
  }
}

async function makeBlobs(vm: RealQemu, piece: number, stride: number): Promise<MemoryEntry[][]> {
  const gpu = await vm.gpu();
  const page = (n: number): MemoryEntry => ({ address: guestRam.free + n * 4096, length: 4096 });
  const blobs = [
    scattered(guestRam.free, 8294400, piece, stride),
    [page(1), page(1), page(3), page(2), page(1)],
    ...Array.from({ length: 16 }, (_, i) => scattered(0x400_0000 + i * 0x1_0000, 8192, 4096, 8192)),
  ];
  for (const entries of blobs) await gpu.createBlob(entries);
  return blobs;
}

function compareBtf(full: Buffer, small: Buffer, layoutOf: (btf: Btf) => unknown): void {
  const [a, b] = [Btf.parse(full, WANTED_TYPES), Btf.parse(small, WANTED_TYPES)];
  const answers = (btf: Btf) => [
    layoutOf(btf),
    ...WANTED_TYPES.map(type => [
      btf.sizeOf(type),
      btf.enumerators(type),
      ...memberNames(full, type).map(name => btf.member(type, name)),
    ]),
  ];
  if (!isDeepStrictEqual(answers(a), answers(b))) throw new Error('the trimmed BTF answers differently');
}

/** The head of /proc/kcore up to the end of its notes, and what readelf says of it. */
function recordHead(out: string): void {
  const head = Buffer.alloc(CORE_HEADER_BYTES);
  const fd = openSync('/proc/kcore', 'r');
  readSync(fd, head, 0, head.length, 0);
  closeSync(fd);
  const table = Number(head.readBigUInt64LE(32));
  let end = table;
  for (let i = 0; i < head.readUInt16LE(56); i++) {
    const at = table + i * 56;
    end = Math.max(end, at + 56);
    if (head.readUInt32LE(at) === 4) {
      end = Math.max(end, Number(head.readBigUInt64LE(at + 8) + head.readBigUInt64LE(at + 32)));
    }
  }
  writeFileSync(join(out, 'kcore-head.gz'), gzipSync(head.subarray(0, end), { level: 9 }));
  const segments = execFileSync('sh', ['-c', "readelf -lW /proc/kcore 2>/dev/null | grep '^  LOAD'"], {
    encoding: 'utf8',
  });
  writeFileSync(join(out, 'readelf.txt'), segments);
}

/** Reads everything twice, once through the recording and once from it, until both agree and pagetypeinfo held still. */
async function recordMemory(out: string, memory: KernelMemory, layout: KernelLayout) {
  const zoneinfo = readFileSync('/proc/zoneinfo', 'utf8');
  const blocks = readdirSync('/sys/devices/system/memory').flatMap(name =>
    /^memory(\d+)$/.exec(name)?.[1] === undefined ? [] : [Number(name.slice(6))],
  );
  for (let attempt = 0; attempt < 10; attempt++) {
    const pagetypeinfo = readFileSync('/proc/pagetypeinfo', 'utf8');
    const types = parsePageTypeInfo(pagetypeinfo);
    const places = {
      pageblockOrder: types.pageblockOrder,
      blockStarts: parseZoneinfo(zoneinfo).flatMap(({ startPfn, spannedPages }) => {
        if (startPfn === null) return [];
        const first = Math.floor(startPfn / types.pagesPerBlock);
        const last = Math.floor((startPfn + spannedPages - 1) / types.pagesPerBlock);
        return Array.from({ length: last - first + 1 }, (_, i) =>
          Math.max(startPfn, (first + i) * types.pagesPerBlock),
        );
      }),
    };
    const recording = new RecordingMemory(memory);
    const live = await readEverything(recording, layout, places);
    await keepLists(recording, layout, live.walk.buffers);
    const gz = recording.image.encode();
    const replayed = await readEverything(KernelImage.decode(gz), layout, places);
    const table = (text: string) => parsePageTypeInfo(text).types.map(({ blocks }) => blocks);
    const still = isDeepStrictEqual(table(pagetypeinfo), table(readFileSync('/proc/pagetypeinfo', 'utf8')));
    if (!isDeepStrictEqual(live, replayed) || !still) continue;
    writeFileSync(join(out, 'memory.gz'), gz);
    writeFileSync(join(out, 'pagetypeinfo'), pagetypeinfo);
    writeFileSync(join(out, 'zoneinfo'), zoneinfo);
    return { ...places, memoryBlocks: blocks.sort((a, b) => a - b) };
  }
  throw new Error('kernel memory never held still');
}

/** Keeps what the reader follows by pages: the heads and nodes of lists, and the names of attached devices. */
async function keepLists(
  memory: RecordingMemory,
  layout: KernelLayout,
  buffers: readonly DmaBuf[],
): Promise<void> {
  const { attachment, dmaBuf, list, udmabuf } = layout;
  const follow = async (head: bigint): Promise<bigint[]> => {
    const nodes: bigint[] = [];
    let at = head;
    do {
      const next = Buffer.from(await memory.keep(at, 16)).readBigUInt64LE(list.next);
      if (next !== head) nodes.push(next);
      at = next;
    } while (at !== head);
    return nodes;
  };
  await follow(layout.listHead);
  for (const { address, priv } of buffers) {
    if (udmabuf.pins.kind === 'list') await follow(priv + BigInt(udmabuf.pins.head));
    for (const node of await follow(address + BigInt(dmaBuf.attachments))) {
      const pointer = async (at: bigint) => Buffer.from(await memory.keep(at, 8)).readBigUInt64LE();
      const device = await pointer(node - BigInt(attachment.node) + BigInt(attachment.dev));
      for (const member of [attachment.initName, attachment.kobjName]) {
        const name = await pointer(device + BigInt(member));
        if (name === 0n) continue;
        for (let at = name; (await memory.keep(at, 1))[0] !== 0; at++);
      }
    }
  }
}

function expectedUdmabufs(buffers: Buffers): ExpectedUdmabuf[] {
  return buffers.buffers.map((buffer, i) => ({
    inode: buffer.inode,
    sizeBytes: buffer.sizeBytes,
    createdNs: ctimeOf(buffers.pid, buffer.fd),
    pages: buffer.pages?.map(([pfn, count]) => [pfn ?? -1, count] as const) ?? [],
    items: buffer.items.map(([memfd, offset, bytes]) => {
      const file = buffers.memfds[memfd];
      if (!file) throw new Error(`no memfd ${memfd}`);
      const hugetlb = file.kind.startsWith('huge');
      return { ...fileOf(buffers.pid, file.fd), hugetlb, offset, bytes };
    }),
    folioPages: [...new Set(pfnsOf(buffer.pages ?? []))].map(pfn => [pfn, folioPages(pfn)]),
    lost: i === punched.buffer ? punched.pages : [],
  }));
}

const pfnsOf = (runs: readonly (readonly [number | null, number])[]): number[] =>
  runs.flatMap(([pfn, count]) => (pfn === null ? [] : Array.from({ length: count }, (_, i) => pfn + i)));

/** Device in the kernel's own encoding, and inode. */
function fileOf(pid: number, fd: number): { dev: number; inode: number } {
  const text = execFileSync('stat', ['-L', '-c', '%Hd %Ld %i', `/proc/${pid}/fd/${fd}`], {
    encoding: 'utf8',
  });
  const [major = 0, minor = 0, inode = 0] = text.trim().split(' ').map(Number);
  return { dev: major * 2 ** 20 + minor, inode };
}

/** Change time in ns, as text. */
function ctimeOf(pid: number, fd: number): string {
  const text = execFileSync('stat', ['-L', '-c', '%.9Z', `/proc/${pid}/fd/${fd}`], { encoding: 'utf8' });
  return String(BigInt(text.trim().replace('.', '')));
}

/** Pages of the folio around a page, by the head and tail flags of /proc/kpageflags. */
function folioPages(pfn: number): number {
  const [HEAD, TAIL] = [1n << 15n, 1n << 16n];
  const fd = openSync('/proc/kpageflags', 'r');
  const data = Buffer.alloc(8 * 4096);
  try {
    const flags = (first: number, count: number): bigint[] => {
      const got = readSync(fd, data, 0, count * 8, first * 8);
      return Array.from({ length: got / 8 }, (_, i) => data.readBigUInt64LE(i * 8));
    };
    if (((flags(pfn, 1)[0] ?? 0n) & (HEAD | TAIL)) === 0n) return 1;
    let head = pfn;
    while (((flags(head, 1)[0] ?? 0n) & TAIL) !== 0n) {
      // Folios begin at multiples of their size: the head is where the lowest bits are clear.
      head -= head & -head || 1;
    }
    let end = head + 1;
    for (;;) {
      const next = flags(end, 4096);
      const other = next.findIndex(flag => (flag & TAIL) === 0n);
      if (other >= 0 || next.length === 0) return end + Math.max(0, other) - head;
      end += next.length;
    }
  } finally {
    closeSync(fd);
  }
}

async function expectedQemu(
  vm: RealQemu,
  blobs: ReadonlyMap<RealQemu, MemoryEntry[][]>,
): Promise<ExpectedQemu> {
  const links = execFileSync(
    'sh',
    ['-c', `cd /proc/${vm.pid}/fd && for fd in *; do echo "$fd $(readlink $fd)"; done`],
    { encoding: 'utf8' },
  )
    .trim()
    .split('\n');
  const fds = (prefix: string) =>
    links.flatMap(line => (line.split(' ')[1]?.startsWith(prefix) ? [Number(line.split(' ')[0])] : []));
  const [ram = -1] = fds('/memfd:memory-backend-memfd');
  const inodes = fds('/dmabuf')
    .map(fd => fileOf(vm.pid, fd).inode)
    .sort((a, b) => a - b);
  const expected: ExpectedBlob[] = [];
  for (const [i, entries] of (blobs.get(vm) ?? []).entries()) {
    const samples: [number, number][] = [];
    const pages = entries.flatMap(({ address, length }) =>
      Array.from({ length: length / 4096 }, (_, page) => address + page * 4096),
    );
    const step = Math.max(1, Math.floor(pages.length / 24));
    for (let at = 0; at < pages.length; at += step) {
      const reply = parseGpa2hpa(await vm.hmp(`gpa2hpa 0x${(pages[at] ?? 0).toString(16)}`));
      if (reply.state === 'refused') throw new Error(reply.detail);
      samples.push([at, Number(reply.address) / 4096]);
    }
    expected.push({
      inode: inodes[i] ?? -1,
      entries: entries.map(({ address, length }) => [address, length] as const),
      samples,
    });
  }
  return { ram: fileOf(vm.pid, ram), blobs: expected };
}

/** The only attached device of the machine, as bufinfo names it. */
function deviceOfBufinfo(): string {
  const text = readFileSync('/sys/kernel/debug/dma_buf/bufinfo', 'utf8');
  return /Attached Devices:\n\t(.+)\n/.exec(text)?.[1] ?? '';
}

const notes = (): string => `# Kernel memory

Made by \`node dist/rig/rig.js record-kernel\` (test/rig/guest/record-kernel.ts) on the machine that the file above this
directory describes, in a boot of its own: addresses and pages are not those of the other recordings. \`buffers ${bufferArguments.join(' ')}\`,
then \`${punched.commands.join('`, `')}\`, \`attach /dev/dri/card0 1\`; and two QEMUs, one on 256 MiB of hugetlb, one on 128 MiB
of shmem, each with a framebuffer of 8294400 bytes, a blob of repeated pages and 16 blobs of two pages.

| file | what it is |
|---|---|
| \`btf\` | ${BTF_PATH}, only the types that the reader wants and what they hold by value |
| \`symbols.json\` | \`grep\` of /proc/kallsyms for the wanted symbols; the value of vmemmap_base |
| \`kcore-head.gz\`, \`readelf.txt\` | /proc/kcore up to the end of its notes; \`readelf -lW /proc/kcore\`, the lines LOAD |
| \`kallsyms.json.gz\` | rows of the symbol tables in kernel memory, and what /proc/kallsyms prints for them |
| \`memory.gz\` | kernel memory: the bytes that reading all dma-bufs and pageblocks looked at |
| \`pagetypeinfo\`, \`zoneinfo\` | \`cat\` of /proc, unchanged while the memory was read |
| \`expected.json\` | the same buffers by others: pagemap and stat of the program that made them, /proc/kpageflags, QEMU's gpa2hpa, debugfs |
`;
