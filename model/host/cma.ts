import { type Files, Format } from '../lines.ts';
import type { CmaArea } from '../snapshot.ts';

const format: Format = new Format('cma');
const SYSFS = /\/mm\/cma\/([^/]+)\/(\w+)$/;
/** The directory of an area is `NAME`, on older kernels `cma-NAME`; one of several ranges has a directory each in it. */
const DEBUGFS = /\/debug\/cma\/(?:cma-)?([^/]+)\/((?:ranges\/\d+\/)?\w+)$/;

/**
 * The areas of /sys/kernel/mm/cma/NAME (mm/cma_sysfs.c) and, where debugfs could be read, /sys/kernel/debug/cma/NAME
 * (mm/cma_debug.c), by the full paths of their files. Counts are pages.
 * - Kernels whose sysfs has no `total_pages` and `available_pages` (6.1) have the total in debugfs, `count`.
 * - `base_pfn` only comes from debugfs, decimal. An area of several ranges has no single one: `null`.
 * - cma_init_reserved_mem() calls an unnamed area `cma%d\n`: the newline is part of the directory's name and dropped here.
 * No files, no areas: a kernel without CMA, or none configured.
 */
export function parseCma(files: Files): CmaArea[] {
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
  return [...areas]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, area]): CmaArea => {
      const number = (file: string): number | null => {
        const text = area.get(file);
        return text === undefined ? null : format.single(text, `${file} of ${name}`);
      };
      const totalPages = number('total_pages') ?? number('count');
      if (totalPages === null)
        throw format.error(`total_pages or count of ${name}`, [...area.keys()].join(' '));
      const severalRanges = area.has('ranges/1/base_pfn');
      return {
        name,
        totalPages,
        availablePages: number('available_pages'),
        basePfn: severalRanges ? null : (number('base_pfn') ?? number('ranges/0/base_pfn')),
      };
    });
}
