/**
 * The inside half of a recording: brings the machine into a state worth reading, two real QEMUs and the buffers
 * helper, and copies the files that Pinscope parses, each below the path that it has on the host.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Buffers } from './buffers.ts';
import { type MemoryEntry, scattered } from './gpu.ts';
import { guestRam, type RealQemu, startQemu } from './qemu.ts';

/** Symbols that the reader of kernel memory or a probe may ask for; the rest of kallsyms is a hundred times this. */
const symbolPattern =
  ' (_text|_stext|_etext|_end|linux_banner|init_uts_ns|init_task|kallsyms_.*|vmcoreinfo_.*|node_data|contig_page_data|mem_section|' +
  'vmemmap_base|page_offset_base|vmalloc_base|phys_base|max_pfn|hstates|db_list|debugfs_list|debugfs_list_mutex|dmabuf_list|' +
  'dmabuf_list_mutex|dma_buf_fops|.*dmabuf.*|.*udmabuf.*|memfd_pin_folios|unpin_all_folios|unpin_folios?|unpin_user_folio|' +
  'vmf_insert_pfn|pin_user_pages.*|migratetype_names|cma_areas|cma_area_count)(\\t.*)?$';

const blockFiles = ['phys_index', 'removable', 'state', 'valid_zones'];
const processFiles = ['cmdline', 'comm', 'limits', 'maps', 'stat', 'status'];
/** Nine tenths of a QEMU's smaps are the sections of its libraries. */
const smapsFilter = "awk '/^[0-9a-f]+-/ { keep = !/ \\/usr\\/lib\\// } keep'";

/**
 * Records this machine below `out`. To be run as root in a rig VM with at least 160 huge pages of 2 MiB.
 * @param helper path of the built `buffers.c`
 */
export async function recordMachine(out: string, helper: string): Promise<void> {
  const record = new Recording(out);
  const buffers = await makeBuffers(helper);
  const hugetlb = await startHugetlbQemu();
  const shmem = await startShmemQemu();

  const names = ['zoneinfo', 'pagetypeinfo', 'buddyinfo', 'vmstat', 'meminfo', 'version', 'cmdline', 'iomem'];
  for (const name of names) record.copy(`/proc/${name}`);
  record.output('/proc/kallsyms', `grep -E '${symbolPattern}' /proc/kallsyms`);
  const asNobody = 'setpriv --reuid 65534 --regid 65534 --clear-groups';
  record.output('/proc/kallsyms-unprivileged', `${asNobody} grep -E '${symbolPattern}' /proc/kallsyms`);
  for (const name of ['kptr_restrict', 'perf_event_paranoid']) record.copy(`/proc/sys/kernel/${name}`);
  record.copy('/sys/module/udmabuf/parameters');
  record.copy('/sys/kernel/security/lockdown');
  record.copy('/sys/kernel/debug/dma_buf/bufinfo');
  record.copy('/sys/kernel/mm/hugepages');
  record.copy('/sys/kernel/mm/cma');
  record.copy('/sys/kernel/mm/transparent_hugepage/shmem_enabled');
  recordNodes(record);
  recordMemoryBlocks(record);

  recordProcess(record, 'buffers', buffers.pid);
  const [holder] = buffers.holders;
  if (holder !== undefined) recordProcess(record, 'holder', holder);
  record.text('/buffers.jsonl', `${buffers.lines.join('\n')}\n`, 'what the helper printed');
  recordProcess(record, 'qemu', hugetlb.pid);
  await recordMonitor(record, 'qemu', hugetlb);
  recordProcess(record, 'qemu-shmem', shmem.pid);
  await recordMonitor(record, 'qemu-shmem', shmem);

  record.finish([
    '- `sys/devices/system/memory`: only the blocks at which something changes, every edge of a hole among them.',
    `- \`proc/buffers/\`, \`buffers.jsonl\`: \`${bufferArguments.map(shellWord).join(' ')}\`, then \`${bufferCommands.join('`, `')}\`;`,
    '  `proc/holder/` is the first child of it.',
    `- \`proc/qemu/\`, \`qmp/qemu/\`: \`${hugetlb.argv.map(shellWord).join(' ')}\`; its guest (a test over qtest) made a`,
    '  framebuffer of 8294400 bytes in 254 entries, a blob with repeated entries, 24 blobs of two entries, and gave the 512',
    '  pages at guest address 2 MiB to the balloon.',
    `- \`proc/qemu-shmem/\`, \`qmp/qemu-shmem/\`: \`${shmem.argv.map(shellWord).join(' ')}\`; one framebuffer of 8294400 bytes.`,
  ]);
  await hugetlb.kill();
  await shmem.kill();
  await buffers.quit();
}

const bufferArguments = [
  ...['--memfd', 'shmem,4M', '--buffer', '12K,1M'],
  ...['--memfd', 'huge2m,8M', '--name', 'render "1"\n\x1b[31m', '--buffer', '12K,1M'],
  ...['--name', '', '--list', '0:0,8K+0:4K,4K+1:0,8K+1:0,8K'],
  ...['--memfd', 'thp,4M', '--count', '3,12K', '--buffer', '1M,64K'],
  ...['--memfd', 'huge1g,1G', '--buffer', '12K,1M'],
  ...['--map', '--holders', '2'],
];

