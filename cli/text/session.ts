import { formatBytes, formatSpan, plural } from '../../model/format.ts';
import type { SessionHeader } from '../../model/session-file/line.ts';
import type { SessionFile } from '../../model/session-file/reader.ts';
import { printable } from '../../model/text.ts';
import type { Colours } from './colours.ts';
import { WIDTH } from './table.ts';
import { wrap } from './width.ts';

/** What comes before a sample of a session, so that nobody takes it for this machine now. */
export function sessionHeading(
  file: SessionFile,
  path: string,
  number: number,
  takenAt: string,
  colours: Colours,
): string {
  const { title, redacted } = file.header;
  const label = `RECORDING, not live: ${path}, sample ${number + 1} of ${file.count}, taken ${takenAt}.`;
  const more = [title, redacted ? 'Names and paths were taken out.' : null].filter(each => each !== null);
  return `${[label, ...more]
    .flatMap(text => wrap(printable(text), WIDTH))
    .map(colours.warn)
    .join('\n')}\n\n`;
}

/** What `pinscope show --info` tells; the same as JSON. */
export interface SessionInfo extends SessionHeader {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly samples: { readonly count: number; readonly whole: number };
  readonly complete: boolean;
  readonly unknownLines: number;
  readonly gaps: readonly { readonly from: string; readonly to: string }[];
  readonly events: readonly {
    readonly at: string;
    readonly kind: string;
    readonly count: number | null;
    readonly detail: string | null;
    readonly sample: number;
  }[];
  readonly damage: readonly { readonly text: string }[];
}

/** Gaps and events beyond these are counted only. */
const MOST_LINES = 40;

export function sessionInfoText(info: SessionInfo, path: string, colours: Colours): string {
  const span = Date.parse(info.to) - Date.parse(info.from);
  const hours = span / 3_600_000;
  // Of a short one, the first whole sample is most.
  const rate = hours > 0.15 ? `, ${formatBytes(Math.round(info.bytes / hours))} an hour` : '';
  const row = (key: string, text: string) =>
    wrap(printable(text), WIDTH - 11).map((part, i) => `${(i === 0 ? key : '').padEnd(11)}${part}`);
  const missing = info.samples.count - info.samples.whole;
  const lines = [
    colours.bold(printable(path)),
    ...(info.title === null ? [] : row('title', info.title)),
    ...row('schema', `${info.schema}${info.redacted ? ', redacted: names and paths were taken out' : ''}`),
    ...row('from', info.from),
    ...row('to', `${info.to}, ${formatSpan(span)}`),
    ...row(
      'samples',
      `${info.samples.count}, one in ${formatSpan(info.periodMs)}${missing > 0 ? `; ${missing} of them missing` : ''}`,
    ),
    ...row('size', `${formatBytes(info.bytes)}${rate}`),
    ...(info.complete
      ? []
      : row('end', 'not closed: its writer was ended, or is still writing; whole to its last sample')),
    ...(info.unknownLines === 0
      ? []
      : row('unknown', `${plural(info.unknownLines, 'line')} of kinds that this program does not know`)),
    ...row('damage', info.damage.length === 0 ? 'none' : plural(info.damage.length, 'place')),
    ...info.damage.flatMap(({ text }) =>
      wrap(printable(text), WIDTH - 2).map(part => colours.bad(`  ${part}`)),
    ),
    ...some(
      'gaps',
      info.gaps,
      ({ from, to }) => `${from} to ${to}, ${formatSpan(Date.parse(to) - Date.parse(from))}`,
    ),
    ...some('events', info.events, ({ at, kind, count, detail, sample }) =>
      [`${at} before sample ${sample}: ${kind}`, count === null ? null : `${count}`, detail]
        .filter(Boolean)
        .join(' '),
    ),
  ];
  return `${lines.map(line => line.trimEnd()).join('\n')}\n`;
}

function some<T>(title: string, all: readonly T[], text: (each: T) => string): string[] {
  if (all.length === 0) return [];
  const shown = all
    .slice(0, MOST_LINES)
    .flatMap(each => wrap(printable(text(each)), WIDTH - 2).map(part => `  ${part}`));
  const more = all.length > MOST_LINES ? [`  and ${all.length - MOST_LINES} more (--json has all)`] : [];
  return [`${title.padEnd(11)}${all.length}`, ...shown, ...more];
}
