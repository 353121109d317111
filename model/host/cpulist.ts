import { Format } from '../lines.ts';

const format: Format = new Format('cpulist');

/** NR_CPUS of every configuration is below. */
const LIMIT = 65536;

/**
 * A list of CPUs or nodes as the kernel prints it with `%*pbl` (lib/vsprintf.c bitmap_list_string): `0-3,8`, ascending; nothing
 * at all for an empty set. The final newline may have been trimmed.
 */
export function parseCpuList(text: string): number[] {
  const body = text.replace(/\n$/, '');
  if (body === '') return [];
  const numbers: number[] = [];
  for (const part of body.split(',')) {
    const [, from = '', to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    const first = Number(from);
    const last = Number(to);
    const fits = from !== '' && first <= last && last < LIMIT && first > (numbers.at(-1) ?? -1);
    if (!fits) throw format.error('ascending numbers or ranges of them, such as 0-3,8', body);
    for (let n = first; n <= last; n++) numbers.push(n);
  }
  return numbers;
}
