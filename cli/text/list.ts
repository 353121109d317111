import { formatBytes, formatSpan, plural } from '../../model/format.ts';
import type { ProcessList } from '../../model/process-list.ts';
import { printable } from '../../model/text.ts';
import type { Colours } from './colours.ts';
import { table } from './table.ts';

/** The process list for a person, at most 100 columns. */
export function listText(list: ProcessList, colours: Colours): string {
  const lines: string[] = [];
  if (list.processes.length === 0) {
    lines.push('No QEMU runs here, and no process that we can see holds a udmabuf.');
  } else {
    const now = Date.parse(list.takenAt);
    const [heading = '', ...rows] = table(
      [
        { title: 'PID', align: 'right' },
        { title: 'KIND' },
        { title: 'NAME', max: 32 },
        { title: 'PROGRAM', max: 16 },
        { title: 'UID', align: 'right' },
        { title: 'UDMABUFS', align: 'right' },
        { title: 'SIZE', align: 'right' },
        { title: 'OLDEST', align: 'right' },
      ],
      list.processes.map(row => [
        String(row.pid),
        row.kind,
        printable(row.name ?? '-'),
        printable(row.comm),
        row.uid === null ? '?' : String(row.uid),
        row.buffers === null ? 'denied' : String(row.buffers),
        row.bufferBytes === null ? 'denied' : row.buffers === 0 ? '-' : formatBytes(row.bufferBytes),
        row.oldest === null ? '-' : formatSpan(now - Date.parse(row.oldest)),
      ]),
    );
    lines.push(colours.bold(heading), ...rows);
  }
  if (list.hiddenProcesses > 0) {
    const others = plural(list.hiddenProcesses, 'process', 'processes');
    lines.push(
      '',
      colours.dim(`${others} of other users could not be looked into; root would see them all.`),
    );
  }
  return `${lines.join('\n')}\n`;
}
