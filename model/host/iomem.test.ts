import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hasHoles, parseSystemRam } from './iomem.ts';

// `cat /proc/iomem` as root in a virtual machine of 3456 MiB, shortened.
const root = `00000000-00000fff : Reserved
00001000-0009fbff : System RAM
0009fc00-0009ffff : Reserved
000f0000-000fffff : System ROM
00100000-d7fdffff : System RAM
  01000000-01ffffff : Kernel code
d7fe0000-d7ffffff : Reserved
100000000-13fffffff : System RAM
140000000-147ffffff : System RAM (kmem)
`;
const user = root.replace(/[0-9a-f]+-[0-9a-f]+/g, '00000000-00000000');
const MiB = 2 ** 20;

describe('/proc/iomem', () => {
  test('System RAM, joined where it touches; the last byte belongs to it', () => {
    expect(parseSystemRam(root)).toEqual([
      { start: 0x1000, end: 0x9fc00 },
      { start: 0x100000, end: 0xd7fe0000 },
      { start: 0x1_0000_0000, end: 0x1_4800_0000 },
    ]);
  });
  test('without the right it says nothing', () => {
    expect(parseSystemRam(user)).toBeNull();
    expect(parseSystemRam('')).toBeNull();
  });
  test('the block that reaches over the end of the memory below 4 GiB has a hole, the one before it has none', () => {
    const ram = parseSystemRam(root);
    const block = (number: number) => ({ start: number * 128 * MiB, end: (number + 1) * 128 * MiB });
    expect([25, 26, 32, 40].map(number => hasHoles(ram, block(number)))).toEqual([false, true, false, false]);
    expect(hasHoles(null, block(25))).toBeNull();
  });
  test('any text gives ranges that ascend and do not touch', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...root.split('\n'), 'x', '5-2 : System RAM')), lines => {
        const ram = parseSystemRam(lines.join('\n')) ?? [];
        for (const [i, { start, end }] of ram.entries()) {
          expect(end).toBeGreaterThan(start);
          expect(start).toBeGreaterThan(ram[i - 1]?.end ?? -1);
        }
      }),
    );
  });
});
