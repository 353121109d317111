import { Format } from '../lines.ts';

const format: Format = new Format('cgroup');

/** A hierarchy that a process is in. */
export interface ProcCgroup {
  /** 0 is cgroup v2. */
  readonly hierarchy: number;
  /** Empty for v2. */
  readonly controllers: readonly string[];
  /** Below the mount, seen from the reader's cgroup namespace: `/../x` lies outside of it. */
  readonly path: string;
}

/**
 * /proc/PID/cgroup (kernel/cgroup/cgroup.c, proc_cgroup_show): `HIERARCHY:CONTROLLER,…:PATH` a line. The path is not escaped and
 * may hold colons; no cgroup's name holds a newline (cgroup_mkdir refuses it).
 */
export function parseCgroup(text: string): ProcCgroup[] {
  return format.lines(text).map(line => {
    const [, hierarchy, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (hierarchy === undefined || path === undefined)
      throw format.error('HIERARCHY:CONTROLLERS:/PATH', line);
    return {
      hierarchy: format.count(hierarchy, 'the number of a hierarchy'),
      controllers: controllers ? controllers.split(',') : [],
      path,
    };
  });
}
