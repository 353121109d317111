import type { UdmabufEra } from '../snapshot.ts';
import type { Btf, Member } from './btf.ts';

/*
 * Where everything is in the running kernel. Offsets come from BTF, addresses from its symbols; kernels are told apart by
 * what is there, never by a version number. Versions below only say when a form was seen.
 */

/** Types that {@link resolveLayout} looks for in BTF. */
export const WANTED_TYPES = [
  'page',
  'folio',
  'list_head',
  'dma_buf',
  'dma_buf_attachment',
  'device',
  'udmabuf',
  'file',
  'inode',
  'super_block',
  'address_space',
  'mem_section',
  'mem_section_usage',
  'pageflags',
  'migratetype',
  'pageblock_bits',
  'compound_dtor_id',
] as const;

/** The heads of the list of all dma-bufs, newest first: 7.x `dmabuf_list`, 6.12 `debugfs_list`, 6.1 `db_list`. */
const LIST_HEADS = ['dmabuf_list', 'debugfs_list', 'db_list'] as const;
/** Removed by a08c7193e4f1 ("mm/filemap: remove hugetlb special casing in filemap.c", 6.7). */
const HUGE_INDEX_SYMBOL = 'hugetlb_basepage_index';

/** Symbols that {@link resolveLayout} looks for. */
export const WANTED_SYMBOLS = [
  ...LIST_HEADS,
  'udmabuf_ops',
  'vmemmap_base',
  'mem_section',
  HUGE_INDEX_SYMBOL,
] as const;

export interface KernelLayout {
  readonly era: UdmabufEra;
  /** Address of the `list_head` of all dma-bufs, and the symbol that gave it. */
  readonly listHead: bigint;
  readonly listSymbol: string;
  readonly udmabufOps: bigint;
  readonly list: { readonly next: number; readonly prev: number };
  readonly dmaBuf: {
    readonly bytes: number;
    readonly node: number;
    readonly ops: number;
    readonly file: number;
    readonly priv: number;
    readonly size: number;
    readonly name: number;
    readonly attachments: number;
  };
  readonly attachment: {
    readonly node: number;
    readonly dev: number;
    /** The cached device mapping, up to b72f66f22c0e ("dma-buf: drop caching of sg_tables", 6.15). */
    readonly sgt: number | undefined;
    readonly kobjName: number;
    readonly initName: number;
  };
  readonly udmabuf: {
    readonly bytes: number;
    readonly pagecount: number;
    /** Either the pages themselves (up to 6.10, and again from 6.16 on), or folio and byte offset an entry. */
    readonly entries:
      | { readonly kind: 'pages'; readonly pages: number }
      | { readonly kind: 'folios'; readonly folios: number; readonly offsets: number };
    /** Where FOLL_PIN references are counted; none in the page-refs era. */
    readonly pins:
      | { readonly kind: 'count'; readonly count: number }
      | { readonly kind: 'list'; readonly head: number }
      | { readonly kind: 'none' };
  };
  /** `privateData` of a dma-buf's file points back to it. */
  readonly file: { readonly inode: number; readonly privateData: number };
  readonly inode: {
    readonly ino: number;
    readonly superBlock: number;
    /** The page cache, which points back to the inode by its `host`. */
    readonly mapping: number;
    /** Offsets of seconds and nanoseconds of the change time. */
    readonly ctimeSec: number | undefined;
    readonly ctimeNsec: number | undefined;
  };
  readonly superBlock: { readonly dev: number; readonly magic: number };
  readonly addressSpace: { readonly host: number };
  readonly page: {
    readonly bytes: number;
    readonly flags: number;
    /** `compound_head`, or `compound_info` (7.x), which may hold a mask instead of a pointer. */
    readonly head: number;
    readonly headBit: number;
    readonly vmemmap: bigint;
  };
  readonly folio: {
    readonly bytes: number;
    readonly mapping: number;
    readonly index: number;
    readonly nrPages:
      | { readonly kind: 'count'; readonly at: number; readonly size: number }
      | { readonly kind: 'order'; readonly at: number };
    /**
     * Set where the page cache index of a hugetlb folio counts huge pages, not base pages (before 6.7): offset and value
     * of the destructor that marks such a folio even after its file dropped it.
     */
    readonly hugeIndex: { readonly destructor: number; readonly hugetlb: number } | undefined;
  };
  /** Absent where the kernel does not say how its pageblock map is laid out; pages then have no migratetype. */
  readonly pageblocks: PageblockLayout | undefined;
}

