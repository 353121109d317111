import { both, equals } from '../../model/filter/combine.ts';
import { printFilter } from '../../model/filter/print.ts';
import { formatBytes } from '../../model/format.ts';
import { type HeldMemory, partsBy } from '../../model/held.ts';
import { printable } from '../../model/text.ts';
import type { Tone } from '../tables/column.ts';

/** One part of the held memory. */
export interface PartRow {
  readonly name: string;
  readonly pages: number;
  /** Bytes of the folios of these pages; `null` where a folio may have pages of several parts. */
  readonly inFolios: number | null;
  readonly tone: Tone;
  /** Filter that leaves the buffers which have such pages. */
  readonly filter: string;
}

/** One way to part the whole. */
export interface Parting {
  readonly heading: string;
  readonly rows: readonly PartRow[];
}

const toneOf = (...values: readonly unknown[]): Tone => (values.includes(null) ? 'muted' : 'plain');

/** What the buffers hold, by backing, place, migratetype and size of the folio. */
export function heldPartings({ groups, connected, disconnected, unknown }: HeldMemory): Parting[] {
  const backing: readonly (readonly [string, number, Tone])[] = [
    ['connected', connected, 'plain'],
    ['disconnected', disconnected, 'error'],
    ['unknown', unknown, 'muted'],
  ];
  const places = partsBy(
    groups,
    ({ node, zone }) => ({ node, zone }),
    key => JSON.stringify(key),
  );
  const types = partsBy(groups, ({ migratetype }) => migratetype);
  const folios = partsBy(groups, ({ folioBytes }) => folioBytes);
  return [
    {
      heading: 'By backing',
      rows: backing
        .filter(([, pages]) => pages > 0)
        .map(([name, pages, tone]) => ({
          name,
          pages,
          inFolios: null,
          tone,
          filter: printFilter(equals('backing', name === 'unknown' ? null : name)),
        })),
    },
    {
      heading: 'By node and zone',
      rows: places.map(({ key: { node, zone }, ...counts }) => ({
        name: `${node === null ? 'unknown node' : `node ${node}`}, ${zone === null ? 'unknown zone' : printable(zone)}`,
        ...counts,
        tone: toneOf(node, zone),
        filter: printFilter(both(equals('node', node), equals('zone', zone))),
      })),
    },
    {
      heading: 'By migratetype of the pageblock',
      rows: types.map(({ key, ...counts }) => ({
        name: key === null ? 'unknown' : printable(key),
        ...counts,
        tone: toneOf(key),
        filter: printFilter(equals('migratetype', key)),
      })),
    },
    {
      heading: 'By size of the folio',
      rows: folios.map(({ key, ...counts }) => ({
        name: formatBytes(key),
        ...counts,
        tone: 'plain',
        filter: printFilter(equals('folio', key)),
      })),
    },
  ];
}
