import { plural } from '../format.ts';
import { type RunColumns, type SampledResource, UNKNOWN } from '../run-columns.ts';
import { hex } from '../units.ts';
import { FACTS } from './inputs.ts';
import {
  mayBeUdmabuf,
  type Outcome,
  type Reason,
  type Rule,
  type Severity,
  type Told,
  type Unjudged,
  unlisted,
  whyMissing,
} from './rule.ts';

/** Facts of page runs, and what a run without them has there. */
export const PAGE_FACTS = {
  zone: (runs, run) => (runs.zone[run] ?? -1) < 0,
  node: (runs, run) => (runs.node[run] ?? -1) < 0,
  migratetype: (runs, run) => (runs.migratetype[run] ?? -1) < 0,
  backing: (runs, run) => (runs.backing[run] ?? UNKNOWN) === UNKNOWN,
} as const satisfies Partial<Record<keyof typeof FACTS, (runs: RunColumns, run: number) => boolean>>;

export type PageFact = keyof typeof PAGE_FACTS;

/** The pages of one buffer that a rule is about. */
export interface PageHit {
  readonly sample: Unjudged;
  readonly resource: SampledResource;
  readonly runs: RunColumns;
  /** Indices of runs, in buffer order; not empty. */
  readonly hits: readonly number[];
  /** Entries of the buffer in these runs, and all. */
  readonly pages: number;
  readonly of: number;
}

/** Tells of run `run` whether it is meant; a text: why that cannot be told. */
export type RunTest = (run: number) => boolean | string;

export interface PageRule {
  readonly id: string;
  readonly severity: Severity;
  readonly fires: string;
  readonly needs: readonly PageFact[];
  /** Names are looked up once a buffer, so that the test of a run compares numbers. */
  readonly test: (runs: RunColumns, sample: Unjudged) => RunTest;
  readonly tell: (hit: PageHit) => Omit<Told, 'resource'>;
}

/** A rule over the pages of each buffer: one finding a buffer. */
export function pageRule({ needs, test, tell, ...rule }: PageRule): Rule {
  return { ...rule, needs: ['pages', ...needs], check: sample => checkPages(sample, needs, test, tell) };
}

function checkPages(
  sample: Unjudged,
  needs: readonly PageFact[],
  test: PageRule['test'],
  tell: PageRule['tell'],
): Outcome {
  const found: Told[] = [];
  const gaps = new Gaps();
  let pages = 0;
  for (const resource of sample.resources) {
    if (!resource.pages) continue;
    const { runs, count: of } = resource.pages;
    pages += of;
    const isHit = test(runs, sample);
    const hits: number[] = [];
    let hitPages = 0;
    for (let run = 0; run < runs.length; run++) {
      const count = runs.count[run] ?? 0;
      const missing = needs.find(need => PAGE_FACTS[need](runs, run));
      const answer = missing === undefined ? isHit(run) : false;
      if (missing !== undefined) gaps.add(missing, count);
      else if (typeof answer === 'string') gaps.add(answer, count);
      else if (answer) {
        hits.push(run);
        hitPages += count;
      }
    }
    if (hits.length > 0) {
      found.push({
        resource: resource.inode,
        ...tell({ sample, resource, runs, hits, pages: hitPages, of }),
      });
    }
  }
  return { found, because: [...unreadPages(sample), ...gaps.reasons(sample, pages)] };
}

/** Pages that a rule could not judge, by what was missing. */
class Gaps {
  private readonly pages = new Map<string, number>();

  add(why: string, count: number): void {
    this.pages.set(why, (this.pages.get(why) ?? 0) + count);
  }

  reasons({ sources }: Unjudged, all: number): Reason[] {
    return [...this.pages].map(([why, count]) => {
      const which = count === all ? `all ${plural(all, 'page')}` : `${count} of ${plural(all, 'page')}`;
      if (!(why in PAGE_FACTS)) return count === all ? why : `${why} (${which})`;
      const fact = FACTS[why as PageFact];
      return whyMissing(
        `the ${fact.words} of ${which} is unknown`,
        sources,
        fact.sources,
        'the host does not say',
      );
    });
  }
}

/** Why some buffers have no pages. */
export function unreadPages(sample: Unjudged): Reason[] {
  const whole = unlisted(sample);
  if (whole !== null) return [whole];
  return unreadOf(sample, sample.resources.filter(mayBeUdmabuf));
}

/** Why some of these buffers have no pages. */
export function unreadOf(sample: Unjudged, mine: readonly SampledResource[]): Reason[] {
  const unread = mine.filter(({ pages }) => pages === null).length;
  if (unread === 0) return [];
  const which =
    unread === mine.length ? `all ${plural(unread, 'buffer')}` : `${unread} of ${mine.length} buffers`;
  const what = `the pages of ${which} were not read`;
  return [whyMissing(what, sample.sources, FACTS.pages.sources, 'they changed while they were read')];
}

/** Ranges named in evidence; the others are counted. */
const NAMED = 4;

/**
 * `0x1000-0x10ff, 0x2000 and 12 more ranges`: numbers `of` the first page of each run, going up by `step` a page. A range of
 * addresses ends with its last byte.
 */
export function ranges({ runs, hits }: PageHit, of: Float64Array, step = 1): string {
  const spans: { first: number; next: number }[] = [];
  for (const run of hits) {
    const first = of[run] ?? Number.NaN;
    const next = first + (runs.count[run] ?? 0) * step;
    const last = spans.at(-1);
    if (last && last.next === first) last.next = next;
    else spans.push({ first, next });
  }
  const named = spans
    .slice(0, NAMED)
    .map(({ first, next }) => (next === first + step ? hex(first) : `${hex(first)}-${hex(next - 1)}`));
  const more = spans.length - named.length;
  return `${named.join(', ')}${more > 0 ? ` and ${plural(more, 'more range', 'more ranges')}` : ''}`;
}

/** Distinct values of a column over the hit runs, ascending. */
export const distinct = ({ hits }: PageHit, of: { readonly [run: number]: number }): number[] =>
  [...new Set(hits.map(run => of[run] ?? -1))].sort((a, b) => a - b);

/** `2025 of 2025 pages`, `1 of 1 page`. */
export const share = ({ pages, of }: PageHit): string => `${pages} of ${plural(of, 'page')}`;