export interface PageblockLayout {
  readonly memSection: bigint;
  /** Sections are reached through a table of roots (SPARSEMEM_EXTREME) that `memSection` points to. */
  readonly sectionBytes: number;
  readonly usage: number;
  readonly flags: number;
  /** log2 of bytes a section. */
  readonly sectionSizeBits: number;
  readonly bitsPerBlock: number;
  readonly typeMask: number;
  /** The separate isolation bit of newer kernels. */
  readonly isolateBit: number | undefined;
  /** enum migratetype of this kernel: value → name as /proc/pagetypeinfo prints it. */
  readonly types: ReadonlyMap<number, string>;
}

/** What keeps a kernel's memory from being read: the first thing that was looked for and is not there. */
export interface Missing {
  readonly missing: string;
}

/** Which era the driver is of, from BTF alone (readable by everyone). */
export function eraFromBtf(btf: Btf): { era: UdmabufEra; evidence: string } {
  if (!btf.has('udmabuf')) return { era: 'absent', evidence: 'BTF has no struct udmabuf' };
  // f49c9f9e7d76... memfd_pin_folios came with `folios` (6.11); `pages` alone is older.
  for (const member of ['pinned_folios', 'unpin_list', 'folios']) {
    if (btf.member('udmabuf', member)) {
      return { era: 'folio-pins', evidence: `BTF: struct udmabuf has ${member}` };
    }
  }
  return { era: 'page-refs', evidence: 'BTF: struct udmabuf has pages and neither folios nor pinned_folios' };
}

/** Members that come and go with the driver's forms; `sgt` left with b72f66f22c0e ("dma-buf: drop caching of sg_tables"). */
const TRAITS = [
  ['udmabuf', ['pages', 'folios', 'offsets', 'unpin_list', 'nr_pinned', 'pinned_folios']],
  ['dma_buf_attachment', ['sgt']],
] as const;

/** Those of them that this kernel has, as `udmabuf.folios`. */
export const traitsFromBtf = (btf: Btf): string[] =>
  TRAITS.flatMap(([type, members]) =>
    members.filter(member => btf.member(type, member)).map(member => `${type}.${member}`),
  );

/**
 * @param symbols of {@link WANTED_SYMBOLS}
 * @param vmcoreinfo of /proc/kcore
 * @param vmemmap value of the variable `vmemmap_base` (arch/x86/kernel/head64.c): where struct pages begin
 */
