import { Format } from '../lines.ts';
import type { ZoneState } from '../snapshot.ts';

const format: Format = new Format('zoneinfo');
const HEADING = /^Node (\d+), zone +(\S+)$/;
/** Our names for the lines `        present  3998` of a zone's `pages` section. */
const PAGES = {
  'pages free': 'freePages',
  spanned: 'spannedPages',
  present: 'presentPages',
  managed: 'managedPages',
  cma: 'cmaPages',
  nr_free_cma: 'freeCmaPages',
  'start_pfn:': 'startPfn',
} as const;
type Field = (typeof PAGES)[keyof typeof PAGES];

/**
 * /proc/zoneinfo: mm/vmstat.c zoneinfo_show_print(), a section a node and zone. Counts are pages of the base size.
 * - A zone without present pages (Movable without `movablecore`, Device) ends after `protection:`, with no start_pfn and
 *   no nr_free_cma. Such a zone may still span pages, for example after its memory went offline.
 * - The first zone with pages of a node also has `per-node stats`, and every zone a section a CPU under `pagesets`, whose
 *   `count`, `high` and `batch` are no pages of the zone.
 * - `cma` is there since 5.12, also without CONFIG_CMA (0).
 */
export function parseZoneinfo(text: string): ZoneState[] {
  const zones: ZoneState[] = [];
  const seen = new Set<string>();
  let zone: { node: number; zone: string; line: number; fields: Map<Field, number> } | undefined;

  const finish = () => {
    if (!zone) return;
    const { node, zone: name, line, fields } = zone;
    const need = (field: 'freePages' | 'spannedPages' | 'presentPages' | 'managedPages'): number => {
      const value = fields.get(field);
      if (value === undefined)
        throw format.error(`${field} of node ${node}, zone ${name}`, text.slice(-80), line);
      return value;
    };
    const presentPages = need('presentPages');
    const startPfn = fields.get('startPfn') ?? null;
    if (presentPages > 0 && startPfn === null)
      throw format.error(`start_pfn of node ${node}, zone ${name}`, text.slice(-80), line);
    const spannedPages = need('spannedPages');
    if (startPfn !== null && !Number.isSafeInteger(startPfn + spannedPages))
      throw format.error('a zone that ends below 2^53', `${startPfn} + ${spannedPages}`, line);
    zones.push({
      node,
      zone: name,
      startPfn,
      spannedPages,
      presentPages,
      managedPages: need('managedPages'),
      freePages: need('freePages'),
      cmaPages: fields.get('cmaPages') ?? null,
      freeCmaPages: fields.get('freeCmaPages') ?? null,
    });
  };

  for (const [i, line] of format.lines(text).entries()) {
    if (line.startsWith('Node')) {
      const match = HEADING.exec(line);
      if (!match) throw format.error('Node N, zone NAME', line, i + 1);
      finish();
      const [, node = '', name = ''] = match;
      if (seen.has(`${node} ${name}`)) throw format.error('each zone of a node once', line, i + 1);
      seen.add(`${node} ${name}`);
      zone = { node: format.count(node, 'the node', i + 1), zone: name, line: i + 1, fields: new Map() };
      continue;
    }
    if (!zone) throw format.error('Node N, zone NAME', line, i + 1);
    const trimmed = line.trim();
    const blank = trimmed.lastIndexOf(' ');
    const key = trimmed.slice(0, Math.max(0, blank)).trimEnd();
    if (!(Object.hasOwn(PAGES, key) || Object.hasOwn(PAGES, trimmed))) continue;
    const field = PAGES[key as keyof typeof PAGES];
    if (field === undefined || zone.fields.has(field)) throw format.error('one number', line, i + 1);
    zone.fields.set(field, format.count(trimmed.slice(blank + 1), key, i + 1));
  }
  finish();
  if (zones.length === 0) throw format.error('at least one zone', text);
  return zones;
}
