/**
 * The one file that knows where native outputs are, and the whole contract of what the addon does. The addon does system
 * calls and merges equal neighbours; it knows no policy. Every call that returns a promise runs on a pool thread, in chunks,
 * and can be cancelled; packets are sent and received in the calling thread, and throw what the others reject with. Arrays come back in buffers that V8 allocated (Electron refuses external ones).
 *
 * A descriptor that is passed in is duplicated before the call returns, so the caller may close its own at once.
 * Every failure is a rejection: a NativeError for a system call, a TypeError or RangeError (with `code`) for arguments.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What a failed system call rejects with. */
export interface NativeError extends Error {
  /** e.g. `EACCES`; `ECANCELED` after an abort. */
  readonly code: string;
  /** As in errno.h: positive, where Node's own errors are negative. */
  readonly errno: number;
  readonly syscall: string;
  /** The path, `fd N` or `pid N` that it was about. */
  readonly path: string;
}

export interface ScanOptions {
  /** Abort rejects the promise with code ECANCELED at the next chunk. */
  readonly signal?: AbortSignal;
  /**
   * Called on the JS thread, at most once a chunk, some hundred times a call; `done` only grows and ends at `total`.
   * Units: entries, bytes (readBytes) or descriptors (listFds). If it throws, the call is aborted and rejects with that.
   */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Ranges of entries of a file that holds one u64 an entry: entry `first[i]` and the `count[i] - 1` after it. Any order,
 * may overlap; whole numbers whose sums stay below 2^53. Rising neighbours are read together.
 */
export interface EntryRanges {
  readonly first: Float64Array;
  readonly count: Float64Array;
}

/**
 * Merged runs of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst; fs/proc/task_mmu.c, pagemap_read).
 * Entries are merged while bits 55..63 are equal and the PFN field either grows by one (present), stays 0 (hidden or
 * hole), or is equal (swap). So page `i` of a run has PFN `frame + i` if it is present and `frame` is not 0, else its
 * PFN field is `frame`. Runs follow the order of the ranges and never reach from one range into the next.
 */
export interface PageRuns {
  /** Virtual page number (address / page size) of the first page. */
  readonly page: Float64Array;
  readonly count: Float64Array;
  /** Bits 0..54 of the first entry: a PFN when `flags` says present, and 0 when the reader may not see PFNs. */
  readonly frame: Float64Array;
  /** Bits 55..63 shifted down by 55: bit 8 present, 7 swapped, 6 file or shared, 1 exclusive, 0 soft-dirty. */
  readonly flags: Uint16Array;
  /** Entries the file ended before (past the address space, or the process is gone), not included above. */
  readonly missing: number;
}

/**
 * Merged runs of equal values of /proc/kpageflags, /proc/kpagecount or /proc/kpagecgroup (fs/proc/page.c), in the order
 * of the ranges and never across two of them.
 */
export interface ValueRuns {
  /** PFN of the first page. */
  readonly page: Float64Array;
  readonly count: Float64Array;
  readonly value: BigUint64Array;
  /** As in PageRuns: here entries past the last PFN. */
  readonly missing: number;
}

/**
 * Byte ranges of any file, as scattered reads: kernel memory through /proc/kcore (fs/proc/kcore.c). Any order, may
 * overlap, 2^30 bytes in all (else RangeError). Near neighbours are read together, bytes between them included; what
 * is reported of each range is as if it had been read alone.
 */
export interface ByteRanges {
  readonly offset: BigUint64Array;
  readonly length: Uint32Array;
}
export interface ReadBytesOptions extends ScanOptions {
  /**
   * Where to put the bytes instead of into new memory, which costs as much to get as the bytes to read. Used when all ranges
   * fit, else new memory is. Nobody else may touch it until the promise settles.
   */
  readonly into?: Uint8Array;
}
export interface Bytes {
  /** All ranges after one another, each at its full length; what could not be read is zero. A view of `into` if that was used. */
  readonly data: Uint8Array;
  /** Bytes that were really read of each range. */
  readonly read: Uint32Array;
  /**
   * 0 (also where the file ended: `read` is short then), or the errno that ended a range early: EFAULT where kernel
   * memory went away, EINVAL for offsets no file can have.
   */
  readonly errno: Int32Array;
}

/** The open files of a process (fs/proc/fd.c), one row an fd, in the order of the directory. */
export interface FdTable {
  readonly fd: Int32Array;
  /** Where the link points, e.g. `/dmabuf:`, `/memfd:x (deleted)`. Bytes that are no UTF-8 are replaced. */
  readonly link: string[];
  readonly dev: BigUint64Array;
  readonly ino: BigUint64Array;
  /** st_size, bytes. */
  readonly size: BigUint64Array;
  /** st_ctime in ns since 1970: for a dma-buf the time of its creation. */
  readonly ctimeNs: BigInt64Array;
  /** st_mode: type and permissions. */
  readonly mode: Uint32Array;
  /** st_blksize: of hugetlbfs the huge page (fs/hugetlbfs/inode.c), of tmpfs a page. */
  readonly blockBytes: Uint32Array;
  /** 0, or the errno of readlink or stat for this row (its columns are then 0): an fd may close at any time. */
  readonly errno: Int32Array;
}

/** One packet and the descriptors that came beside it: close-on-exec, the caller closes them. */
export interface Packet {
  readonly data: Uint8Array;
  readonly fds: number[];
}

/** The addon. Use `loadNative()`. */
export interface Native {
  /** Reads and merges a pagemap. PFNs are visible when the *opener* of `fd` had CAP_SYS_ADMIN. */
  readPageRuns(fd: number, ranges: EntryRanges, options?: ScanOptions): Promise<PageRuns>;
  /** Reads and merges a file of /proc/kpage*, whose entries are indexed by PFN. */
  readValueRuns(fd: number, ranges: EntryRanges, options?: ScanOptions): Promise<ValueRuns>;
  /** Rejects only for a bad descriptor or arguments: what a range ran into is in its row. */
  readBytes(fd: number, ranges: ByteRanges, options?: ReadBytesOptions): Promise<Bytes>;
  /**
   * Lists `directory` (a /proc/PID/fd) and stats the links whose text begins with one of `prefixes`; the others are left
   * out. An empty `prefixes` keeps all. A link that cannot be read is kept: it might have been one of them.
   */
  listFds(directory: string, prefixes: readonly string[], options?: ScanOptions): Promise<FdTable>;
  /** pidfd_open(2), close-on-exec; ESRCH when there is no such process. The caller closes it (fs.closeSync). */
  pidfdOpen(pid: number): Promise<number>;
  /**
   * pidfd_getfd(2): a duplicate of `targetFd` of that process, close-on-exec. EBADF when it has no such descriptor,
   * EPERM without ptrace access. The caller closes it.
   */
  pidfdGetfd(pidfd: number, targetFd: number): Promise<number>;
  /** fcntl(F_GET_SEALS): F_SEAL_* bits of a memfd (include/uapi/linux/fcntl.h); EINVAL for a file that cannot be sealed. */
  getSeals(fd: number): Promise<number>;
  /** socketpair(2): AF_UNIX, SOCK_SEQPACKET, both close-on-exec. A child gets one as its `stdio`. The caller closes both. */
  socketPair(): [ours: number, theirs: number];
  /** Sends one packet. EPIPE or ECONNRESET when the other end is closed, ETIMEDOUT when it stays full that long. */
  sendPacket(fd: number, data: Uint8Array, timeoutMs: number): void;
  /**
   * Receives one packet; waits at most `timeoutMs` (up to 60,000), else ETIMEDOUT. ECONNRESET at the end, also for an empty packet
   * without descriptors. EMSGSIZE for one longer than `maxBytes` (up to 2^20), EMFILE for more descriptors than 16 or than this
   * process may have: what came with it is closed.
   */
  receivePacket(fd: number, maxBytes: number, timeoutMs: number): Packet;
}

type Progress = (done: number, total: number) => void;

/** What the .node file exports. `id` names a call that may be cancelled; arguments are checked there. */
interface Addon {
  readPageRuns(
    fd: number,
    first: Float64Array,
    count: Float64Array,
    id?: number,
    progress?: Progress,
  ): Promise<PageRuns>;
  readValueRuns(
    fd: number,
    first: Float64Array,
    count: Float64Array,
    id?: number,
    progress?: Progress,
  ): Promise<ValueRuns>;
  readBytes(
    fd: number,
    offset: BigUint64Array,
    length: Uint32Array,
    id?: number,
    progress?: Progress,
    into?: Uint8Array,
  ): Promise<Bytes>;
  listFds(directory: string, prefixes: readonly string[], id?: number, progress?: Progress): Promise<FdTable>;
  pidfdOpen(pid: number): Promise<number>;
  pidfdGetfd(pidfd: number, targetFd: number): Promise<number>;
  getSeals(fd: number): Promise<number>;
  socketPair(): [number, number];
  sendPacket(fd: number, data: Uint8Array, timeoutMs: number): void;
  receivePacket(fd: number, maxBytes: number, timeoutMs: number): Packet;
  cancel(id: number): void;
}

let loaded: Native | undefined;

/**
 * Loads the addon, once: the file that PINSCOPE_ADDON names, else the one that was built for this source tree or bundle.
 * Throws an Error that says what to run when there is none; a file that is there but does not load throws its own error.
 */
export function loadNative(): Native {
  loaded ??= wrap(createRequire(here())(findAddon()) as Addon);
  return loaded;
}

/** Tells the failure of a system call from a mistake in the arguments. */
export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && 'syscall' in error && 'errno' in error && 'code' in error;
}

