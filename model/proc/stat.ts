import { Format } from '../lines.ts';

/** The part of /proc/PID/stat that identifies a process. */
export interface ProcStat {
  readonly pid: number;
  /** Name of the main thread, any characters. */
  readonly comm: string;
  /** `R`, `S`, `D`, `Z`, …: fs/proc/array.c task_state_array. */
  readonly state: string;
  readonly ppid: number;
  /** PF_KTHREAD of field 9: runs in the kernel alone, without files or memory of its own. */
  readonly kernelThread: boolean;
  /** Field 22, clock ticks (USER_HZ) since boot. With `pid` it names a process for good. */
  readonly startTime: bigint;
}

const format: Format = new Format('stat');
/** include/linux/sched.h; ps(1) and its like know kernel threads by it too. */
const PF_KTHREAD = 0x0020_0000n;

/**
 * /proc/PID/stat: fs/proc/array.c do_task_stat(), `PID (COMM) STATE PPID …` in one line. COMM is raw, with blanks,
 * parentheses and newlines; what follows it holds no parenthesis, so it ends at the last one.
 */
export function parseStat(text: string): ProcStat {
  const open = text.indexOf(' (');
  const close = text.lastIndexOf(') ');
  if (open < 0 || close < open + 2) throw format.error('PID (COMM) STATE …', text);
  const fields = text
    .slice(close + 2)
    .replace(/\n$/, '')
    .split(' ');
  const [state = '', ppid = ''] = fields;
  if (!/^[A-Za-z]$/.test(state)) throw format.error('a state letter after the name', state);
  // Field 23 and later were there ever since; without them field 22 may have been cut.
  if (fields.length < 21) throw format.error('at least 23 fields', text);
  for (const field of fields.slice(1)) {
    if (!/^-?\d{1,20}$/.test(field)) throw format.error('numbers after the state', field);
  }
  return {
    pid: format.count(text.slice(0, open), 'the pid'),
    comm: text.slice(open + 2, close),
    state,
    ppid: format.count(ppid, 'the parent'),
    kernelThread: (format.u64(fields[6] ?? '', 'the flags') & PF_KTHREAD) !== 0n,
    startTime: format.u64(fields[19] ?? '', 'the start time'),
  };
}
