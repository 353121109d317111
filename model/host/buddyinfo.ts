import { Format } from '../lines.ts';

/** Free memory of a zone: `freeBlocksByOrder[n]` buddy blocks of 2^n pages. */
export interface BuddyZone {
  readonly node: number;
  readonly zone: string;
  readonly freeBlocksByOrder: readonly number[];
}

const format: Format = new Format('buddyinfo');
const LINE = /^Node (\d+), zone +(\S+) (.*)$/;

/** /proc/buddyinfo: mm/vmstat.c frag_show_print(), a line a zone with pages, the same number of orders in each. */
export function parseBuddyinfo(text: string): BuddyZone[] {
  const zones: BuddyZone[] = [];
  for (const [i, line] of format.lines(text).entries()) {
    if (!line.startsWith('Node')) continue;
    const match = LINE.exec(line);
    if (!match) throw format.error('Node N, zone NAME COUNTS', line, i + 1);
    const [, nodeText = '', zone = '', rest = ''] = match;
    const node = format.count(nodeText, 'the node', i + 1);
    const counts = rest.split(' ').filter(word => word !== '');
    const orders = zones[0]?.freeBlocksByOrder.length ?? counts.length;
    if (counts.length !== orders || orders === 0)
      throw format.error(`${orders || 'some'} counts`, line, i + 1);
    if (zones.some(other => other.node === node && other.zone === zone))
      throw format.error('each zone of a node once', line, i + 1);
    zones.push({ node, zone, freeBlocksByOrder: counts.map(c => format.count(c, 'free blocks', i + 1)) });
  }
  if (zones.length === 0) throw format.error('at least one zone', text);
  return zones;
}
