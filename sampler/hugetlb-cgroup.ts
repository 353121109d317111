import { HUGETLB_FILES, parseHugetlbCgroup } from '../model/host/hugetlb-cgroup.ts';
import { parseCgroup } from '../model/proc/cgroup.ts';
import { absent, ok, type Reading } from '../model/reading.ts';
import type { HugetlbCgroup } from '../model/snapshot.ts';
import { type HostFiles, understood } from './files.ts';

/** Where cgroup v2 is mounted: alone, or beside v1. */
const MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];

/**
 * What the hugetlb controller of cgroup v2 counts for a process: the files of its cgroup, or where the controller is not enabled there
 * of the nearest one above that has it, which is where its pages are charged (cgroup_e_css). Empty: no cgroup but the root, which has no
 * such files, or a kernel without the controller. `absent` under cgroup v1, whose files are others.
 */
export function readHugetlbCgroup(files: HostFiles, pid: number): Reading<HugetlbCgroup[]> {
  const source = `/proc/${pid}/cgroup`;
  const lines = files.parsed(source, parseCgroup);
  if (lines.state !== 'ok') return lines as Reading<never>;
  if (lines.value.some(({ controllers }) => controllers.includes('hugetlb')))
    return absent(source, 'the hugetlb controller is one of cgroup v1 here, whose files are not read');
  const path = lines.value.find(({ hierarchy }) => hierarchy === 0)?.path;
  if (path === undefined) return absent(source, 'the process is in no cgroup of version 2');
  if (path.split('/').includes('..'))
    return absent(source, `its cgroup ${path} lies outside the cgroup namespace of this program`);
  const mount = MOUNTS.find(each => files.text(`${each}/cgroup.controllers`).state === 'ok');
  if (mount === undefined) return absent(MOUNTS[0] ?? '', 'cgroup v2 is not mounted there');
  for (let at = path.replace(/\/$/, ''); at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    const rows = understood(files.tree(`${mount}${at}`, HUGETLB_FILES, 0), found =>
      parseHugetlbCgroup(at, found),
    );
    // Its name may be a guest's: it is in the rows, and nowhere else.
    if (rows.state !== 'ok' || rows.value.length > 0) return { ...rows, source: `${mount}/…/hugetlb.*` };
  }
  return ok(mount, []);
}
