import { ParseError } from '../parse-error.ts';
import { JsonReader } from './json.ts';
import { parseNumberList } from './options.ts';

/** A memory backend of a running QEMU. Whether it is on huge pages is not in here: `info ramblock` tells. */
export interface Memdev {
  readonly id: string | null;
  readonly sizeBytes: number;
  readonly share: boolean | null;
  readonly prealloc: boolean;
  /** null before 6.1. */
  readonly reserve: boolean | null;
  readonly policy: string;
  readonly hostNodes: readonly number[];
}

/**
 * Reads the result of `query-memdev`: query_memdev() of hw/core/machine-qmp-cmds.c, 7.2; `share` is there since 6.1.
 * @throws ParseError
 */
export function parseQueryMemdev(result: unknown): Memdev[] {
  return new JsonReader('query-memdev', result).items().map(item => ({
    id: item.get('id').optional(id => id.string()),
    sizeBytes: item.get('size').size(),
    share: item.get('share').optional(share => share.boolean()),
    prealloc: item.get('prealloc').boolean(),
    reserve: item.get('reserve').optional(reserve => reserve.boolean()),
    policy: item.get('policy').string(),
    hostNodes: item
      .get('host-nodes')
      .items()
      .map(node => node.size()),
  }));
}

/**
 * Reads `info memdev`: hmp_info_memdev() of hw/core/machine-hmp-cmds.c, 7.2. Indented lines whose name we do not know
 * are skipped.
 * @throws ParseError
 */
export function parseInfoMemdev(text: string): Memdev[] {
  const found: { id: string; fields: Map<string, string>; line: number }[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (line === '') continue;
    const head = /^memory backend: (.+)$/.exec(line);
    const field = /^ {2}([a-z][a-z ]*):(?: +(.*))?$/.exec(line);
    const current = found.at(-1);
    if (head) found.push({ id: head[1] ?? '', fields: new Map(), line: index + 1 });
    else if (field && current && !current.fields.has(field[1] ?? '')) {
      current.fields.set(field[1] ?? '', field[2] ?? '');
    } else throw new ParseError('info memdev', 'memory backend: id, or a new field of one', line, index + 1);
  }
  return found.map(({ id, fields, line }) => {
    const flag = (key: string): boolean | null => {
      const value = fields.get(key);
      if (value === undefined) return null;
      if (value !== 'true' && value !== 'false')
        throw new ParseError('info memdev', `true or false as ${key}`, value, line);
      return value === 'true';
    };
    const sizeText = fields.get('size') ?? '';
    const sizeBytes = /^\d{1,16}$/.test(sizeText) ? Number(sizeText) : Number.NaN;
    const prealloc = flag('prealloc');
    const policy = fields.get('policy');
    if (!Number.isSafeInteger(sizeBytes))
      throw new ParseError('info memdev', 'a size below 2^53', sizeText, line);
    if (prealloc === null || policy === undefined)
      throw new ParseError('info memdev', 'prealloc and policy', id, line);
    return {
      id,
      sizeBytes,
      share: flag('share'),
      prealloc,
      reserve: flag('reserve'),
      policy,
      hostNodes: parseNumberList(fields.get('host nodes') ?? ''),
    };
  });
}