export function resolveLayout(
  btf: Btf,
  symbols: ReadonlyMap<string, bigint>,
  vmcoreinfo: ReadonlyMap<string, string>,
  vmemmap: bigint | undefined,
): KernelLayout | Missing {
  try {
    const at = (type: string, ...paths: string[]): number => need(btf, type, paths).offset;
    const maybe = (type: string, ...paths: string[]): number | undefined => first(btf, type, paths)?.offset;
    const { era } = eraFromBtf(btf);
    if (era === 'absent') throw new MissingPart('struct udmabuf in BTF (CONFIG_UDMABUF)');
    const listSymbol = LIST_HEADS.find(name => symbols.has(name));
    if (vmemmap === undefined) throw new MissingPart('the variable vmemmap_base');
    if (listSymbol === undefined) throw new MissingPart(`one of the symbols ${LIST_HEADS.join(', ')}`);
    return {
      era,
      listSymbol,
      listHead: symbolOf(symbols, listSymbol),
      udmabufOps: symbolOf(symbols, 'udmabuf_ops'),
      list: { next: at('list_head', 'next'), prev: at('list_head', 'prev') },
      dmaBuf: {
        bytes: sizeOf(btf, 'dma_buf'),
        node: at('dma_buf', 'list_node'),
        ops: at('dma_buf', 'ops'),
        file: at('dma_buf', 'file'),
        priv: at('dma_buf', 'priv'),
        size: at('dma_buf', 'size'),
        name: at('dma_buf', 'name'),
        attachments: at('dma_buf', 'attachments'),
      },
      attachment: {
        node: at('dma_buf_attachment', 'node'),
        dev: at('dma_buf_attachment', 'dev'),
        sgt: maybe('dma_buf_attachment', 'sgt'),
        kobjName: at('device', 'kobj.name'),
        initName: at('device', 'init_name'),
      },
      udmabuf: {
        bytes: sizeOf(btf, 'udmabuf'),
        pagecount: at('udmabuf', 'pagecount'),
        entries: btf.member('udmabuf', 'pages')
          ? { kind: 'pages', pages: at('udmabuf', 'pages') }
          : { kind: 'folios', folios: at('udmabuf', 'folios'), offsets: at('udmabuf', 'offsets') },
        pins: pinsOf(btf, era),
      },
      file: { inode: at('file', 'f_inode'), privateData: at('file', 'private_data') },
      inode: {
        ino: at('inode', 'i_ino'),
        superBlock: at('inode', 'i_sb'),
        mapping: at('inode', 'i_mapping'),
        ctimeSec: maybe('inode', 'i_ctime_sec', '__i_ctime.tv_sec', 'i_ctime.tv_sec'),
        ctimeNsec: maybe('inode', 'i_ctime_nsec', '__i_ctime.tv_nsec', 'i_ctime.tv_nsec'),
      },
      superBlock: { dev: at('super_block', 's_dev'), magic: at('super_block', 's_magic') },
      addressSpace: { host: at('address_space', 'host') },
      page: {
        bytes: sizeOf(btf, 'page'),
        flags: at('page', 'flags'),
        head: at('page', 'compound_info', 'compound_head'),
        headBit: flagBit(btf, 'pageflags', 'PG_head'),
        vmemmap,
      },
      folio: {
        bytes: sizeOf(btf, 'folio'),
        mapping: at('folio', 'mapping'),
        index: at('folio', 'index'),
        nrPages: nrPagesOf(btf),
        hugeIndex: symbols.has(HUGE_INDEX_SYMBOL)
          ? {
              destructor: at('folio', '_folio_dtor'),
              hugetlb: enumerator(btf, 'compound_dtor_id', 'HUGETLB_PAGE_DTOR'),
            }
          : undefined,
      },
      pageblocks: pageblockLayout(btf, symbols, vmcoreinfo),
    };
  } catch (error) {
    if (error instanceof MissingPart) return { missing: error.message };
    throw error;
  }
}

class MissingPart extends Error {}

/** Above every struct that is looked into; reads follow from sizes and offsets, so a damaged one must not pass. */
const MAX_STRUCT_BYTES = 64 * 1024;

function first(btf: Btf, type: string, paths: readonly string[]): Member | undefined {
  for (const path of paths) {
    const member = btf.member(type, path);
    if (!member) continue;
    if (member.offset >= sizeOf(btf, type))
      throw new MissingPart(`member ${path} inside struct ${type} in BTF`);
    return member;
  }
  return undefined;
}

function need(btf: Btf, type: string, paths: readonly string[]): Member {
  const member = first(btf, type, paths);
  if (!member) throw new MissingPart(`member ${paths.join(' or ')} of struct ${type} in BTF`);
  return member;
}

function sizeOf(btf: Btf, type: string): number {
  const bytes = btf.sizeOf(type);
  if (!bytes) throw new MissingPart(`struct ${type} in BTF`);
  if (bytes > MAX_STRUCT_BYTES) throw new MissingPart(`a believable size of struct ${type} in BTF`);
  return bytes;
}

function symbolOf(symbols: ReadonlyMap<string, bigint>, name: string): bigint {
  const address = symbols.get(name);
  if (!address) throw new MissingPart(`the address of the symbol ${name}`);
  return address;
}

function enumerator(btf: Btf, type: string, name: string): number {
  const value = btf.enumerators(type)?.get(name);
  if (value === undefined) throw new MissingPart(`enumerator ${name} of enum ${type} in BTF`);
  return value;
}

