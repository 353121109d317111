/** Physical addresses, `end` exclusive. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The `System RAM` ranges of /proc/iomem (kernel/resource.c r_show: `START-END : NAME`, hexadecimal, END inclusive), ascending and
 * joined where they touch. `null` where all addresses read as zero: without CAP_SYS_ADMIN the kernel prints no other. Lines of
 * other names, and lines that are no range, are left out.
 */
export function parseSystemRam(text: string): AddressRange[] | null {
  const ranges: { start: number; end: number }[] = [];
  for (const match of text.matchAll(/^ *([0-9a-f]{1,13})-([0-9a-f]{1,13}) : System RAM/gm)) {
    const start = Number.parseInt(match[1] ?? '', 16);
    const end = Number.parseInt(match[2] ?? '', 16) + 1;
    if (end > start) ranges.push({ start, end });
  }
  if (!ranges.some(({ end }) => end > 1)) return null;
  ranges.sort((a, b) => a.start - b.start);
  const joined: { start: number; end: number }[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last && range.start <= last.end) last.end = Math.max(last.end, range.end);
    else joined.push({ ...range });
  }
  return joined;
}

/** Whether some of the addresses are no System RAM; `null`: the ranges are not known. */
export const hasHoles = (
  ram: readonly AddressRange[] | null,
  { start, end }: AddressRange,
): boolean | null => (ram === null ? null : !ram.some(range => range.start <= start && end <= range.end));
