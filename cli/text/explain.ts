import type { Input } from '../../model/hazards/inputs.ts';
import type { SourceState } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import type { Explained } from '../explain.ts';
import type { Colours } from './colours.ts';
import { foundLines, notCheckedLines, shellLines } from './findings.ts';
import { WIDTH } from './table.ts';
import { shorten, wrap } from './width.ts';

/** A rule for a person: when it fires, what it rests on and the state of that, what it says of the process. At most 100 columns. */
export function explainedText({ rule, inputs, of }: Explained, colours: Colours): string {
  const where = of
    ? `process ${shorten(printable(of.target.comm), 20)} (${of.target.pid}), ${of.takenAt}`
    : 'this host; --pid shows those of a process';
  const lines = [
    `${colours.bold(rule.id)}  ${rule.severity}`,
    ...wrap(rule.fires, WIDTH - 2).map(part => `  ${part}`),
    colours.dim(`  More: docs/HAZARDS.md#${rule.id}`),
    '',
    colours.bold(`Rests on, of ${where}`),
    ...inputs.flatMap(input => inputLines(input, of !== null, colours)),
    ...(of ? verdictLines(of, colours) : []),
  ];
  return `${lines.map(line => line.trimEnd()).join('\n')}\n`;
}

function inputLines({ words, sources, recheck }: Input, ofProcess: boolean, colours: Colours): string[] {
  return [
    `  ${words}`,
    ...(sources.length === 0 ? ['    no file tells it'] : []),
    ...sources.flatMap(source => sourceLines(source, ofProcess, colours)),
    ...(ofProcess ? shellLines(recheck, '      ').map(colours.dim) : []),
  ];
}

function sourceLines(
  { name, state, detail, grant, costMs }: SourceState,
  ofProcess: boolean,
  colours: Colours,
) {
  if (!ofProcess && state === 'absent' && costMs === 0)
    return [`    ${printable(name)}: depends on the process`];
  const paint = state === 'ok' ? (text: string) => text : colours.warn;
  const needs = grant === undefined ? '' : `; needs ${grant}`;
  return wrap(printable(`${name}: ${state}, ${detail}${needs}`), WIDTH - 6).map((part, i) =>
    paint(`${i === 0 ? '    ' : '      '}${part}`),
  );
}

function verdictLines({ findings, notChecked }: NonNullable<Explained['of']>, colours: Colours): string[] {
  if (findings.length > 0)
    return [...foundLines(findings, colours, 'all'), ...notCheckedLines(notChecked, colours)];
  return notChecked.length > 0
    ? notCheckedLines(notChecked, colours)
    : ['', 'It was checked, and did not fire.'];
}
