import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BTF, BtfBuilder } from '../../test/btf-builder.ts';
import { corrupted, corruption } from '../../test/corrupt.ts';
import { cpuMs } from '../../test/cpu-time.ts';
import { recordedKernels } from '../../test/kernel-recording.ts';
import { ParseError } from '../parse-error.ts';
import { Btf } from './btf.ts';
import { type KernelLayout, resolveLayout, WANTED_TYPES } from './layout.ts';

describe.each(recordedKernels)('BTF of Linux $id', kernel => {
  const btf = Btf.parse(kernel.btf, WANTED_TYPES);

  test('sizes and members that the ABI of x86-64 fixes', () => {
    expect(btf.sizeOf('page')).toBe(64);
    expect(btf.sizeOf('list_head')).toBe(16);
    expect(btf.member('list_head', 'next')).toEqual({ offset: 0, size: 8 });
    expect(btf.member('list_head', 'prev')).toEqual({ offset: 8, size: 8 });
    expect(btf.member('inode', 'i_ino')?.size).toBe(8);
    expect(btf.member('device', 'kobj.name')?.size).toBe(8);
    expect(btf.member('dma_buf', 'size')?.size).toBe(8);
  });
  test('members of anonymous unions have the offset from the outermost type', () => {
    const info = btf.member('page', 'compound_info') ?? btf.member('page', 'compound_head');
    expect(info).toEqual({ offset: 8, size: 8 });
    expect(btf.member('folio', 'page')).toEqual({ offset: 0, size: 64 });
  });
  test('what is not there', () => {
    expect(btf.has('no_such_type')).toBe(false);
    expect(btf.sizeOf('no_such_type')).toBeUndefined();
    expect(btf.member('page', 'no_such_member')).toBeUndefined();
    expect(btf.member('page', 'flags.no.such')).toBeUndefined();
    expect(btf.enumerators('page')).toBeUndefined();
    expect(btf.enumerators('no_such_type')).toBeUndefined();
  });
  test('a pointer is not followed', () => {
    expect(btf.member('file', 'f_inode')?.size).toBe(8);
    expect(btf.member('file', 'f_inode.i_ino')).toBeUndefined();
  });
  test('bytes that lie askew in their buffer', () => {
    for (let shift = 1; shift < 4; shift++) {
      const askew = Buffer.concat([Buffer.alloc(shift), kernel.btf]).subarray(shift);
      const plain = new Uint8Array(askew.buffer, askew.byteOffset, askew.length);
      for (const bytes of [askew, plain]) {
        expect(Btf.parse(bytes, WANTED_TYPES).sizeOf('folio')).toBe(btf.sizeOf('folio'));
      }
    }
  });
  test('no cut of the file is taken for a whole', () => {
    for (let end = 0; end < kernel.btf.length; end += end < 64 ? 1 : 97) {
      expect(() => Btf.parse(kernel.btf.subarray(0, end), WANTED_TYPES)).toThrow(ParseError);
    }
  });
  test('damaged: a believable layout, a missing part or a ParseError', () => {
    fc.assert(
      fc.property(corruption, damage => {
        let layout: ReturnType<typeof resolveLayout>;
        try {
          layout = resolveLayout(
            Btf.parse(corrupted(kernel.btf, damage), WANTED_TYPES),
            kernel.symbols,
            kernel.vmcoreinfo,
            kernel.vmemmap,
          );
        } catch (error) {
          if (error instanceof ParseError) return;
          throw error;
        }
        if (!('missing' in layout)) expectBelievable(layout);
      }),
      { numRuns: 400 },
    );
  });
});

/** Everything that reads are made of is bounded, so that no read asks for a gigabyte. */
function expectBelievable(layout: KernelLayout): void {
  const walk = (value: unknown, path: string): void => {
    if (typeof value === 'number') {
      expect(Number.isInteger(value) && value >= 0 && value <= 65536, `${path} = ${value}`).toBe(true);
    } else if (typeof value === 'object' && value !== null && !(value instanceof Map)) {
      for (const [key, inner] of Object.entries(value)) walk(inner, `${path}.${key}`);
    }
  };
  const { pageblocks, folio, ...rest } = layout;
  walk(rest, 'layout');
  walk([folio.bytes, folio.mapping, folio.index, folio.nrPages.at], 'folio');
  if (pageblocks) {
    walk(
      [pageblocks.sectionBytes, pageblocks.usage, pageblocks.flags, pageblocks.bitsPerBlock],
      'pageblocks',
    );
    expect(pageblocks.sectionBytes).toBeLessThanOrEqual(4096);
  }
}

