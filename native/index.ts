/**
 * The one file that knows where the addon is, and the whole contract of what it does. The addon does system calls and
 * merges equal neighbours; it knows no policy. Every call runs on a pool thread, in chunks, and can be cancelled.
 * Arrays come back in buffers that V8 allocated (Electron refuses external ones).
 */

/** What a failed system call rejects with. */
export interface NativeError extends Error {
  /** e.g. `EACCES`; `ECANCELED` after an abort. */
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  /** The path or `fd N` that it was about. */
  readonly path: string;
}

export interface ScanOptions {
  /** Abort rejects the promise with code ECANCELED at the next chunk. */
  readonly signal?: AbortSignal;
  /** Called on the JS thread, at most once a chunk; units are those of `count`. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Ranges of entries of a file that holds one u64 an entry: entry `first[i]` and the `count[i] - 1` after it. */
export interface EntryRanges {
  readonly first: Float64Array;
  readonly count: Float64Array;
}

/**
 * Merged runs of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). Entries are merged while bits 55..63
 * are equal and the PFN field either grows by one (present), stays 0 (hidden or hole), or is equal (swap).
 */
export interface PageRuns {
  /** Virtual page number (address / page size) of the first page. */
  readonly page: Float64Array;
  readonly count: Float64Array;
  /** Bits 0..54 of the first entry: a PFN when `flags` says present, and 0 when the reader may not see PFNs. */
  readonly frame: Float64Array;
  /** Bits 55..63 shifted down by 55: bit 8 present, 7 swapped, 6 file or shared, 1 exclusive, 0 soft-dirty. */
  readonly flags: Uint16Array;
  /** Entries the file ended before (a range past the address space), not included above. */
  readonly missing: number;
}

/** Merged runs of equal values of /proc/kpageflags, /proc/kpagecount or /proc/kpagecgroup. */
export interface ValueRuns {
  /** PFN of the first page. */
  readonly page: Float64Array;
  readonly count: Float64Array;
  readonly value: BigUint64Array;
  readonly missing: number;
}

/** Byte ranges of any file, as scattered reads: kernel memory through /proc/kcore. */
export interface ByteRanges {
  readonly offset: BigUint64Array;
  readonly length: Uint32Array;
}
export interface Bytes {
  /** All ranges after one another, each at its full length; what could not be read is zero. */
  readonly data: Uint8Array;
  /** Bytes that were really read of each range. */
  readonly read: Uint32Array;
  /** 0, or the errno that ended a range early (EFAULT where kernel memory went away). */
  readonly errno: Int32Array;
}

/** The open files of a process, one row an fd. */
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
  /** 0, or the errno of readlink or stat for this row (its columns are then 0): an fd may close at any time. */
  readonly errno: Int32Array;
}

export interface Native {
  readPageRuns(fd: number, ranges: EntryRanges, options?: ScanOptions): Promise<PageRuns>;
  readValueRuns(fd: number, ranges: EntryRanges, options?: ScanOptions): Promise<ValueRuns>;
  readBytes(fd: number, ranges: ByteRanges, options?: ScanOptions): Promise<Bytes>;
  /**
   * Lists `directory` (a /proc/PID/fd) and stats the links whose text begins with one of `prefixes`; the others are left
   * out. An empty `prefixes` keeps all.
   */
  listFds(directory: string, prefixes: readonly string[], options?: ScanOptions): Promise<FdTable>;
  /** pidfd_open(2), close-on-exec. The caller closes it (fs.closeSync). */
  pidfdOpen(pid: number): Promise<number>;
  /** pidfd_getfd(2): a duplicate of `targetFd` of that process, close-on-exec. The caller closes it. */
  pidfdGetfd(pidfd: number, targetFd: number): Promise<number>;
}
