import { closeSync, readSync } from 'node:fs';
import { KallsymsScanner } from '../model/host/kallsyms.ts';
import { Btf } from '../model/kernel/btf.ts';
import { u64 } from '../model/kernel/bytes.ts';
import {
  eraFromBtf,
  type KernelLayout,
  resolveLayout,
  traitsFromBtf,
  WANTED_SYMBOLS,
  WANTED_TYPES,
} from '../model/kernel/layout.ts';
import { type Symbols, symbolsFromTables } from '../model/kernel/symbols.ts';
import { ParseError } from '../model/parse-error.ts';
import { absent, denied, ok, type Reading } from '../model/reading.ts';
import type { UdmabufEra } from '../model/snapshot.ts';
import type { Native } from '../native/index.ts';
import { type HostFiles, understood } from './files.ts';
import { Kcore, kcoreFailure } from './kcore.ts';

export const BTF_PATH = '/sys/kernel/btf/vmlinux';
const KALLSYMS_PATH = '/proc/kallsyms';

/** How the running kernel is laid out. Read once: it holds until the next boot. */
export interface Kernel {
  readonly btf: Reading<Btf>;
  readonly era: UdmabufEra | null;
  readonly evidence: string;
  /** See {@link traitsFromBtf}; null without BTF. */
  readonly traits: readonly string[] | null;
}

export function readKernel(files: HostFiles): Kernel {
  const btf = understood(files.bytes(BTF_PATH), data => Btf.parse(data, WANTED_TYPES));
  if (btf.state === 'ok') return { btf, ...eraFromBtf(btf.value), traits: traitsFromBtf(btf.value) };
  return { btf, ...eraFromSymbols(files), traits: null };
}

/** Without BTF: names in /proc/kallsyms are readable by everyone, only addresses are hidden. */
function eraFromSymbols(files: HostFiles): { era: UdmabufEra | null; evidence: string } {
  const names = scanKallsyms(files, ['udmabuf_ops', 'udmabuf_ioctl', 'memfd_pin_folios']);
  if (names.state !== 'ok') return { era: null, evidence: `neither BTF nor ${KALLSYMS_PATH} can be read` };
  if (!names.value.has('udmabuf_ops') && !names.value.has('udmabuf_ioctl')) {
    return { era: 'absent', evidence: 'kallsyms has no udmabuf_ioctl' };
  }
  return names.value.has('memfd_pin_folios')
    ? { era: 'folio-pins', evidence: 'kallsyms has memfd_pin_folios' }
    : { era: 'page-refs', evidence: 'kallsyms has udmabuf_ioctl and no memfd_pin_folios' };
}

/** Kernel memory, ready to walk. */
export interface OpenKernel {
  readonly memory: Kcore;
  readonly layout: KernelLayout;
  /** Where the symbols came from. */
  readonly symbols: string;
}

/** Opens kernel memory and resolves the layout; the caller closes `memory`. */
export async function openKernel(
  files: HostFiles,
  native: Native,
  kernel: Kernel,
): Promise<Reading<OpenKernel>> {
  if (kernel.btf.state !== 'ok') return kernel.btf as Reading<never>;
  if (kernel.era === 'absent') return absent(BTF_PATH, 'this kernel has no udmabuf driver (CONFIG_UDMABUF)');
  const core = Kcore.open(files, native);
  if (core.state !== 'ok') return core as Reading<never>;
  const memory = core.value;
  const resolved = await findLayout(files, memory, kernel.btf.value).catch(asReading);
  if (resolved.state !== 'ok') memory.close();
  return resolved;
}

async function findLayout(files: HostFiles, memory: Kcore, btf: Btf): Promise<Reading<OpenKernel>> {
  const symbols = await findSymbols(files, memory, WANTED_SYMBOLS);
  if (symbols.state !== 'ok') return symbols as Reading<never>;
  const { addresses, from } = symbols.value;
  const base = addresses.get('vmemmap_base');
  const [vmemmap] = base ? await memory.read([{ address: base, bytes: 8 }]) : [];
  const layout = resolveLayout(btf, addresses, memory.header.vmcoreinfo, vmemmap && u64(vmemmap, 0));
  if ('missing' in layout) return absent('/proc/kcore', `this kernel lacks ${layout.missing}`);
  return ok('/proc/kcore', { memory, layout, symbols: from });
}

/**
 * Addresses of symbols, from the tables in kernel memory, else from /proc/kallsyms.
 * @throws ParseError where the tables contradict themselves
 */
export async function findSymbols(
  files: HostFiles,
  memory: Kcore,
  wanted: readonly string[],
): Promise<Reading<{ readonly addresses: Symbols; readonly from: string }>> {
  const addresses = await symbolsFromTables(memory, memory.header.vmcoreinfo, wanted);
  if (addresses) return ok('/proc/kcore', { addresses, from: 'kallsyms tables in /proc/kcore' });
  const scanned = scanKallsyms(files, wanted);
  if (scanned.state !== 'ok') return scanned as Reading<never>;
  if ([...scanned.value.values()].every(address => address === 0n)) {
    return denied(KALLSYMS_PATH, 'all addresses read as 0', 'root, with kernel.kptr_restrict below 2');
  }
  return ok(KALLSYMS_PATH, { addresses: scanned.value, from: KALLSYMS_PATH });
}

function asReading(error: unknown): Reading<never> {
  return error instanceof ParseError
    ? absent('/proc/kcore', `not understood: ${error.message}`)
    : kcoreFailure(error);
}

/** Name → address from /proc/kallsyms; 0n where it is hidden, or where two symbols share the name. */
export function scanKallsyms(files: HostFiles, wanted: readonly string[]): Reading<Symbols> {
  const fd = files.open(KALLSYMS_PATH);
  if (fd.state !== 'ok') return fd as Reading<never>;
  try {
    const scanner = new KallsymsScanner(new Set(wanted));
    const buffer = Buffer.alloc(1 << 20);
    for (;;) {
      const read = readSync(fd.value, buffer, 0, buffer.length, null);
      if (read === 0) break;
      scanner.push(buffer.toString('latin1', 0, read));
    }
    scanner.end();
    const addresses = [...scanner.found].map(([name, address]): [string, bigint] => [
      name,
      typeof address === 'bigint' ? address : 0n,
    ]);
    return ok(KALLSYMS_PATH, new Map(addresses));
  } catch (error) {
    return error instanceof ParseError ? absent(KALLSYMS_PATH, error.message) : kcoreFailure(error);
  } finally {
    closeSync(fd.value);
  }
}
