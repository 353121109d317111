import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { corrupted, corruption } from '../../test/corrupt.ts';
import { cpuMs } from '../../test/cpu-time.ts';
import { recordedKernels } from '../../test/kernel-recording.ts';
import { ParseError } from '../parse-error.ts';
import { fileOffset, parseCoreHeader } from './elf.ts';

describe.each(recordedKernels)('kcore of Linux $id', kernel => {
  const header = parseCoreHeader(kernel.head);

  test('segments as readelf lists them', () => {
    const theirs = kernel
      .text('readelf.txt')
      .trim()
      .split('\n')
      .map(line => {
        const [, offset, address, , bytes] = line.trim().split(/\s+/);
        return { offset: BigInt(offset ?? 0), address: BigInt(address ?? 0), bytes: BigInt(bytes ?? 0) };
      });
    expect(header.segments).toEqual(theirs);
  });
  test('VMCOREINFO names the release and symbols at their addresses', () => {
    expect(header.vmcoreinfo.get('OSRELEASE')).toBe(kernel.expected.release);
    expect(BigInt(`0x${header.vmcoreinfo.get('SYMBOL(init_uts_ns)')}`)).toBe(
      kernel.symbols.get('init_uts_ns'),
    );
    expect(header.vmcoreinfo.get('NUMBER(SECTION_SIZE_BITS)')).toBe('27');
    expect(header.vmcoreinfo.has('')).toBe(false);
  });
  test('all recorded memory lies in a segment', () => {
    for (const page of kernel.memory().pages.keys()) {
      expect(fileOffset(header.segments, page << 12n, 8), (page << 12n).toString(16)).toBeDefined();
    }
  });
  test('cut: never another answer for what is there', () => {
    for (let end = 0; end < kernel.head.length; end += end < 1200 ? 1 : 61) {
      try {
        const { segments, vmcoreinfo } = parseCoreHeader(kernel.head.subarray(0, end));
        expect(segments).toEqual(header.segments);
        for (const key of [...vmcoreinfo.keys()].slice(0, -1)) {
          expect(vmcoreinfo.get(key)).toBe(header.vmcoreinfo.get(key));
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ParseError);
      }
    }
  });
  test('damaged: a header or a ParseError, at once', () => {
    fc.assert(
      fc.property(corruption, damage => {
        const started = cpuMs();
        try {
          expect(parseCoreHeader(corrupted(kernel.head, damage)).segments.length).toBeGreaterThan(0);
        } catch (error) {
          if (!(error instanceof ParseError)) throw error;
        }
        expect(cpuMs() - started).toBeLessThan(1000);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a core by hand', () => {
  const note = (name: string, text: string, sizes?: readonly [number, number]): Buffer => {
    const padded = (data: Buffer) => Buffer.concat([data, Buffer.alloc(-data.length & 3)]);
    const head = Buffer.alloc(12);
    head.writeUInt32LE(sizes?.[0] ?? name.length + 1, 0);
    head.writeUInt32LE(sizes?.[1] ?? text.length, 4);
    return Buffer.concat([head, padded(Buffer.from(`${name}\0`)), padded(Buffer.from(text))]);
  };
  const core = (notes: Buffer, change: (data: Buffer) => void = () => {}): Buffer => {
    const head = Buffer.alloc(64 + 2 * 56);
    head.write('\x7fELF\x02\x01\x01', 0, 'latin1');
    head.writeBigUInt64LE(64n, 32);
    head.writeUInt16LE(56, 54);
    head.writeUInt16LE(2, 56);
    head.writeUInt32LE(4, 64);
    head.writeBigUInt64LE(BigInt(head.length), 64 + 8);
    head.writeBigUInt64LE(BigInt(notes.length), 64 + 32);
    head.writeUInt32LE(1, 120);
    head.writeBigUInt64LE(0x1000n, 120 + 8);
    head.writeBigUInt64LE(0xffff_8000_0000_0000n, 120 + 16);
    head.writeBigUInt64LE(0x10_0000n, 120 + 32);
    const data = Buffer.concat([head, notes]);
    change(data);
    return data;
  };

  test('VMCOREINFO behind other notes, odd lines left out', () => {
    const data = core(
      Buffer.concat([note('CORE', 'abc'), note('VMCOREINFO', 'A=1\nno value\n=nameless\nB=x=y\n\0Z=1\n')]),
    );
    expect(parseCoreHeader(data).vmcoreinfo).toEqual(
      new Map([
        ['A', '1'],
        ['B', 'x=y'],
      ]),
    );
  });
  test.each([
    [[0xffff_fff4, 0]],
    [[0, 0xffff_fff4]],
    [[5, 0xffff_fff0]],
    [[0x8000_0000, 0x8000_0000]],
    [[0, 0]],
  ] as const)('a note that claims %j bytes ends', sizes => {
    expect(parseCoreHeader(core(note('CORE', 'x', sizes))).vmcoreinfo.size).toBe(0);
  });
  test.each<[string, (data: Buffer) => void]>([
    ['an ELF header', data => data.write('ELF?', 0)],
    ['64-bit little-endian ELF', data => data.writeUInt8(1, 4)],
    ['64-bit little-endian ELF', data => data.writeUInt8(2, 5)],
    ['program headers of 56 bytes', data => data.writeUInt16LE(64, 54)],
    ['in the first 256 KiB', data => data.writeUInt16LE(500, 56)],
    ['in the first 256 KiB', data => data.writeBigUInt64LE(2n ** 63n, 32)],
    ['a PT_LOAD segment', data => data.writeUInt32LE(6, 120)],
  ])('refused: %s', (expected, change) => {
    expect(() => parseCoreHeader(core(Buffer.alloc(0), change))).toThrow(expected);
  });

  const segments = [
    { address: 0xffff_8000_0000_0000n, offset: 0x1000n, bytes: 0x2000n },
    { address: 0xffff_ffff_ffff_f000n, offset: 0x9000n, bytes: 0x1000n },
  ];
  test.each([
    [0xffff_8000_0000_0000n, 1, 0x1000n],
    [0xffff_8000_0000_1fffn, 1, 0x2fffn],
    [0xffff_8000_0000_1fffn, 2, undefined],
    [0xffff_7fff_ffff_ffffn, 1, undefined],
    [0xffff_ffff_ffff_fff8n, 8, 0x9ff8n],
    [0xffff_ffff_ffff_fff8n, 16, undefined],
    [2n ** 64n + 5n, 8, undefined],
    [0n, 8, undefined],
  ])('offset of 0x%s + %i', (address, bytes, offset) => {
    expect(fileOffset(segments, address, bytes)).toBe(offset);
  });
});