describe('BTF by hand', () => {
  test('anonymous members, bit-fields, typedefs, arrays, enums of 64 bits', () => {
    const b = new BtfBuilder();
    const long = b.int('unsigned long', 8);
    const alias = b.add(BTF.typedef, 'alias_t', 0, b.add(BTF.const, '', 0, long));
    const pointer = b.add(BTF.ptr, '', 0, 0);
    const inner = b.struct('', 16, [
      ['a', long, 0],
      ['b', alias, 64],
    ]);
    const union = b.struct(
      '',
      16,
      [
        ['', inner, 0],
        ['c', pointer, 0],
      ],
      { kind: BTF.union },
    );
    const grid = b.array(b.array(long, 3), 2);
    b.struct('outer', 96, [
      ['first', long, 0],
      ['', b.add(BTF.volatile, '', 0, union), 64],
      ['grid', grid, 192],
      ['flexible', b.array(long, 0), 576],
    ]);
    // With the flag the upper 8 bits of an offset are the width of a bit-field.
    b.struct('bits', 8, [['narrow', long, (3 << 24) | 13]], { flag: true });
    b.add(BTF.enum64, 'big', 2, 8, [0, 5, 1, 0, 0xffff_ffff, 0xffff_ffff]);
    b.enum('small', [
      ['MINUS', -1],
      ['SEVEN', 7],
    ]);
    const btf = Btf.parse(b.bytes(), ['outer', 'bits', 'big', 'small', 'alias_t']);
    expect(btf.member('outer', 'a')).toEqual({ offset: 8, size: 8 });
    expect(btf.member('outer', 'b')).toEqual({ offset: 16, size: 8 });
    expect(btf.member('outer', 'c')).toEqual({ offset: 8, size: 8 });
    expect(btf.member('outer', 'grid')).toEqual({ offset: 24, size: 48 });
    expect(btf.member('outer', 'flexible')).toEqual({ offset: 72, size: 0 });
    expect(btf.member('bits', 'narrow')?.offset).toBe(1);
    expect(btf.enumerators('small')).toEqual(
      new Map([
        ['MINUS', -1],
        ['SEVEN', 7],
      ]),
    );
    // A value that no number holds exactly is left out.
    expect([...(btf.enumerators('big') ?? [])].map(([, value]) => value)).toEqual([2 ** 32 + 5]);
    expect(btf.has('alias_t')).toBe(false);
  });

  test('a declaration does not hide the definition, and the first definition counts', () => {
    const b = new BtfBuilder();
    b.add(BTF.fwd, 'thing', 0, 0);
    b.struct('thing', 24, []);
    b.struct('thing', 48, []);
    expect(Btf.parse(b.bytes(), ['thing']).sizeOf('thing')).toBe(24);
  });

  test('every kind of type is stepped over', () => {
    const b = new BtfBuilder();
    b.add(BTF.func, 'f', 0, b.add(BTF.funcProto, '', 2, 0, [0, 0, 0, 0]));
    b.add(BTF.var, 'v', 0, 0, [1]);
    b.add(BTF.datasec, '.data', 1, 8, [1, 0, 8]);
    b.add(BTF.float, 'double', 0, 8);
    b.add(BTF.declTag, 'tag', 0, 1, [0]);
    b.add(BTF.typeTag, 'user', 0, 0);
    b.add(BTF.restrict, '', 0, 0);
    b.struct('last', 8, []);
    expect(Btf.parse(b.bytes(), ['last']).sizeOf('last')).toBe(8);
  });

  const quickly = (data: Buffer, ask: (btf: Btf) => unknown): unknown => {
    const started = cpuMs();
    try {
      return ask(Btf.parse(data, ['s']));
    } catch (error) {
      expect(error).toBeInstanceOf(ParseError);
      return 'ParseError';
    } finally {
      expect(cpuMs() - started).toBeLessThan(2000);
    }
  };

  test('types nested in themselves end', () => {
    const b = new BtfBuilder();
    // Ten anonymous members of its own type: looked into anew each, 10^16 visits.
    b.struct(
      's',
      8,
      Array.from({ length: 10 }, () => ['', 1, 0] as const),
    );
    expect(quickly(b.bytes(), btf => btf.member('s', 'x'))).toBeUndefined();
  });
  test('a chain of 50,000 anonymous types ends', () => {
    const b = new BtfBuilder();
    b.struct('s', 8, [['', 2, 0]]);
    for (let id = 2; id < 50_000; id++) b.struct('', 8, [['', id + 1, 0]]);
    b.struct('', 8, []);
    expect(quickly(b.bytes(), btf => btf.member('s', 'x'))).toBeUndefined();
  });
  test('typedefs in a ring, type ids that are none', () => {
    const ring = new BtfBuilder();
    ring.struct('s', 8, [['x', 2, 0]]);
    ring.add(BTF.typedef, 'a', 0, 3);
    ring.add(BTF.typedef, 'b', 0, 2);
    expect(quickly(ring.bytes(), btf => btf.member('s', 'x'))).toBe('ParseError');
    for (const id of [0, 9, 0xffff_ffff]) {
      const b = new BtfBuilder();
      b.struct('s', 8, [['', id, 0]]);
      expect(quickly(b.bytes(), btf => btf.member('s', 'x'))).toBe('ParseError');
    }
  });
  test('dimensions that multiply to no exact number have no size', () => {
    const b = new BtfBuilder();
    const long = b.int('long', 8);
    let array = long;
    for (let i = 0; i < 20; i++) array = b.array(array, 0xffff_ffff);
    b.struct('s', 8, [['x', array, 0]]);
    expect(quickly(b.bytes(), btf => btf.member('s', 'x'))).toEqual({ offset: 0, size: 0 });
  });
  test('no BTF at all', () => {
    const good = new BtfBuilder().bytes();
    const changed = (at: number, value: number) => {
      const data = Buffer.from(good);
      data[at] = value;
      return data;
    };
    expect(() => Btf.parse(new Uint8Array(0), [])).toThrow(/header of 24 bytes/);
    expect(() => Btf.parse(changed(0, 0xeb), [])).toThrow(/magic/);
    expect(() => Btf.parse(Buffer.concat([good, Buffer.alloc(good.length & 1)]).swap16(), [])).toThrow(
      /magic/,
    );
    expect(() => Btf.parse(changed(2, 2), [])).toThrow(/version 1/);
    expect(() => Btf.parse(changed(15, 0x7f), [])).toThrow(/inside the file/);
    const b = new BtfBuilder();
    b.add(31, 'x', 0, 0);
    expect(() => Btf.parse(b.bytes(), [])).toThrow(/kind of 1 to 19/);
  });
});
