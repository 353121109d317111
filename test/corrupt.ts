import fc from 'fast-check';

/** Damage to bytes, as data, so that a failing case shrinks to the byte that matters. Positions are taken modulo the length. */
export type Damage =
  | { readonly op: 'byte'; readonly at: number; readonly value: number }
  | { readonly op: 'bit'; readonly at: number; readonly bit: number }
  | { readonly op: 'word'; readonly at: number; readonly value: number }
  | { readonly op: 'copy'; readonly at: number; readonly from: number; readonly length: number };

const at = fc.nat({ max: 2 ** 31 - 1 });
const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ op: fc.constant('byte'), at, value: fc.nat({ max: 255 }) }),
  fc.record({ op: fc.constant('bit'), at, bit: fc.nat({ max: 7 }) }),
  fc.record({
    op: fc.constant('word'),
    at,
    value: fc.oneof(
      fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff4, 0x1000),
      fc.nat({ max: 0xffff_ffff }),
    ),
  }),
  fc.record({ op: fc.constant('copy'), at, from: at, length: fc.integer({ min: 1, max: 64 }) }),
) as fc.Arbitrary<Damage>;

function apply(data: Buffer, change: Damage): void {
  const at = change.at % Math.max(1, data.length);
  switch (change.op) {
    case 'byte':
      data[at] = change.value;
      break;
    case 'bit':
      data[at] = (data[at] ?? 0) ^ (1 << change.bit);
      break;
    case 'word': {
      const aligned = at & ~3;
      if (aligned + 4 <= data.length) data.writeUInt32LE(change.value, aligned);
      break;
    }
    case 'copy':
      data.copyWithin(
        at,
        change.from % Math.max(1, data.length),
        (change.from % Math.max(1, data.length)) + change.length,
      );
  }
}

/** What happens to some bytes: small, so that a failing case prints readably. */
export interface Corruption {
  readonly changes: readonly Damage[];
  readonly cut: number | null;
}

/** One to eight damages, sometimes cut short. */
export const corruption: fc.Arbitrary<Corruption> = fc.record({
  changes: fc.array(damage, { minLength: 1, maxLength: 8 }),
  cut: fc.option(at, { freq: 6 }),
});

/** A corrupted copy. */
export function corrupted(data: Uint8Array, { changes, cut }: Corruption): Buffer {
  const copy = Buffer.from(data);
  for (const change of changes) apply(copy, change);
  return cut === null ? copy : copy.subarray(0, cut % (copy.length + 1));
}
