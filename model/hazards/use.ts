import { plural } from '../format.ts';
import type { SampledResource } from '../run-columns.ts';
import { mayBeUdmabuf, type Reason, type Unjudged, unlisted, whyMissing, within } from './rule.ts';

/* What a sample knows of the buffers themselves: which are udmabufs, who holds them, whether anybody uses them. */

/** A resource that is surely a udmabuf: its exporter says so, or kernel memory had its pages. */
const isUdmabuf = ({ exporter, pages }: SampledResource): boolean =>
  exporter === 'udmabuf' || (exporter === null && pages !== null);

/** The udmabufs of the process, and why they may not be all. */
export function udmabufs(sample: Unjudged): { mine: SampledResource[]; because: Reason[] } {
  const mine = sample.resources.filter(isUdmabuf);
  const whole = unlisted(sample);
  if (whole !== null) return { mine, because: [whole] };
  const open = sample.resources.filter(each => mayBeUdmabuf(each) && !isUdmabuf(each)).length;
  if (open === 0) return { mine, because: [] };
  const what = `which driver made ${plural(open, 'buffer')} is not known`;
  const why = whyMissing(what, sample.sources, ['kernel-memory'], 'neither fdinfo nor kernel memory says so');
  return { mine, because: [why] };
}

/**
 * Why holders of this buffer may be missing, so that WHAT is not known; `null`: they are all there. Processes that hide their files matter only if some
 * reference on the buffer's file belongs to none of the fds and mappings that were seen (an importer has references too).
 */
export function hiddenHolders(
  what: string,
  { sources }: Pick<Unjudged, 'sources'>,
  { count, holders }: SampledResource,
): Reason | null {
  if (sources.some(({ name, state }) => name === 'holders' && state === 'ok')) return null;
  const seen = holders.reduce((sum, { fds, mappings }) => sum + fds.length + mappings.length, 0);
  if (count !== null && count <= seen) return null;
  return whyMissing(what, sources, ['holders'], 'not read');
}

/** Whether no device is attached to the buffer and no process maps it: then its pages are held for nobody; or why that is not known. */
export function isIdle(sample: Pick<Unjudged, 'sources'>, resource: SampledResource): boolean | Reason {
  const { attachments, holders } = resource;
  if (holders.some(({ mappings }) => mappings.length > 0)) return false;
  if (attachments === null)
    return whyMissing(
      'whether a device is attached is not known',
      sample.sources,
      ['kernel-memory', 'bufinfo'],
      'not read',
    );
  if (attachments.length > 0) return false;
  return hiddenHolders('whether another process maps it is not known', sample, resource) ?? true;
}

/** Reasons that many buffers share, each once with the number of buffers. */
export class Reasons {
  readonly #buffers = new Map<string, { readonly why: Reason; count: number }>();

  add(why: Reason): void {
    const key = typeof why === 'string' ? why : why.because;
    const same = this.#buffers.get(key);
    if (same === undefined) this.#buffers.set(key, { why, count: 1 });
    else same.count++;
  }

  list(): Reason[] {
    return [...this.#buffers.values()].map(({ why, count }) =>
      within(`of ${plural(count, 'buffer')}, `, why),
    );
  }
}

/** A shell line that prints a member of one buffer, by `pinscope snapshot --json`, whatever white space the JSON has. */
export const recheckMember = ({ target }: Unjudged, inode: number, pattern: string): string =>
  `sudo pinscope snapshot --pid ${target.pid} --resource ${inode} --json | tr -d ' \\n' | grep -o '${pattern}'`;
