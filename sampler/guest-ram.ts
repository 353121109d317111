import { closeSync, constants, fstatSync } from 'node:fs';
import type { FrameMap } from '../model/join/frames.ts';
import { type FileId, type GuestMapping, type RamView, sameFile } from '../model/join/ram.ts';
import { isMemfd } from '../model/proc/maps.ts';
import { parseSmaps } from '../model/proc/smaps.ts';
import type { QemuCommandLine } from '../model/qemu/cmdline.ts';
import { type GuestLayout, matchBackends } from '../model/qemu/layout.ts';
import { known, ok, type Reading } from '../model/reading.ts';
import type { RamBackend } from '../model/snapshot.ts';
import { GIGANTIC_PAGE, hex } from '../model/units.ts';
import type { Native } from '../native/index.ts';
import { failure, type HostFiles } from './files.ts';
import { readGiganticPages } from './gigantic-pages.ts';
import { kernelDev, readFds } from './process.ts';
import type { SourceLog } from './sources.ts';

/** Where to read the memory of a process from. */
export interface RamRequest {
  readonly files: HostFiles;
  readonly native: Native;
  readonly pid: number;
  readonly log: SourceLog;
  /** Of the host, asked for only where pages of 1 GiB are to be placed. */
  readonly frames: () => FrameMap | undefined;
}

/**
 * One row a memfd that the process maps.
 * @param guest where the guest sees it; null without a monitor
 * @param layout of the same monitor, which names backends
 */
export async function readRam(
  request: RamRequest,
  view: RamView,
  guest: readonly GuestMapping[] | null,
  layout: GuestLayout | null,
  commandLine: QemuCommandLine | null,
): Promise<RamBackend[]> {
  const { files, native, pid, log } = request;
  const memfds: FileId[] = [];
  for (const mapping of view.mappings) {
    if (!memfds.some(file => sameFile(file, mapping))) memfds.push(mapping);
  }
  const opened = await openMemfds(files, native, pid, log);
  const pageSizes = memfds.every(file => opened.some(fd => sameFile(fd, file)))
    ? new Map<string, number>()
    : pageSizesFromSmaps(files, pid);
  const rows = memfds.map(file => {
    const mappings = view.mappings.filter(mapping => sameFile(mapping, file));
    const fd = opened.find(open => sameFile(open, file));
    return {
      file,
      inode: file.inode,
      sizeBytes: fd?.sizeBytes ?? Math.max(...mappings.map(m => m.offset + Number(m.end - m.start))),
      pageSizeBytes: fd?.pageSizeBytes ?? pageSizes.get(`${file.dev}:${file.inode}`) ?? null,
      share: mappings.every(({ shared }) => shared),
      sealed: fd?.sealed ?? null,
      allocatedBytes: fd?.allocatedBytes ?? null,
      hva: hex(mappings[0]?.start ?? 0n),
    };
  });
  // By row: a hugetlb memfd and a shmem one may have the same inode number, on their two file systems.
  const ids = matchBackends(
    commandLine?.memoryBackends ?? [],
    rows.map((row, i) => ({ ...row, inode: i, pageSizeBytes: row.pageSizeBytes ?? 0 })),
  );
  const gigantic = await Promise.all(rows.map(row => readGigantic(request, view, row)));
  return rows.map(({ file, ...row }, i) => {
    const told = layout?.files.find(
      ({ inode, major, minor }) => Number(inode) === file.inode && major * 2 ** 20 + minor === file.dev,
    );
    const id = told?.backendId ?? ids.get(i) ?? null;
    const backend = id === null ? undefined : commandLine?.memoryBackends.find(each => each.id === id);
    return {
      id,
      ...row,
      gigantic: gigantic[i] ?? null,
      reserve: backend?.reserve ?? null,
      policy: backend ? { mode: backend.policy, nodes: backend.hostNodes } : null,
      guestRanges:
        guest
          ?.filter(range => sameFile(range, file))
          .map(({ gpa, bytes, offset }) => ({ gpa: hex(gpa), bytes, offset })) ?? null,
    };
  });
}

