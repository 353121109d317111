import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parsesOrRefuses } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { parseGpa2hpa, parseGpa2hva } from './addresses.ts';
import { parseInfoMemdev, parseQueryMemdev } from './memdev.ts';
import { parseQueryMemoryDevices } from './memory-devices.ts';
import { backendIdOf, parseRamBlocks } from './ramblock.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../test/fixtures/qemu-7.2/${path}`, import.meta.url), 'utf8');
const json = (path: string): unknown => JSON.parse(read(path));
const jsonText =
  <T>(parse: (value: unknown) => T) =>
  (text: string): T => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new ParseError('test', 'JSON', text, 0);
    }
    return parse(value);
  };

describe('info ramblock', () => {
  it('reads 7.2', () => {
    const blocks = parseRamBlocks(read('q35-hotplug/info-ramblock.txt'));
    expect(blocks.slice(0, 3)).toEqual([
      {
        name: 'mem1',
        pageSizeBytes: 4096,
        offset: 0,
        usedBytes: 2 ** 28,
        totalBytes: 2 ** 28,
        hva: null,
        readOnly: null,
      },
      {
        name: '0000:00:01.0/vm0',
        pageSizeBytes: 4096,
        offset: 0x18000000,
        usedBytes: 2 ** 28,
        totalBytes: 2 ** 28,
        hva: null,
        readOnly: null,
      },
      {
        name: 'mem2',
        pageSizeBytes: 4096,
        offset: 0x10000000,
        usedBytes: 2 ** 27,
        totalBytes: 2 ** 27,
        hva: null,
        readOnly: null,
      },
    ]);
    expect(blocks.map(block => backendIdOf(block.name)).slice(0, 3)).toEqual(['mem1', 'vm0', 'mem2']);
    expect(blocks.find(block => block.name === '/rom@etc/acpi/tables')).toMatchObject({
      usedBytes: 0x20000,
      totalBytes: 0x200000,
    });
    expect(
      parseRamBlocks(read('pc-canonical-names/info-ramblock.txt')).map(block => backendIdOf(block.name))[0],
    ).toBe('mem1');
  });
  it('reads the same from x-query-ramblock', () => {
    const text = Reflect.get(Object(json('pc-5g/x-query-ramblock.json')), 'human-readable-text');
    expect(parseRamBlocks(String(text))).toEqual(parseRamBlocks(read('pc-5g/info-ramblock.txt')));
  });
  // Built with the format string of ram_block_format(), 10.x; no recording.
  const later = `${'Block Name'.padStart(24)} ${'PSize'.padStart(8)}  ${['Offset', 'Used', 'Total', 'HVA'].map(s => s.padStart(18)).join(' ')}  RO
${'mem1'.padStart(24)} ${'2 MiB'.padStart(8)}  0x0000000000000000 0x0000000040000000 0x0000000040000000 0x00007f12ebe00000  rw
${'pc.bios'.padStart(24)} ${'64 KiB'.padStart(8)}  0x0000000040000000 0x0000000000040000 0x0000000000040000 0x00007f12ebc00000  ro
`;
  it('reads the columns HVA and RO where the header has them', () => {
    expect(parseRamBlocks(later)).toMatchObject([
      { name: 'mem1', pageSizeBytes: 2 * 2 ** 20, hva: 0x7f12ebe00000n, readOnly: false },
      { name: 'pc.bios', pageSizeBytes: 65536, hva: 0x7f12ebc00000n, readOnly: true },
    ]);
  });
  it('refuses rows that do not fit the header, rounded page sizes and used above total', () => {
    expect(() => parseRamBlocks(later.replace(' HVA', '    ').replace(/ RO$/m, '   '))).toThrow(ParseError);
    expect(() => parseRamBlocks(later.replace('2 MiB', '3 MiB'))).toThrow(ParseError);
    expect(() =>
      parseRamBlocks(
        later.replace(/0x0000000040000000 0x0000000040000000/, '0x0000000050000000 0x0000000040000000'),
      ),
    ).toThrow(ParseError);
    expect(() => parseRamBlocks("unknown command: 'info ramblock'\r\n")).toThrow(ParseError);
    expect(() => parseRamBlocks('')).toThrow(ParseError);
  });
  it('survives damage', () => {
    parsesOrRefuses(parseRamBlocks, [read('q35-hotplug/info-ramblock.txt'), later]);
  });
});

