import { describe, expect, test } from 'vitest';
import { BtfBuilder } from '../../test/btf-builder.ts';
import { recordedKernels } from '../../test/kernel-recording.ts';
import { trimBtf } from '../../test/rig/guest/trim-btf.ts';
import { Btf } from './btf.ts';
import { eraFromBtf, type KernelLayout, resolveLayout, traitsFromBtf, WANTED_TYPES } from './layout.ts';

/** Members of struct udmabuf and of dma_buf_attachment, by their sources. */
const TRAITS: Readonly<Record<string, readonly string[]>> = {
  '6.1': ['udmabuf.pages', 'dma_buf_attachment.sgt'],
  '6.12': ['udmabuf.folios', 'udmabuf.offsets', 'udmabuf.unpin_list', 'dma_buf_attachment.sgt'],
  '7.2': ['udmabuf.pages', 'udmabuf.nr_pinned', 'udmabuf.pinned_folios'],
};

/** What tells the kernels apart, by what their sources say. */
const FORMS = {
  '6.1': {
    era: 'page-refs',
    evidence: 'BTF: struct udmabuf has pages and neither folios nor pinned_folios',
    listSymbol: 'db_list',
    entries: 'pages',
    pins: 'none',
    headMember: 'compound_head',
    hugeIndex: true,
    sgt: true,
    bitsPerBlock: 4,
    isolateBit: undefined,
    cma: 4,
    isolate: 5,
  },
  '6.12': {
    era: 'folio-pins',
    evidence: 'BTF: struct udmabuf has unpin_list',
    listSymbol: 'debugfs_list',
    entries: 'folios',
    pins: 'list',
    headMember: 'compound_head',
    hugeIndex: false,
    sgt: true,
    bitsPerBlock: 4,
    isolateBit: undefined,
    // Debian’s 6.12 has no CONFIG_CMA.
    cma: undefined,
    isolate: 4,
  },
  '7.2': {
    era: 'folio-pins',
    evidence: 'BTF: struct udmabuf has pinned_folios',
    listSymbol: 'dmabuf_list',
    entries: 'pages',
    pins: 'count',
    headMember: 'compound_info',
    hugeIndex: false,
    sgt: false,
    bitsPerBlock: 8,
    isolateBit: 4,
    cma: 4,
    isolate: 5,
  },
} as const;

