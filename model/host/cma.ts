import { type Files, Format } from '../lines.ts';
import type { CmaArea } from '../snapshot.ts';

const format: Format = new Format('cma');
const SYSFS = /\/mm\/cma\/([^/]+)\/(\w+)$/;
/** The directory of an area is `NAME`, on older kernels `cma-NAME`; one of several ranges has a directory each in it. */
const DEBUGFS = /\/debug\/cma\/(?:cma-)?([^/]+)\/((?:ranges\/\d+\/)?\w+)$/;

/**
 * The areas of /sys/kernel/mm/cma/NAME (mm/cma_sysfs.c) and, where debugfs could be read, /sys/kernel/debug/cma/NAME
 * (mm/cma_debug.c), by the full paths of their files. Counts are pages.
 * - Kernels whose sysfs has no `total_pages` and `available_pages` (6.1) have the total in debugfs, `count`, when built with
 *   CONFIG_CMA_DEBUGFS. Without that, `machinePages` (CmaTotal of meminfo) still tells that of one area.
 * - `base_pfn` only comes from debugfs, decimal. An area of several ranges has no single one: `null`.
 * - cma_init_reserved_mem() calls an unnamed area `cma%d\n`: the newline is part of the directory's name and dropped here.
 * No files, no areas: a kernel without CMA, or none configured.
 */
export function parseCma(files: Files, machinePages: number | null = null): CmaArea[] {
  const areas = new Map<string, Map<string, string>>();
  for (const [path, text] of files) {
    const match = SYSFS.exec(path) ?? DEBUGFS.exec(path);
    if (!match) continue;
    const [, directory = '', file = ''] = match;
    const name = directory.replace(/\n$/, '');
    const area = areas.get(name) ?? new Map<string, string>();
    areas.set(name, area);
    area.set(file, text);
  }
  const number = (name: string, file: string): number | null => {
    const text = areas.get(name)?.get(file);
    return text === undefined ? null : format.single(text, `${file} of ${name}`);
  };
  const totals = new Map(
    [...areas.keys()].map(name => [name, number(name, 'total_pages') ?? number(name, 'count')]),
  );
  return [...areas.keys()].sort().map((name): CmaArea => {
    const totalPages = totals.get(name) ?? remainder(machinePages, [...totals.values()]);
    if (totalPages === null)
      throw format.error(`total_pages or count of ${name}`, [...(areas.get(name)?.keys() ?? [])].join(' '));
    const severalRanges = areas.get(name)?.has('ranges/1/base_pfn');
    return {
      name,
      totalPages,
      availablePages: number(name, 'available_pages'),
      basePfn: severalRanges ? null : (number(name, 'base_pfn') ?? number(name, 'ranges/0/base_pfn')),
    };
  });
}

/** What the areas of known size leave to the one whose size is not; `null` when there are several of those. */
function remainder(machinePages: number | null, totals: readonly (number | null)[]): number | null {
  if (machinePages === null || totals.filter(total => total === null).length !== 1) return null;
  const rest = totals.reduce<number>((pages, total) => pages - (total ?? 0), machinePages);
  return rest > 0 ? rest : null;
}
