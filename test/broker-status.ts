/** What docs/BROKER.md says of the broker's process, as /proc/PID/status prints it. */
import { readFileSync } from 'node:fs';

/** CAP_DAC_READ_SEARCH 2, CAP_SYS_PTRACE 19, CAP_SYS_ADMIN 21; CAP_SYS_RAWIO 17, CAP_SYSLOG 34 (linux/capability.h). */
const common = {
  CapInh: '0000000000000000',
  CapBnd: '0000000000000000',
  CapAmb: '0000000000000000',
  NoNewPrivs: '1',
  Seccomp: '2',
};
export const CAPABILITIES = {
  pages: { CapPrm: '0000000000280004', CapEff: '0000000000280004', ...common },
  'kernel-memory': { CapPrm: '00000004002a0004', CapEff: '00000004002a0004', ...common },
} as const;

/** The same lines of a process that runs, and its user where all four ids are that one. */
export function statusLines(pid: number): Record<string, string | undefined> {
  const lines = new Map(
    readFileSync(`/proc/${pid}/status`, 'utf8')
      .split('\n')
      .map(line => line.split(':\t'))
      .map(([name = '', value = '']) => [name, value]),
  );
  const uids = [...new Set(lines.get('Uid')?.split('\t'))];
  const names = Object.keys(CAPABILITIES.pages);
  return {
    ...Object.fromEntries(names.map(name => [name, lines.get(name)])),
    uid: uids.length === 1 ? uids[0] : `several: ${uids.join(' ')}`,
  };
}