/** Of a memfd of gigantic pages; of any other nothing is read. */
async function readGigantic(
  { files, native, pid, log, frames }: RamRequest,
  view: RamView,
  { file, pageSizeBytes }: { readonly file: FileId; readonly pageSizeBytes: number | null },
): Promise<RamBackend['gigantic']> {
  if (pageSizeBytes !== GIGANTIC_PAGE) return null;
  const mappings = view.mappings.filter(mapping => sameFile(mapping, file));
  const reading = await log.ofAsync('gigantic-pages', () =>
    readGiganticPages(files, native, pid, mappings, frames()),
  );
  return known(reading) ?? null;
}

interface OpenMemfd extends FileId {
  readonly sizeBytes: number;
  readonly pageSizeBytes: number;
  readonly sealed: boolean | null;
  readonly allocatedBytes: number | null;
}

/** Size and page size as stat has them: the block size is the page size. */
async function openMemfds(
  files: HostFiles,
  native: Native,
  pid: number,
  log: SourceLog,
): Promise<OpenMemfd[]> {
  const reading = await log.ofAsync('memfds', () => readFds(files, native, pid, ['/memfd:']));
  const table = known(reading);
  if (!table) return [];
  const memfds: OpenMemfd[] = [];
  for (const [i, fd] of table.fd.entries()) {
    if (table.errno[i] !== 0 || !isMemfd(table.link[i] ?? null)) continue;
    // Anything can be called /memfd:x, and opening a device may do something.
    if (((table.mode[i] ?? 0) & constants.S_IFMT) !== constants.S_IFREG) continue;
    const file = { dev: kernelDev(table.dev[i] ?? 0n), inode: Number(table.ino[i]) };
    if (memfds.some(known => sameFile(known, file))) continue;
    const inside = await log.ofAsync('memfds', () => readMemfd(files, native, pid, fd));
    memfds.push({
      ...file,
      sizeBytes: Number(table.size[i]),
      pageSizeBytes: table.blockBytes[i] ?? 0,
      sealed: known(inside)?.sealed ?? null,
      allocatedBytes: known(inside)?.allocatedBytes ?? null,
    });
  }
  return memfds;
}

/** include/uapi/linux/fcntl.h; UDMABUF_CREATE refuses a memfd without it. */
const F_SEAL_SHRINK = 2;
/** Of st_blocks, whatever the file system's own. */
const BLOCK_BYTES = 512;

/**
 * What has to be asked of the open memfd. Opening one through /proc leaves nothing behind. Its blocks are the pages of its page cache:
 * hugetlb adds a huge page's at hugetlb_add_to_page_cache (also one that memfd_alloc_folio filled a hole with), shmem a page's, and
 * those that it swapped out.
 */
async function readMemfd(
  files: HostFiles,
  native: Native,
  pid: number,
  target: number,
): Promise<Reading<Pick<OpenMemfd, 'sealed' | 'allocatedBytes'>>> {
  const path = `/proc/${pid}/fd/${target}`;
  const own = files.open(path);
  const fd = own.state === 'denied' ? files.duplicate(pid, target) : own;
  if (fd.state !== 'ok') return fd as Reading<never>;
  try {
    const sealed = ((await native.getSeals(fd.value)) & F_SEAL_SHRINK) !== 0;
    return ok(path, { sealed, allocatedBytes: fstatSync(fd.value).blocks * BLOCK_BYTES });
  } catch (error) {
    return failure(path, error);
  } finally {
    closeSync(fd.value);
  }
}

/** For memfds that are only mapped, their fd closed. smaps walks the whole page table, so only then. */
function pageSizesFromSmaps(files: HostFiles, pid: number): Map<string, number> {
  const vmas = known(files.parsed(`/proc/${pid}/smaps`, parseSmaps)) ?? [];
  return new Map(
    vmas
      .filter(vma => isMemfd(vma.path))
      .map(vma => [`${vma.major * 2 ** 20 + vma.minor}:${vma.inode}`, vma.kernelPageBytes]),
  );
}
