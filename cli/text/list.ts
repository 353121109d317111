import { formatBytes, formatSpan, plural } from '../../model/format.ts';
import type { ProcessList } from '../../model/process-list.ts';
import { printable } from '../../model/text.ts';
import type { Colours } from './colours.ts';
import { table, WIDTH } from './table.ts';
import { wrap } from './width.ts';

/**
 * The process list for a person, at most 100 columns.
 * @param asRoot whether root read it: then being root would not show more
 */
export function listText(list: ProcessList, colours: Colours, asRoot: boolean): string {
  const lines: string[] = [];
  if (list.processes.length === 0) {
    lines.push(
      list.hiddenProcesses > 0
        ? 'No QEMU runs here, and none of the processes that we may look into holds a udmabuf.'
        : 'No QEMU runs here, and no process holds a udmabuf.',
    );
  } else {
    const now = Date.parse(list.takenAt);
    const [heading = '', ...rows] = table(
      [
        { title: 'PID', align: 'right' },
        { title: 'KIND' },
        { title: 'NAME', min: 12 },
        { title: 'PROGRAM', min: 12 },
        { title: 'USER', min: 8 },
        { title: 'UDMABUFS', align: 'right' },
        { title: 'SIZE', align: 'right' },
        { title: 'OLDEST', align: 'right' },
      ],
      list.processes.map(row => [
        String(row.pid),
        row.kind,
        printable(row.name ?? '-'),
        printable(row.comm),
        printable(row.user ?? (row.uid === null ? '?' : String(row.uid))),
        row.buffers === null ? 'denied' : String(row.buffers),
        sizeText(row),
        row.oldest === null
          ? row.buffers === 0
            ? '-'
            : row.buffers === null
              ? 'denied'
              : '?'
          : formatSpan(now - Date.parse(row.oldest)),
      ]),
    );
    lines.push(colours.bold(heading), ...rows);
  }
  if (list.hiddenProcesses > 0) {
    const others = plural(list.hiddenProcesses, 'process', 'processes');
    const text = asRoot
      ? `${others} may not be looked into even by root: another namespace or a security module hides them.`
      : `${others} of other users could not be looked into; root would see more.`;
    lines.push('', ...wrap(text, WIDTH).map(colours.dim));
  }
  return `${lines.join('\n')}\n`;
}

function sizeText({ buffers, bufferBytes }: ProcessList['processes'][number]): string {
  if (buffers === null) return 'denied';
  if (buffers === 0) return '-';
  // A buffer that is only mapped tells its size to kernel memory alone.
  return bufferBytes === null ? '?' : formatBytes(bufferBytes);
}
