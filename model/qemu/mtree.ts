import { ParseError } from '../parse-error.ts';
import { asGpa, type Gpa } from '../units.ts';

/** One FlatView of `info mtree -f`: what a set of address spaces looks like after overlaps are resolved. */
export interface FlatView {
  readonly addressSpaces: readonly { readonly name: string; readonly root: string }[];
  /** Ascending and disjoint; empty: nothing is rendered. */
  readonly ranges: readonly FlatRange[];
}

export interface FlatRange {
  /** First and last byte, both inclusive; up to 2^64 - 1. */
  readonly start: bigint;
  readonly end: bigint;
  readonly priority: number;
  /** `ram`, `rom`, `romd`, `ramd`, `i/o`, `container`, … without `nv-`. A read-only alias of RAM says `rom`. */
  readonly kind: string;
  readonly nonvolatile: boolean;
  /** Name of the memory region: the id of a memory backend, or anything, blanks included. */
  readonly region: string;
  /** Offset of `start` in the region. */
  readonly offset: bigint;
}

/** A piece of guest memory that lies in host memory. */
export interface GuestRamRange {
  readonly gpa: Gpa;
  readonly bytes: number;
  readonly region: string;
  /** Offset of `gpa` in the region, bytes. */
  readonly offset: number;
  /** false: the guest may not write here now (shadowed BIOS areas); still pages of the same backend. */
  readonly writable: boolean;
}

const RANGE = /^ {2}([0-9a-f]{16})-([0-9a-f]{16}) \(prio (-?\d{1,10}), (nv-)?([a-z/]+)\): (.*)$/;

/**
 * Reads `info mtree -f`, with or without `-o` and `-d`.
 *
 * Rests on mtree_print_flatview() of softmmu/memory.c (7.2) and system/memory.c (10.x), which print the same. The name
 * of the accelerator follows a range once for each address space where it has it as memory (` KVM`), an owner with
 * `-o`; both are cut off. Between the head of a view and the blank line behind it every line must be a range, except
 * the dispatch tree of `-d`, which comes last and is skipped. A range that is not above its predecessor is an error.
 * @throws ParseError
 */
export function parseMtreeFlat(text: string): FlatView[] {
  const views: { addressSpaces: { name: string; root: string }[]; ranges: FlatRange[] }[] = [];
  let view: (typeof views)[number] | null = null;
  let state: 'outside' | 'head' | 'ranges' | 'skip' = 'outside';
  const lines = text.split('\n');
  for (const [index, raw] of lines.entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    const fail = (expected: string): ParseError => new ParseError('info mtree -f', expected, line, index + 1);
    if (state === 'outside' || /^FlatView #/.test(line)) {
      if (line === '') continue;
      if (state !== 'outside' || !/^FlatView #\d+$/.test(line)) throw fail('FlatView #N');
      view = { addressSpaces: [], ranges: [] };
      views.push(view);
      state = 'head';
    } else if (state === 'head') {
      const space = /^ AS "(.*)", root: (.*?)(?:, alias .*)?$/.exec(line);
      if (space) view?.addressSpaces.push({ name: space[1] ?? '', root: space[2] ?? '' });
      else if (/^ Root memory region: /.test(line)) state = 'ranges';
      else throw fail('AS "name", root: region, or Root memory region:');
    } else if (line === '') {
      state = 'outside';
    } else if (state === 'ranges' && view) {
      if (line === '  No rendered FlatView' && view.ranges.length === 0) state = 'skip';
      else if (line === '  Dispatch') state = 'skip';
      else {
        const range = rangeOf(line);
        if (!range) throw fail('start-end (prio N, kind): region');
        const previous = view.ranges.at(-1);
        if (range.end < range.start || (previous && range.start <= previous.end)) {
          throw fail('a range above the one before');
        }
        view.ranges.push(range);
      }
    }
  }
  if (state !== 'outside')
    throw new ParseError('info mtree -f', 'a blank line at the end of a view', '', lines.length);
  return views;
}

function rangeOf(line: string): FlatRange | null {
  const match = RANGE.exec(line);
  if (!match) return null;
  const [, start = '', end = '', priority = '', nonvolatile, kind = '', rest = ''] = match;
  let named = rest;
  // AccelClass::name; only KVM says which ranges it has (has_memory), 2.12 to 10.x.
  while (named.endsWith(' KVM')) named = named.slice(0, -4);
  const owned = /^(.*?) (?:owner:\{.*\}|parent:\{.*\}|orphan)$/.exec(named);
  if (owned) named = owned[1] ?? '';
  const placed = /^(.*) @([0-9a-f]{16})$/.exec(named);
  return {
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    priority: Number(priority),
    kind,
    nonvolatile: nonvolatile !== undefined,
    region: placed?.[1] ?? named,
    offset: placed ? BigInt(`0x${placed[2]}`) : 0n,
  };
}

/**
 * The view of guest physical memory: the address space `memory` (address_space_memory of softmmu/physmem.c).
 * @throws ParseError when no view has it.
 */
export function systemMemory(views: readonly FlatView[]): FlatView {
  const found = views.find(view => view.addressSpaces.some(space => space.name === 'memory'));
  if (!found) throw new ParseError('info mtree -f', 'a view of the address space "memory"', '', 0);
  return found;
}

/**
 * The ranges of a view that are host memory: RAM, and RAM that the guest may only read now (the shadowed BIOS areas
 * below 1 MiB turn `rom` once the firmware ran, and stay pages of the backend). Device memory (`ramd`, `romd`) is not.
 * @throws ParseError for an address or offset past 2^53.
 */
export function ramRanges(view: FlatView): GuestRamRange[] {
  return view.ranges
    .filter(range => range.kind === 'ram' || range.kind === 'rom')
    .map(range => {
      if (range.end > BigInt(Number.MAX_SAFE_INTEGER) || range.offset > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new ParseError('info mtree -f', 'RAM below 2^53', range.region, 0);
      }
      return {
        gpa: asGpa(Number(range.start)),
        bytes: Number(range.end - range.start) + 1,
        region: range.region,
        offset: Number(range.offset),
        writable: range.kind === 'ram',
      };
    });
}