const bufferCommands = ['punch 12K 8K', 'touch 12K 4K 7', 'pfns'];

async function makeBuffers(helper: string): Promise<Buffers> {
  // The last memfd needs a 1 GiB page; without one the rest is still worth recording.
  const has1G = Number(readHugePages('1048576kB')) > 0;
  const args = has1G
    ? bufferArguments
    : bufferArguments.filter((_, i) => i < bufferArguments.indexOf('huge1g,1G') - 1);
  const buffers = await Buffers.start([helper], has1G ? args : [...args, '--map', '--holders', '2']);
  for (const command of bufferCommands) await buffers.command(command);
  const device = '/dev/dri/card0';
  if (existsSync(device)) await buffers.command(`attach ${device} 1`);
  return buffers;
}

function readHugePages(size: string): string {
  const path = `/sys/kernel/mm/hugepages/hugepages-${size}/nr_hugepages`;
  return existsSync(path) ? readFileSync(path, 'utf8') : '0';
}

async function startHugetlbQemu(): Promise<RealQemu> {
  const vm = await startQemu({
    dir: '/tmp/qemu',
    name: 'a guest,,with commas,debug-threads=on',
    memoryMiB: 256,
    backend: 'hugetlb=on,hugetlbsize=2M,prealloc=on',
    balloon: true,
    testMonitor: true,
    args: [
      ...['-object', 'memory-backend-memfd,id=mem2,size=32M', '-device', 'pc-dimm,id=dimm0,memdev=mem2'],
      ...['-object', 'memory-backend-memfd,id=mem3,size=64M'],
      ...['-device', 'virtio-mem-pci,id=vm0,memdev=mem3,requested-size=0'],
    ],
  });
  const gpu = await vm.gpu();
  const framebuffer = await gpu.createBlob(scattered(guestRam.free, 8294400, 32768, 65536));
  await gpu.setScanoutBlob(framebuffer, 1920, 1080);
  await gpu.flush(framebuffer, 1920, 1080);
  const page = (n: number): MemoryEntry => ({ address: guestRam.free + n * 4096, length: 4096 });
  await gpu.createBlob([page(1), page(1), page(3), page(2), page(1)]);
  for (let i = 0; i < 24; i++) await gpu.createBlob(scattered(0x400_0000 + i * 0x1_0000, 8192, 4096, 8192));
  const balloon = await vm.balloon();
  await balloon.inflate(Array.from({ length: 512 }, (_, i) => guestRam.free / 4096 + i));
  return vm;
}

async function startShmemQemu(): Promise<RealQemu> {
  const vm = await startQemu({ dir: '/tmp/qemu-shmem', memoryMiB: 128, testMonitor: true });
  const gpu = await vm.gpu();
  const framebuffer = await gpu.createBlob(scattered(guestRam.free, 8294400, 1 << 20, 2 << 20));
  await gpu.setScanoutBlob(framebuffer, 1920, 1080);
  return vm;
}

function recordProcess(record: Recording, name: string, pid: number): void {
  for (const file of processFiles) record.copy(`/proc/${pid}/${file}`, `/proc/${name}/${file}`);
  record.output(`/proc/${name}/smaps`, `${smapsFilter} /proc/${pid}/smaps`);
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    record.link(`/proc/${pid}/fd/${fd}`, `/proc/${name}/fd/${fd}`);
    record.copy(`/proc/${pid}/fdinfo/${fd}`, `/proc/${name}/fdinfo/${fd}`);
  }
  record.output(`/proc/${name}/fd-stat`, `cd /proc/${pid}/fd; stat -L -c '%n %Hd:%Ld %i %s %z' *`);
}

async function recordMonitor(record: Recording, name: string, vm: RealQemu): Promise<void> {
  const dir = `/qmp/${name}`;
  for (const command of [
    'query-memdev',
    'query-memory-devices',
    'query-memory-size-summary',
    'query-balloon',
    'query-name',
    'query-status',
  ]) {
    // Without a balloon query-balloon is an error, which says no more than its text.
    const answer = await vm.qmp(command).catch((error: Error) => ({ error: error.message }));
    record.text(`${dir}/${command}.json`, `${JSON.stringify(answer, null, 1)}\n`, `QMP ${command}`);
  }
  const properties: Record<string, unknown> = {};
  for (const property of [
    'size',
    'share',
    'prealloc',
    'reserve',
    'merge',
    'dump',
    'hugetlb',
    'hugetlbsize',
    'seal',
  ]) {
    properties[property] = await vm.qmp('qom-get', { path: '/objects/mem1', property }).catch(() => null);
  }
  record.text(
    `${dir}/qom-objects-mem1.json`,
    `${JSON.stringify(properties, null, 1)}\n`,
    'QMP qom-get /objects/mem1',
  );
  for (const line of ['info mtree -f', 'info ramblock', 'info memdev', 'info memory-devices']) {
    record.text(
      `${dir}/${line.replaceAll(' ', '-').replace('--', '-')}.txt`,
      await vm.hmp(line),
      `HMP ${line}`,
    );
  }
  const addresses = [
    0,
    0x9_f000,
    guestRam.free,
    guestRam.free + 0x3000,
    guestRam.free + 0x20_0000,
    0x400_0000,
    0xf000_0000_0000,
  ];
  for (const command of ['gpa2hva', 'gpa2hpa']) {
    const answers: Record<string, string> = {};
    for (const address of addresses) {
      const text = `0x${address.toString(16)}`;
      answers[text] = await vm.hmp(`${command} ${text}`).catch((error: Error) => error.message);
    }
    record.text(`${dir}/${command}.json`, `${JSON.stringify(answers, null, 1)}\n`, `HMP ${command} ADDRESS`);
  }
}