/** An enumerator that numbers a bit of a flags word. */
function flagBit(btf: Btf, type: string, name: string): number {
  const bit = enumerator(btf, type, name);
  if (bit < 0 || bit > 63) throw new MissingPart(`a bit number as enumerator ${name} of enum ${type} in BTF`);
  return bit;
}

function pinsOf(btf: Btf, era: UdmabufEra): KernelLayout['udmabuf']['pins'] {
  const count = first(btf, 'udmabuf', ['nr_pinned']);
  if (count) return { kind: 'count', count: count.offset };
  const head = first(btf, 'udmabuf', ['unpin_list']);
  if (head) return { kind: 'list', head: head.offset };
  if (era === 'page-refs') return { kind: 'none' };
  throw new MissingPart('nr_pinned or unpin_list of struct udmabuf in BTF');
}

function nrPagesOf(btf: Btf): KernelLayout['folio']['nrPages'] {
  // `_nr_pages` since 6.15, `_folio_nr_pages` before; 32-bit-style kernels keep only the order in `_flags_1`.
  const count = first(btf, 'folio', ['_nr_pages', '_folio_nr_pages']);
  if (count) return { kind: 'count', at: count.offset, size: count.size };
  return { kind: 'order', at: need(btf, 'folio', ['_flags_1']).offset };
}

/** Names of mm/page_alloc.c migratetype_names, by enumerator; MIGRATE_PCPTYPES and the like are bounds, not types. */
const TYPE_NAMES: Readonly<Record<string, string>> = {
  MIGRATE_UNMOVABLE: 'Unmovable',
  MIGRATE_MOVABLE: 'Movable',
  MIGRATE_RECLAIMABLE: 'Reclaimable',
  MIGRATE_HIGHATOMIC: 'HighAtomic',
  MIGRATE_CMA: 'CMA',
  MIGRATE_ISOLATE: 'Isolate',
};

function pageblockLayout(
  btf: Btf,
  symbols: ReadonlyMap<string, bigint>,
  vmcoreinfo: ReadonlyMap<string, string>,
): PageblockLayout | undefined {
  const memSection = symbols.get('mem_section');
  const sectionBytes = btf.sizeOf('mem_section');
  const usage = first(btf, 'mem_section', ['usage']);
  // A flexible array: it may begin where the struct ends.
  const flags = btf.member('mem_section_usage', 'pageblock_flags');
  const sectionSizeBits = Number(vmcoreinfo.get('NUMBER(SECTION_SIZE_BITS)'));
  const bits = btf.enumerators('pageblock_bits');
  const types = btf.enumerators('migratetype');
  if (!memSection || !sectionBytes || !usage || !flags || !bits || !types) return undefined;
  // A root is one page of sections.
  if (sectionBytes > 4096 || flags.offset > MAX_STRUCT_BYTES) return undefined;
  if (!Number.isInteger(sectionSizeBits) || sectionSizeBits < 20 || sectionSizeBits > 40) return undefined;
  // 4 bits a block with PB_migrate_end and NR_PAGEBLOCK_BITS; since 6.17 each bit has a name and the map is rounded up.
  const used = bits.get('__NR_PAGEBLOCK_BITS') ?? bits.get('NR_PAGEBLOCK_BITS');
  const last = bits.get('PB_migrate_end') ?? bits.get('PB_migrate_2');
  if (used === undefined || last === undefined || used < 1 || used > 32 || last < 0 || last >= used) {
    return undefined;
  }
  return {
    memSection,
    sectionBytes,
    usage: usage.offset,
    flags: flags.offset,
    sectionSizeBits,
    bitsPerBlock: 2 ** Math.ceil(Math.log2(used)),
    typeMask: 2 ** (last + 1) - 1,
    isolateBit: bits.get('PB_migrate_isolate'),
    types: new Map(
      [...types].flatMap(([name, value]): [number, string][] => {
        const printed = TYPE_NAMES[name];
        return printed === undefined ? [] : [[value, printed]];
      }),
    ),
  };
}
