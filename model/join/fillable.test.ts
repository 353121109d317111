import { expect, test } from 'vitest';
import type { ZoneState } from '../snapshot.ts';
import { countFillable, mayBeUnfillable } from './fillable.ts';
import { FrameMap } from './frames.ts';

const zone = (
  name: string,
  startPfn: number,
  spannedPages: number,
  change: Partial<ZoneState> = {},
): ZoneState => ({
  ...{
    node: 0,
    zone: name,
    startPfn,
    spannedPages,
    presentPages: spannedPages,
    managedPages: 1,
    freePages: 1,
  },
  ...{ cmaPages: 0, freeCmaPages: 0, ...change },
});
const normal = zone('Normal', 0, 4096);
const movable = zone('Movable', 4096, 4096);
const frames = new FrameMap([normal, movable]);
const pfns = Float64Array.of(0, 512, 1024, 4096, 4608);

test('pages of ZONE_MOVABLE fill no hole, nor do those of CMA and of isolated pageblocks', () => {
  expect(countFillable(pfns, frames, undefined)).toBe(3);
  const types: Record<number, string> = { 0: 'Movable', 512: 'CMA', 1024: 'Isolate' };
  // Of those in ZONE_MOVABLE none is asked for.
  expect(countFillable(pfns, frames, pfn => types[pfn] ?? null)).toBe(1);
  expect(countFillable(new Float64Array(0), frames, undefined)).toBe(0);
});

test('a page of which zone or type is not known is not counted as one that does', () => {
  expect(countFillable(Float64Array.of(0, 8192), frames, undefined)).toBeNull();
  expect(countFillable(pfns, frames, pfn => (pfn === 0 ? 'Movable' : null))).toBeNull();
});

test('it matters only where the host has ZONE_MOVABLE or CMA', () => {
  expect(mayBeUnfillable([normal])).toBe(false);
  expect(mayBeUnfillable([normal, movable])).toBe(true);
  expect(mayBeUnfillable([normal, { ...movable, presentPages: 0 }])).toBe(false);
  expect(mayBeUnfillable([{ ...normal, cmaPages: 512 }])).toBe(true);
  expect(mayBeUnfillable([{ ...normal, cmaPages: null }])).toBe(false);
});
