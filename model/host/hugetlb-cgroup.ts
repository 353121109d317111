import { type Files, Format } from '../lines.ts';
import type { HugetlbCgroup } from '../snapshot.ts';

const format: Format = new Format('hugetlb cgroup');
const UNITS = new Map([
  ['KB', 2 ** 10],
  ['MB', 2 ** 20],
  ['GB', 2 ** 30],
]);

/** Files of a cgroup v2 directory that {@link parseHugetlbCgroup} reads. */
export const HUGETLB_FILES = /\/hugetlb\.\d+[KMG]B\.(current|rsvd\.current|max)$/;

/** The file of a cgroup that counts huge pages of this size: `hugetlb.2MB.current`. */
export function currentFile(pageSizeBytes: number): string {
  const [unit, bytes] = [...UNITS].reverse().find(([, each]) => pageSizeBytes >= each) ?? ['KB', 2 ** 10];
  return `hugetlb.${pageSizeBytes / bytes}${unit}.current`;
}

/**
 * The hugetlb controller of one cgroup, a row a page size, ascending (mm/hugetlb_cgroup.c): `current` counts the bytes of pages that
 * were charged to it and its descendants when they were faulted in, `rsvd.current` those reserved by mappings, `max` is the limit.
 * @param path of the cgroup, as /proc/PID/cgroup has it
 * @param files of its directory by path; others are ignored. None: the controller is not enabled there.
 */
export function parseHugetlbCgroup(path: string, files: Files): HugetlbCgroup[] {
  const sizes = new Map<number, Map<string, string>>();
  for (const [name, text] of files) {
    const [, number, unit = '', file = ''] = /\/hugetlb\.(\d+)([KMG]B)\.(\S+)$/.exec(name) ?? [];
    if (number === undefined) continue;
    const pageSizeBytes = format.count(number, 'a page size') * (UNITS.get(unit) ?? Number.NaN);
    if (!Number.isSafeInteger(pageSizeBytes) || pageSizeBytes === 0) throw format.error('a page size', name);
    const of = sizes.get(pageSizeBytes) ?? new Map<string, string>();
    sizes.set(pageSizeBytes, of.set(file, text));
  }
  return [...sizes]
    .sort(([a], [b]) => a - b)
    .map(([pageSizeBytes, of]) => {
      const bytes = (file: string) => {
        const text = of.get(file);
        return text === undefined ? null : format.single(text, file);
      };
      const currentBytes = bytes('current');
      if (currentBytes === null) throw format.error('hugetlb.*.current', [...of.keys()].join(' '));
      const limit = of.get('max');
      return {
        path,
        pageSizeBytes,
        currentBytes,
        reservedBytes: bytes('rsvd.current'),
        limitBytes: limit === undefined || limit.trim() === 'max' ? null : format.single(limit, 'max'),
      };
    });
}