/** The URL of this file or of the bundle that it went into. A CommonJS bundle may have none. */
function here(): string {
  return import.meta.url ?? pathToFileURL(process.argv[1] ?? process.execPath).href;
}

function findAddon(): string {
  return process.env.PINSCOPE_ADDON || findBuilt('pinscope.node', 'native addon');
}

/**
 * The broker of this build, to be installed: it never runs from here. Throws like {@link loadNative} where it is not built.
 * In a package both are outside the archive.
 */
export function brokerFile(): string {
  return findBuilt('pinscope-broker', 'broker');
}

/** The polkit policy that belongs to {@link brokerFile}. */
export function policyFile(): string {
  return findBuilt('io.github.pinscope.policy', 'broker’s policy');
}

function findBuilt(name: string, what: string): string {
  const from = here();
  const places = from.endsWith('/native/index.ts')
    ? [`./build/${name}`]
    : [`../native/${name}`, `../../native/build/${name}`];
  const files = places.map(place => fileURLToPath(new URL(place, from)));
  const file = files.find(path => existsSync(path));
  if (file === undefined) {
    throw new Error(`The ${what} is not built (looked for ${files.join(' and ')}): run npm run setup.`);
  }
  return file;
}

function wrap(addon: Addon): Native {
  let lastId = 0;

  /** Runs one call with an id and a progress function that must not throw into the addon. */
  async function call<T>(
    options: ScanOptions | undefined,
    start: (id?: number, progress?: Progress) => Promise<T>,
  ): Promise<T> {
    const { signal, onProgress } = options ?? {};
    if (signal === undefined && onProgress === undefined) return start();
    const id = ++lastId;
    const cancel = () => addon.cancel(id);
    let thrown: { error: unknown } | undefined;
    const progress =
      onProgress &&
      ((done: number, total: number) => {
        if (thrown !== undefined) return;
        try {
          onProgress(done, total);
        } catch (error) {
          thrown = { error };
          cancel();
        }
      });
    const result = start(id, progress);
    // Also when it is aborted already, so that arguments are checked and the error is the same.
    if (signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const value = await result;
      if (thrown !== undefined) throw thrown.error;
      return value;
    } catch (error) {
      throw thrown === undefined ? error : thrown.error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  return {
    readPageRuns: (fd, ranges, options) =>
      call(options, (id, progress) => addon.readPageRuns(fd, ranges.first, ranges.count, id, progress)),
    readValueRuns: (fd, ranges, options) =>
      call(options, (id, progress) => addon.readValueRuns(fd, ranges.first, ranges.count, id, progress)),
    readBytes: (fd, ranges, options) =>
      call(options, (id, progress) =>
        addon.readBytes(fd, ranges.offset, ranges.length, id, progress, options?.into),
      ),
    listFds: (directory, prefixes, options) =>
      call(options, (id, progress) => addon.listFds(directory, prefixes, id, progress)),
    pidfdOpen: async pid => addon.pidfdOpen(pid),
    pidfdGetfd: async (pidfd, targetFd) => addon.pidfdGetfd(pidfd, targetFd),
    getSeals: async fd => addon.getSeals(fd),
    socketPair: () => addon.socketPair(),
    sendPacket: (fd, data, timeoutMs) => addon.sendPacket(fd, data, timeoutMs),
    receivePacket: (fd, maxBytes, timeoutMs) => addon.receivePacket(fd, maxBytes, timeoutMs),
  };
}