describe('memory backends', () => {
  it('reads query-memdev', () => {
    expect(parseQueryMemdev(json('q35-numa-private/query-memdev.json'))).toEqual([
      {
        id: 'node0',
        sizeBytes: 2 ** 28,
        share: false,
        prealloc: true,
        reserve: true,
        policy: 'default',
        hostNodes: [],
      },
      {
        id: 'node1',
        sizeBytes: 2 ** 27,
        share: true,
        prealloc: false,
        reserve: true,
        policy: 'default',
        hostNodes: [],
      },
    ]);
  });
  it.each(['pc-5g', 'q35-hotplug', 'q35-numa-private', 'pc-default-ram'])(
    'reads the same from info memdev: %s',
    name => {
      expect(parseInfoMemdev(read(`${name}/info-memdev.txt`))).toEqual(
        parseQueryMemdev(json(`${name}/query-memdev.json`)),
      );
    },
  );
  it('reads host nodes', () => {
    // `-object memory-backend-ram,id=m,size=1M,host-nodes=0,policy=bind` on 7.2
    const text =
      'memory backend: m\r\n  size:  1048576\r\n  merge: true\r\n  dump: true\r\n  prealloc: false\r\n  share: false\r\n  reserve: true\r\n  policy: bind\r\n  host nodes: 0\r\n\r\n';
    expect(parseInfoMemdev(text)).toMatchObject([{ id: 'm', policy: 'bind', hostNodes: [0] }]);
  });
  it('survives damage', () => {
    parsesOrRefuses(parseInfoMemdev, [read('q35-hotplug/info-memdev.txt')]);
    parsesOrRefuses(jsonText(parseQueryMemdev), [read('q35-hotplug/query-memdev.json')]);
    expect(() => parseQueryMemdev({})).toThrow(ParseError);
  });
});

describe('memory devices', () => {
  it('reads a DIMM and a virtio-mem', () => {
    expect(parseQueryMemoryDevices(json('q35-hotplug/query-memory-devices.json'))).toEqual([
      {
        type: 'dimm',
        id: 'dimm0',
        memdev: 'mem2',
        gpa: 2 ** 32,
        sizeBytes: 2 ** 27,
        requestedBytes: null,
        maxBytes: null,
        blockBytes: null,
      },
      {
        type: 'virtio-mem',
        id: 'vmem0',
        memdev: 'vm0',
        gpa: 0x108000000,
        sizeBytes: 0,
        requestedBytes: 64 * 2 ** 20,
        maxBytes: 2 ** 28,
        blockBytes: 2 ** 21,
      },
    ]);
    expect(parseQueryMemoryDevices([])).toEqual([]);
  });
  it('survives damage', () => {
    parsesOrRefuses(jsonText(parseQueryMemoryDevices), [read('q35-hotplug/query-memory-devices.json')]);
  });
});

describe('gpa2hva and gpa2hpa', () => {
  const replies = new Map(
    Object.entries(Object(json('pc-booted/gpa2hva.json'))).map(([key, text]) => [key, String(text)]),
  );
  it('reads recorded replies', () => {
    expect(parseGpa2hva(replies.get('0xc0000') ?? '')).toEqual({
      state: 'ok',
      gpa: 0xc0000,
      region: 'mem1',
      address: BigInt(/is (0x[0-9a-f]+)/.exec(replies.get('0xc0000') ?? '')?.[1] ?? 0),
    });
    expect(parseGpa2hva(replies.get('0xfee00000') ?? '')).toEqual({
      state: 'refused',
      detail: 'Memory at address 0xfee00000 is not RAM',
    });
    expect(parseGpa2hva(replies.get('0x800000000000') ?? '').state).toBe('refused');
    expect(parseGpa2hva(replies.get('zz') ?? '').state).toBe('refused');
    const hpa = parseGpa2hpa('Host physical address for 0x1000 (a (b) is 0x2) is 0x1229a6000\r\n');
    expect(hpa).toEqual({ state: 'ok', gpa: 0x1000, region: 'a (b) is 0x2', address: 0x1229a6000n });
    expect(parseGpa2hpa('Cannot open /proc/self/pagemap: Permission denied\n').state).toBe('refused');
    expect(parseGpa2hpa('Page not present\r\n').state).toBe('refused');
  });
  it('refuses the reply to the other question', () => {
    expect(() => parseGpa2hpa(replies.get('0x0') ?? '')).toThrow(ParseError);
  });
  it('survives damage', () => {
    parsesOrRefuses(parseGpa2hva, [...replies.values()]);
  });
});
