import { ParseError } from '../model/parse-error.ts';
import { parseGpa2hva } from '../model/qemu/addresses.ts';
import { type FileMapping, type GuestLayout, joinLayout, type PlacedRange } from '../model/qemu/layout.ts';
import { type GuestRamRange, parseMtreeFlat, ramRanges, systemMemory } from '../model/qemu/mtree.ts';
import { absent, ok, type Reading, raced } from '../model/reading.ts';
import { hex } from '../model/units.ts';
import { type QmpClient, QmpError } from './qmp.ts';

const SOURCE = 'QMP info mtree -f, gpa2hva';

/**
 * Where the guest's memory lies in the files that QEMU maps: `info mtree -f` says which guest addresses are which memory
 * region, `gpa2hva` where that is in QEMU, the mappings which file. None of it touches guest memory. The map is read
 * again at the end; a guest that changed it meanwhile (hotplug, the firmware's shadowing) is `raced`.
 * @param vmas of the same process (/proc/PID/maps).
 */
export async function readGuestLayout(
  client: Pick<QmpClient, 'hmp'>,
  vmas: readonly FileMapping[],
): Promise<Reading<GuestLayout>> {
  try {
    const ranges = await readRanges(client);
    const placed: PlacedRange[] = [];
    for (const range of ranges) {
      const found = parseGpa2hva(await client.hmp(`gpa2hva ${hex(range.gpa)}`));
      if (found.state === 'refused') return raced(SOURCE, found.detail);
      if (found.gpa !== range.gpa || found.region !== range.region) {
        return raced(SOURCE, `${hex(range.gpa)} was ${range.region} and is ${found.region} now`);
      }
      placed.push({ ...range, hva: found.address });
    }
    if (JSON.stringify(await readRanges(client)) !== JSON.stringify(ranges)) {
      return raced(SOURCE, 'the guest changed its memory map');
    }
    return ok(SOURCE, joinLayout(placed, vmas));
  } catch (error) {
    if (error instanceof QmpError || error instanceof ParseError) return absent(SOURCE, error.message);
    throw error;
  }
}

async function readRanges(client: Pick<QmpClient, 'hmp'>): Promise<GuestRamRange[]> {
  return ramRanges(systemMemory(parseMtreeFlat(await client.hmp('info mtree -f'))));
}
