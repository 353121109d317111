import { plural } from '../../model/format.ts';
import type { Finding } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { HOLDERS_GRANT } from '../../sampler/grants.ts';
import type { Examined, Judged } from '../doctor.ts';
import type { Earlier } from '../since.ts';
import type { Colours } from './colours.ts';
import { foundLines, noneLines, notCheckedLines } from './findings.ts';
import { WIDTH } from './table.ts';
import { shorten, wrap } from './width.ts';

/** What the doctor says, for a person, at most 100 columns: a part for each process, worst findings first, and the sum. */
export function examinedText(examined: Examined, colours: Colours): string {
  const { judged, unread, hidden, rules, earlier } = examined;
  const lines = judged.flatMap((each, i) => [
    ...(i > 0 ? [''] : []),
    ...judgedLines(each, rules, earlier, colours),
  ]);
  if (judged.length === 0)
    lines.push(...wrap('No QEMU runs here and nobody holds a udmabuf, as far as we can see.', WIDTH));
  const open = [
    ...unread,
    ...(hidden > 0
      ? [
          `${plural(hidden, 'process hides its', 'processes hide their')} files from us and may hold udmabufs; needs ${HOLDERS_GRANT}`,
        ]
      : []),
  ];
  if (open.length > 0) {
    lines.push('', colours.bold('Not looked at'));
    for (const why of open)
      lines.push(...wrap(printable(why), WIDTH - 4).map((part, i) => `${i === 0 ? '  ' : '    '}${part}`));
  }
  if (judged.length > 0) lines.push('', colours.bold(sumLine(judged)));
  return `${lines.map(line => line.trimEnd()).join('\n')}\n`;
}

function judgedLines(
  { sample, findings, notChecked, compared }: Judged,
  rules: readonly string[],
  earlier: Earlier | null,
  colours: Colours,
): string[] {
  const { target, resources, takenAt } = sample;
  const name = target.name === null ? '' : `, “${printable(target.name)}”`;
  const heading = `process ${shorten(printable(target.comm), 20)} (${target.pid}), ${plural(resources.length, 'dma-buf')}, ${takenAt}${name}`;
  const mark = (finding: Finding) => (compared?.isNew(finding) ? 'new: ' : '');
  return [
    colours.bold(shorten(heading, WIDTH)),
    ...(earlier ? sinceLines(earlier) : []),
    ...foundLines(findings, colours, 'first', mark),
    ...(compared ? goneLines(compared.gone, sample.resources, colours) : []),
    ...(findings.length === 0 ? noneLines(rules, notChecked, '') : []),
    ...notCheckedLines(notChecked, colours),
  ];
}

function sinceLines({ file, samples, from, to }: Earlier): string[] {
  return wrap(`compared with ${printable(file)}: ${plural(samples, 'sample')} from ${from} to ${to}`, WIDTH);
}

function goneLines(
  gone: readonly Finding[],
  resources: Judged['sample']['resources'],
  colours: Colours,
): string[] {
  if (gone.length === 0) return [];
  return [
    '',
    colours.bold('Gone since the session'),
    ...gone.flatMap(({ rule, resource, title }) => {
      const there = resource === null || resources.some(({ inode }) => inode === resource);
      const who = resource === null ? '' : `dma-buf ${resource}${there ? '' : ' (is no more)'}: `;
      return wrap(printable(`${rule}: ${who}${title}`), WIDTH - 4).map(
        (part, i) => `${i === 0 ? '  ' : '    '}${part}`,
      );
    }),
  ];
}

/** `1 error, no warnings; 3 rules could not look at everything` over all processes. */
function sumLine(judged: readonly Judged[]): string {
  const count = (severity: Finding['severity']) =>
    judged.reduce(
      (sum, { findings }) => sum + findings.filter(finding => finding.severity === severity).length,
      0,
    );
  const open = new Set(judged.flatMap(({ notChecked }) => notChecked.map(({ rule }) => rule))).size;
  const info = count('info');
  return [
    `${plural(count('error'), 'error')}, ${plural(count('warning'), 'warning')}`,
    info > 0 ? `, ${info} for information` : '',
    judged.length > 1 ? ` in ${plural(judged.length, 'process', 'processes')}` : '',
    open > 0 ? `; ${plural(open, 'rule')} could not look at everything` : '',
    '.',
  ].join('');
}
