import { DISCONNECTED, type Sample } from '../run-columns.ts';
import type { Finding } from '../snapshot.ts';

/** What a row over time needs of a sample: a few numbers and no pages, so that a day of them fits into memory. */
export interface SampleSummary {
  /** Number of the sample in its session, from 0. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** udmabufs that the process holds. */
  readonly buffers: number;
  /** Sum of the folio bytes of each buffer; `null` where the pages of one were not read. */
  readonly folioBytes: number | null;
  /** Entries of buffers whose pages are no longer the guest's; `null` as above. */
  readonly disconnected: number | null;
  /** Of the findings; `null` without any. */
  readonly worst: Finding['severity'] | null;
}

const SEVERITIES = ['error', 'warning', 'info'] as const;

export function summarised(number: number, sample: Sample): SampleSummary {
  const buffers = sample.resources.filter(({ exporter }) => exporter === 'udmabuf');
  const sum = (of: (pages: NonNullable<Sample['resources'][number]['pages']>) => number): number | null =>
    buffers.reduce<number | null>(
      (total, { pages }) => (total === null || pages === null ? null : total + of(pages)),
      0,
    );
  return {
    number,
    time: Date.parse(sample.takenAt),
    buffers: buffers.length,
    folioBytes: sum(({ folioBytes }) => folioBytes),
    disconnected: sum(({ runs }) => {
      let pages = 0;
      for (let i = 0; i < runs.length; i++) if (runs.backing[i] === DISCONNECTED) pages += runs.count[i] ?? 0;
      return pages;
    }),
    worst:
      SEVERITIES.find(severity => sample.findings.some(finding => finding.severity === severity)) ?? null,
  };
}
