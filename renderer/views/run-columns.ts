import type { Expression } from '../../model/filter/ast.ts';
import { compare, equals } from '../../model/filter/combine.ts';
import type { FieldId } from '../../model/filter/fields.ts';
import { formatBytes, plural } from '../../model/format.ts';
import {
  backingName,
  CONNECTED,
  DISCONNECTED,
  type RunColumns,
  type Sample,
} from '../../model/run-columns.ts';
import type { PageRun } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hex } from '../../model/units.ts';
import type { Column } from '../tables/column.ts';

/** Columns of the table of page runs. A row is its number, so that two million of them are two million of nothing. */
export function runColumns(runs: RunColumns): Column<number>[] {
  const names = runs.names.map(printable);
  const number = (column: { readonly [i: number]: number }, i: number): string => {
    const value = column[i] ?? Number.NaN;
    return Number.isNaN(value) || value < 0 ? '?' : String(value);
  };
  const address = (column: Float64Array, i: number): string => {
    const value = column[i] ?? Number.NaN;
    return Number.isNaN(value) || value < 0 ? '?' : hex(value);
  };
  const name = (column: Int16Array, i: number): string => names[column[i] ?? -1] ?? '?';
  const raw = (column: { readonly [i: number]: number }, i: number): number | null => {
    const value = column[i] ?? Number.NaN;
    return value >= 0 ? value : null;
  };
  const rawName = (column: Int16Array, i: number): string | null => runs.names[column[i] ?? -1] ?? null;
  const range = (field: FieldId, column: Float64Array, step: number, i: number): Expression => {
    const first = raw(column, i);
    if (first === null) return equals(field, null);
    const last = first + (runs.count[i] ?? 1) * step - 1;
    return first === last ? equals(field, first) : compare(field, '==', { kind: 'range', first, last });
  };
  return [
    {
      id: 'index',
      title: 'Index',
      hint: 'Place of the run’s first page in the buffer, in pages.',
      width: 6,
      align: 'right',
      face: 'data',
      text: i => number(runs.index, i),
      value: i => raw(runs.index, i),
    },
    {
      id: 'pfn',
      title: 'PFN',
      hint: 'Page frame number of the first page, hexadecimal: physical address / 4096.',
      width: 9,
      align: 'right',
      face: 'data',
      text: i => address(runs.pfn, i),
      value: i => raw(runs.pfn, i),
      clause: i => range('pfn', runs.pfn, 1, i),
    },
    {
      id: 'count',
      title: 'Pages',
      hint: 'Pages of the run: all follow one another and agree in everything.',
      width: 6,
      align: 'right',
      face: 'data',
      text: i => number(runs.count, i),
      value: i => raw(runs.count, i),
    },
    {
      id: 'folio',
      title: 'Folio',
      hint: 'Size of the folio that each page belongs to: one pin holds all of it.',
      width: 7,
      align: 'right',
      face: 'data',
      text: i => formatBytes(runs.folioBytes[i] ?? Number.NaN),
      value: i => raw(runs.folioBytes, i),
      clause: i => equals('folio', raw(runs.folioBytes, i)),
    },
    {
      id: 'node',
      title: 'Node',
      hint: 'NUMA node.',
      width: 5,
      align: 'right',
      face: 'data',
      text: i => number(runs.node, i),
      value: i => raw(runs.node, i),
      clause: i => equals('node', raw(runs.node, i)),
    },
    {
      id: 'zone',
      title: 'Zone',
      hint: 'Zone.',
      width: 7,
      grow: 1,
      text: i => name(runs.zone, i),
      value: i => rawName(runs.zone, i),
      clause: i => equals('zone', rawName(runs.zone, i)),
    },
    {
      id: 'migratetype',
      title: 'Migratetype',
      hint: 'Type of the pageblock that the pages lie in.',
      width: 11,
      grow: 1,
      text: i => name(runs.migratetype, i),
      value: i => rawName(runs.migratetype, i),
      clause: i => equals('migratetype', rawName(runs.migratetype, i)),
      tone: i => ((runs.migratetype[i] ?? -1) < 0 ? 'muted' : 'plain'),
    },
    {
      id: 'gpa',
      title: 'Guest address',
      hint: 'Guest physical address of the first page.',
      width: 12,
      align: 'right',
      face: 'data',
      text: i => address(runs.gpa, i),
      value: i => raw(runs.gpa, i),
      clause: i => range('gpa', runs.gpa, 4096, i),
    },
    {
      id: 'backing',
      title: 'Backing',
      hint: 'Whether these still are the guest’s pages.',
      width: 13,
      grow: 1,
      text: i => backingName(runs.backing[i] ?? -1),
      value: i => backingName(runs.backing[i] ?? -1),
      clause: i => {
        const backing = backingName(runs.backing[i] ?? -1);
        return equals('backing', backing === 'unknown' ? null : backing);
      },
      tone: i =>
        runs.backing[i] === DISCONNECTED ? 'error' : runs.backing[i] === CONNECTED ? 'plain' : 'muted',
    },
  ];
}

/** Everything about one run, in a sentence that can be pasted into a mail. */
export function runSentence(run: PageRun, { host }: Sample): string {
  const last = run.pfn + run.count - 1;
  const blockPages = host.memoryBlockBytes === null ? null : host.memoryBlockBytes / host.pageSize;
  const block = blockPages === null ? null : Math.floor(run.pfn / blockPages);
  const parts = [
    `${plural(run.count, 'page')} from index ${run.index}`,
    run.count === 1 ? `PFN ${hex(run.pfn)}` : `PFN ${hex(run.pfn)} to ${hex(last)}`,
    `physical ${hex(run.pfn * host.pageSize)}`,
    block === null ? null : `memory block ${block}`,
    run.gpa === null ? 'guest address unknown' : `guest ${printable(run.gpa)}`,
    run.ramInode === null
      ? 'in no memfd that is known'
      : `memfd ${run.ramInode} ${run.ramOffset === null ? 'at an unknown offset' : `+ ${hex(run.ramOffset)}`}`,
    run.backing === 'disconnected' ? 'disconnected: the memfd has another page there now, or none' : null,
  ];
  return parts.filter(part => part !== null).join(', ');
}