function recordNodes(record: Recording): void {
  const nodes = '/sys/devices/system/node';
  for (const node of readdirSync(nodes).filter(name => /^node\d+$/.test(name))) {
    record.copy(`${nodes}/${node}/hugepages`);
    for (const file of ['cpulist', 'meminfo']) record.copy(`${nodes}/${node}/${file}`);
  }
}

/** The blocks at which the answer changes; the others between two of them say the same. */
function recordMemoryBlocks(record: Recording): void {
  const dir = '/sys/devices/system/memory';
  if (!existsSync(dir)) return;
  record.copy(`${dir}/block_size_bytes`);
  const blocks = readdirSync(dir)
    .flatMap(name => /^memory(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const describe = (block: number) => readFileSync(`${dir}/memory${block}/valid_zones`, 'utf8');
  blocks.forEach((block, i) => {
    const previous = blocks[i - 1];
    const next = blocks[i + 1];
    const edge = previous !== block - 1 || next !== block + 1 || describe(previous) !== describe(block);
    if (!edge) return;
    const path = `${dir}/memory${block}`;
    for (const file of blockFiles) record.copy(`${path}/${file}`);
    for (const name of readdirSync(path).filter(name => /^node\d+$/.test(name)))
      record.link(`${path}/${name}`);
  });
}

/** Writes files below a directory and keeps how each was made. */
class Recording {
  readonly #out: string;
  readonly #rows = new Map<string, string>();

  constructor(out: string) {
    this.#out = out;
  }

  /** A file, or all files below a directory, as they read now. What is absent is left out. */
  copy(path: string, as = path): void {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (stat.isDirectory()) {
      for (const name of readdirSync(path).sort()) this.copy(`${path}/${name}`, `${as}/${name}`);
      return;
    }
    let content: Buffer;
    try {
      content = readFileSync(path);
    } catch (error) {
      // Some files of sysfs refuse to be read, a descriptor may have gone.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      return;
    }
    this.#write(as, content);
    this.#rows.set(group(as), `cat ${group(path)}`);
  }

  /** A symlink with its target, as sysfs and /proc/PID/fd have them. */
  link(path: string, as = path): void {
    let target: string;
    try {
      target = readlinkSync(path);
    } catch {
      return;
    }
    mkdirSync(dirname(join(this.#out, as)), { recursive: true });
    symlinkSync(target, join(this.#out, as));
    this.#rows.set(group(as), `readlink ${group(path)}`);
  }

  /** The output of a shell command. */
  output(as: string, command: string): void {
    this.text(as, execFileSync('sh', ['-c', command], { encoding: 'utf8', maxBuffer: 1 << 24 }), command);
  }

  text(as: string, content: string, how: string): void {
    this.#write(as, content);
    this.#rows.set(group(as), group(how));
  }

  /** Writes `COMMANDS.md`. */
  finish(notes: readonly string[]): void {
    const rows = [...this.#rows].map(
      ([path, how]) => `| \`${path.slice(1)}\` | \`${how.replaceAll('|', '\\|')}\` |`,
    );
    const text = [...notes, '', '| file | command |', '|---|---|', ...rows, ''].join('\n');
    this.#write('/COMMANDS.md', text);
  }

  #write(path: string, content: string | Buffer): void {
    const target = join(this.#out, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  }
}

/** One name for files or commands that differ only in a number or in the process. */
function group(text: string): string {
  return text
    .replace(/\/proc\/(\d+|buffers|holder|qemu|qemu-shmem)\//, '/proc/PROCESS/')
    .replace(/\/qmp\/(qemu|qemu-shmem)\//, '/qmp/PROCESS/')
    .replace(/\/(fd|fdinfo)\/\d+$/, '/$1/*')
    .replace(/\/memory\d+\/node\d+$/, '/memory*/node*')
    .replace(/\/memory\d+\/(\w+)$/, '/memory*/$1')
    .replace(/(\/hugepages)\/.*$/, '$1/**')
    .replace(/(\/cma)\/.*$/, '$1/**');
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word);
}
