import { closeSync } from 'node:fs';
import { CORE_HEADER_BYTES, type CoreHeader, fileOffset, parseCoreHeader } from '../model/kernel/elf.ts';
import type { KernelMemory, MemoryRange } from '../model/kernel/memory.ts';
import { ok, type Reading } from '../model/reading.ts';
import type { Native } from '../native/index.ts';
import { failure, type HostFiles, understood } from './files.ts';

const PATH = '/proc/kcore';

/**
 * /proc/kcore, open. Its segments are those of the opening: memory that is hotplugged later is not in them.
 * Reads take turns: the kernel copies through one bounce buffer an open file (fs/proc/kcore.c read_kcore_iter,
 * `file->private_data`) without a lock, so of two reads at once each may get the other's bytes. Seen on 6.12.
 */
export class Kcore implements KernelMemory {
  private last: Promise<unknown> = Promise.resolve();
  private closed = false;

  private constructor(
    private readonly native: Native,
    private readonly fd: number,
    readonly header: CoreHeader,
  ) {}

  static open(files: HostFiles, native: Native): Reading<Kcore> {
    const head = understood(files.head(PATH, CORE_HEADER_BYTES), parseCoreHeader);
    if (head.state !== 'ok') return withLockdown(files, head as Reading<never>);
    const fd = files.open(PATH);
    return fd.state === 'ok' ? ok(PATH, new Kcore(native, fd.value, head.value)) : (fd as Reading<never>);
  }

  read(ranges: readonly MemoryRange[], into?: Uint8Array): Promise<(Uint8Array | undefined)[]> {
    const turn = this.last.then(() => this.readNow(ranges, into));
    this.last = turn.catch(() => {});
    return turn;
  }

  private async readNow(
    ranges: readonly MemoryRange[],
    into?: Uint8Array,
  ): Promise<(Uint8Array | undefined)[]> {
    if (this.closed) throw Object.assign(new Error('kernel memory was closed'), { code: 'EPERM' });
    const offsets = ranges.map(({ address, bytes }) =>
      bytes > 0 ? fileOffset(this.header.segments, address, bytes) : undefined,
    );
    const mapped = offsets.filter(offset => offset !== undefined);
    const lengths = ranges.filter((_, i) => offsets[i] !== undefined).map(({ bytes }) => bytes);
    const result = await this.native.readBytes(
      this.fd,
      { offset: BigUint64Array.from(mapped), length: Uint32Array.from(lengths) },
      into ? { into } : {},
    );
    let at = 0;
    let row = 0;
    return ranges.map(({ bytes }, i) => {
      if (bytes === 0) return new Uint8Array(0);
      if (offsets[i] === undefined) return undefined;
      const start = at;
      at += bytes;
      return result.read[row++] === bytes ? result.data.subarray(start, at) : undefined;
    });
  }

  /** Also in the middle of reading: what was not read yet is then refused (EPERM). */
  close(): void {
    if (!this.closed) closeSync(this.fd);
    this.closed = true;
  }
}

/** Lockdown refuses root too (security/lockdown, LOCKDOWN_KCORE), so say so: being told to become root would not help. */
function withLockdown(files: HostFiles, reading: Reading<never>): Reading<never> {
  if (reading.state !== 'denied') return reading;
  const levels = files.text('/sys/kernel/security/lockdown');
  if (levels.state !== 'ok' || !levels.value.includes('[confidentiality]')) return reading;
  return {
    ...reading,
    detail: 'the kernel is locked down at the level confidentiality, which closes /proc/kcore to everyone',
    grant: 'a boot with lockdown=integrity or without lockdown (Secure Boot may force it)',
  };
}

/** Like {@link failure}, for a kcore that fails while it is read. */
export function kcoreFailure(error: unknown): Reading<never> {
  return failure(PATH, error);
}
