import { parseCpuList } from '../host/cpulist.ts';
import { Format } from '../lines.ts';

/** The four ids of a process; 4294967295 is no id (a user outside our namespace reads 65534). */
export interface Ids {
  readonly real: number;
  readonly effective: number;
  readonly saved: number;
  readonly fs: number;
}

/** The part of /proc/PID/status that tells who a process is and what it has locked. `null`: the line is not there. */
export interface ProcStatus {
  /** Name of the main thread, unescaped. */
  readonly name: string;
  /** `R`, `S`, `Z`, …. */
  readonly state: string;
  readonly tgid: number;
  readonly pid: number;
  readonly ppid: number;
  readonly uid: Ids;
  readonly gid: Ids;
  /** The pid in each pid namespace, outermost (ours) first. */
  readonly nsPid: readonly number[] | null;
  /** Effective capabilities, a bit each. */
  readonly capEff: bigint;
  /** CPUs that this thread may run on; `null` only where the line is not there. */
  readonly cpusAllowed: readonly number[] | null;
  /** Bytes. All of these are `null` without memory (kernel thread, zombie). */
  readonly vmLckBytes: number | null;
  readonly vmPinBytes: number | null;
  readonly vmRssBytes: number | null;
  readonly rssShmemBytes: number | null;
  /** Also `null` without CONFIG_HUGETLB_PAGE. */
  readonly hugetlbBytes: number | null;
}

const format: Format = new Format('status');

/**
 * /proc/PID/status: fs/proc/array.c proc_pid_status(), `KEY:\tVALUE` lines; memory from fs/proc/task_mmu.c task_mem() and
 * mm/hugetlb.c hugetlb_report_usage() in kB. The name is escaped (`\n` for a newline, `\\` for a backslash, nothing
 * else), so no name can forge a line.
 */
export function parseStatus(text: string): ProcStatus {
  const fields = new Map<string, { value: string; line: number }>();
  for (const [i, line] of format.lines(text).entries()) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const key = line.slice(0, colon);
    if (fields.has(key)) throw format.error(`${key} once`, line, i + 1);
    fields.set(key, { value: line.slice(colon + 1), line: i + 1 });
  }
  const get = (key: string) => {
    const field = fields.get(key);
    if (!field) throw format.error(`a line ${key}:`, text);
    return { value: field.value.trim(), line: field.line, raw: field.value };
  };
  const count = (key: string) => {
    const { value, line } = get(key);
    return format.count(value, key, line);
  };
  const counts = (key: string) => {
    const { value, line } = get(key);
    return value.split('\t').map(n => format.count(n, key, line));
  };
  const ids = (key: string): Ids => {
    const [real, effective, saved, fs, ...more] = counts(key);
    if (
      real === undefined ||
      effective === undefined ||
      saved === undefined ||
      fs === undefined ||
      more.length
    )
      throw format.error(`four ids of ${key}`, get(key).value, get(key).line);
    return { real, effective, saved, fs };
  };
  const bytes = (key: string) => {
    if (!fields.has(key)) return null;
    const { value, line } = get(key);
    return format.kiloBytes(value, key, line);
  };

  const name = get('Name');
  if (!name.raw.startsWith('\t')) throw format.error('Name:\tNAME', name.raw, name.line);
  const state = get('State');
  const stateMatch = /^([A-Za-z]) \([^)]*\)$/.exec(state.value);
  if (!stateMatch) throw format.error('a state such as R (running)', state.value, state.line);
  const capEff = get('CapEff');
  return {
    name: unescaped(name.raw.slice(1)),
    state: stateMatch[1] ?? '',
    tgid: count('Tgid'),
    pid: count('Pid'),
    ppid: count('PPid'),
    uid: ids('Uid'),
    gid: ids('Gid'),
    nsPid: fields.has('NSpid') ? counts('NSpid') : null,
    capEff: format.hex(capEff.value, 'CapEff', capEff.line),
    cpusAllowed: fields.has('Cpus_allowed_list') ? parseCpuList(get('Cpus_allowed_list').value) : null,
    vmLckBytes: bytes('VmLck'),
    vmPinBytes: bytes('VmPin'),
    vmRssBytes: bytes('VmRSS'),
    rssShmemBytes: bytes('RssShmem'),
    hugetlbBytes: bytes('HugetlbPages'),
  };
}

const unescaped = (text: string): string => text.replace(/\\([n\\])/g, (_, c) => (c === 'n' ? '\n' : '\\'));
