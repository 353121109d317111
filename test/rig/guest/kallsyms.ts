import { execFileSync } from 'node:child_process';

/** Name → address as /proc/kallsyms prints it. */
export function kallsymsOf(names: readonly string[]): Map<string, bigint> {
  const lines = execFileSync('grep', ['-E', ` (${names.join('|')})$`, '/proc/kallsyms'], {
    encoding: 'utf8',
  });
  return new Map(
    lines
      .trim()
      .split('\n')
      .map(line => line.split(' '))
      .map(([address, , name]) => [name ?? '', BigInt(`0x${address}`)]),
  );
}