describe.each(recordedKernels)('layout of Linux $id', kernel => {
  const form = FORMS[kernel.id as keyof typeof FORMS];
  const btf = Btf.parse(kernel.btf, WANTED_TYPES);
  const { layout, symbols, vmcoreinfo, vmemmap } = kernel;
  const resolve = (change: {
    btf?: Btf;
    symbols?: ReadonlyMap<string, bigint>;
    info?: ReadonlyMap<string, string>;
  }) => resolveLayout(change.btf ?? btf, change.symbols ?? symbols, change.info ?? vmcoreinfo, vmemmap);
  const whole = (change: Parameters<typeof resolve>[0]): KernelLayout => {
    const resolved = resolve(change);
    if ('missing' in resolved) throw new Error(resolved.missing);
    return resolved;
  };

  test('era and its evidence', () => {
    expect(eraFromBtf(btf)).toEqual({ era: form.era, evidence: form.evidence });
  });
  test('the members that tell forms of the driver apart', () => {
    expect(traitsFromBtf(btf)).toEqual(TRAITS[kernel.id]);
  });
  test('every form is told by presence', () => {
    const { pageblocks } = layout;
    const number = (name: string) =>
      [...(pageblocks?.types ?? [])].find(([, printed]) => printed === name)?.[0];
    expect({
      era: layout.era,
      evidence: form.evidence,
      listSymbol: layout.listSymbol,
      entries: layout.udmabuf.entries.kind,
      pins: layout.udmabuf.pins.kind,
      headMember: form.headMember,
      hugeIndex: layout.folio.hugeIndex !== undefined,
      sgt: layout.attachment.sgt !== undefined,
      bitsPerBlock: pageblocks?.bitsPerBlock,
      isolateBit: pageblocks?.isolateBit,
      cma: number('CMA'),
      isolate: number('Isolate'),
    }).toEqual(form);
    expect(layout.page.head).toBe(btf.member('page', form.headMember)?.offset);
    expect(
      btf.member('page', form.headMember === 'compound_head' ? 'compound_info' : 'compound_head'),
    ).toBeUndefined();
  });
  test('addresses are those of the symbols', () => {
    expect(layout.listHead).toBe(symbols.get(form.listSymbol));
    expect(layout.udmabufOps).toBe(symbols.get('udmabuf_ops'));
    expect(layout.pageblocks?.memSection).toBe(symbols.get('mem_section'));
    expect(layout.page.vmemmap).toBe(vmemmap);
  });
  test('types that pagetypeinfo prints', () => {
    const printed = [...(layout.pageblocks?.types.values() ?? [])];
    for (const name of ['Unmovable', 'Movable', 'Reclaimable', 'HighAtomic', 'Isolate'])
      expect(printed).toContain(name);
    expect(layout.pageblocks?.typeMask).toBe(7);
  });

  test('without a symbol: what is missing is named', () => {
    const without = (name: string) => new Map([...symbols].filter(([key]) => key !== name));
    expect(resolve({ symbols: without(form.listSymbol) })).toEqual({
      missing: 'one of the symbols dmabuf_list, debugfs_list, db_list',
    });
    expect(resolve({ symbols: without('udmabuf_ops') })).toEqual({
      missing: 'the address of the symbol udmabuf_ops',
    });
    expect(resolve({ symbols: new Map(symbols).set('udmabuf_ops', 0n) })).toHaveProperty('missing');
    expect(resolveLayout(btf, symbols, vmcoreinfo, undefined)).toEqual({
      missing: 'the variable vmemmap_base',
    });
    expect(whole({ symbols: without('mem_section') }).pageblocks).toBeUndefined();
  });
  test('without a type: what is missing is named, pageblocks are left out', () => {
    for (const type of WANTED_TYPES) {
      const cut = Btf.parse(
        kernel.btf,
        WANTED_TYPES.filter(name => name !== type),
      );
      const resolved = resolve({ btf: cut });
      const optional = ['mem_section', 'mem_section_usage', 'migratetype', 'pageblock_bits'];
      if (type === 'compound_dtor_id' && !layout.folio.hugeIndex) expect(resolved).toEqual(layout);
      else if (optional.includes(type)) expect(resolved).toEqual({ ...layout, pageblocks: undefined });
      else expect((resolved as { missing: string }).missing, type).toContain(type);
    }
  });
  test('a section size that is none: no pageblocks', () => {
    for (const value of [undefined, '', 'x', '-1', '0', '19', '41', '27.5', '1e400']) {
      const info = new Map(vmcoreinfo);
      if (value === undefined) info.delete('NUMBER(SECTION_SIZE_BITS)');
      else info.set('NUMBER(SECTION_SIZE_BITS)', value);
      expect(whole({ info }).pageblocks, value).toBeUndefined();
    }
  });
  test('trimming what is trimmed changes nothing', () => {
    expect(trimBtf(Buffer.from(kernel.btf), WANTED_TYPES)).toEqual(Buffer.from(kernel.btf));
  });
});

describe('BTF of other kernels', () => {
  const udmabuf = (...members: string[]): Btf => {
    const b = new BtfBuilder();
    const pointer = b.add(2, '', 0, 0);
    b.struct(
      'udmabuf',
      64,
      members.map((name, i) => [name, pointer, i * 64] as const),
    );
    return Btf.parse(b.bytes(), WANTED_TYPES);
  };
  test.each([
    [['pagecount', 'pages'], 'page-refs', 'neither'],
    [['pagecount', 'folios', 'offsets'], 'folio-pins', 'folios'],
    [['pagecount', 'folios', 'offsets', 'unpin_list'], 'folio-pins', 'unpin_list'],
    [['pagecount', 'folios', 'nr_pinned', 'pinned_folios', 'offsets'], 'folio-pins', 'pinned_folios'],
    [['pagecount', 'pages', 'nr_pinned', 'pinned_folios'], 'folio-pins', 'pinned_folios'],
  ])('udmabuf with %j is of the era %s', (members, era, evidence) => {
    const found = eraFromBtf(udmabuf(...members));
    expect(found.era).toBe(era);
    expect(found.evidence).toContain(evidence);
  });
  test('no udmabuf', () => {
    const btf = Btf.parse(new BtfBuilder().bytes(), WANTED_TYPES);
    expect(eraFromBtf(btf)).toEqual({ era: 'absent', evidence: 'BTF has no struct udmabuf' });
    expect(resolveLayout(btf, new Map(), new Map(), 0n)).toEqual({
      missing: 'struct udmabuf in BTF (CONFIG_UDMABUF)',
    });
  });
});
