import { plural } from '../../model/format.ts';
import { RULES } from '../../model/hazards/index.ts';
import type { Finding, NotChecked, Snapshot } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import type { Colours } from './colours.ts';
import { WIDTH } from './table.ts';
import { shorten, widthOf, wrap } from './width.ts';

/** Resources named of one rule; the others are counted. */
const NAMED = 8;
/** Longest sentence that is shown: names from outside may be in it. */
const LONGEST = 1200;

const block = (text: string, indent: string, first = indent): string[] =>
  wrap(shorten(printable(text), LONGEST), WIDTH - indent.length).map(
    (line, i) => `${i === 0 ? first : indent}${line}`,
  );

/**
 * What the rules found: once a rule, with the resources that it found it in; with one resource chosen, its own findings and those of
 * the process, with their evidence and the shell lines that show it again. What was not checked comes after, with the reasons.
 */
export function findingLines(snapshot: Snapshot, colours: Colours, resource: number | null): string[] {
  const { findings, notChecked } = snapshot;
  const shown = findings.filter(
    finding => resource === null || finding.resource === resource || finding.resource === null,
  );
  const rules = [...new Set(shown.map(({ rule }) => rule))];
  return [
    ...rules.flatMap(rule =>
      ruleLines(
        shown.filter(finding => finding.rule === rule),
        colours,
        resource !== null,
      ),
    ),
    ...(shown.length === 0 ? noneLines(snapshot, resource) : []),
    ...notCheckedLines(notChecked, colours),
  ];
}

function ruleLines(findings: readonly Finding[], colours: Colours, evidence: boolean): string[] {
  const [one] = findings;
  if (!one) return [];
  const paint = { error: colours.bad, warning: colours.warn, info: colours.dim }[one.severity];
  const indent = ' '.repeat(9);
  const more = findings.length - NAMED;
  const lines = [
    '',
    paint(`${one.severity.toUpperCase().padEnd(9)}${shorten(printable(one.rule), WIDTH - 9)}`),
    ...findings.slice(0, NAMED).flatMap(({ resource, title }) => {
      const who = resource === null ? '' : `dma-buf ${resource}: `;
      return block(`${who}${title}.`, indent).map(colours.bold);
    }),
    ...(more > 0 ? [`${indent}… and ${plural(more, 'more dma-buf')}`] : []),
    ...block(one.explanation, indent),
    ...block(`What to do: ${one.remedy}`, indent),
    ...block(`More: ${one.reference}`, indent).map(colours.dim),
  ];
  if (!evidence) return lines;
  for (const { source, field, value, recheck } of findings.flatMap(finding => finding.evidence)) {
    lines.push(...block(`${source}, ${field}: ${value}`, `${indent}  `, `${indent}- `));
    lines.push(...shellLines(recheck, `${indent}    `).map(colours.dim));
  }
  return lines;
}

/** A shell line to be copied: a pipe may end a line, and its backslashes are its own. */
function shellLines(recheck: string, indent: string): string[] {
  const pieces = printable(recheck).replaceAll('\\\\', '\\').split(' | ');
  const lines: string[] = [];
  for (const [i, piece] of pieces.entries()) {
    const whole = i < pieces.length - 1 ? `${piece} |` : piece;
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(whole) <= WIDTH - indent.length)
      lines[lines.length - 1] = `${last} ${whole}`;
    else lines.push(shorten(whole, WIDTH - indent.length));
  }
  return lines.map(line => indent + line);
}

/** Says what was looked for: finding nothing is no proof of anything else. */
function noneLines({ notChecked, resources }: Snapshot, resource: number | null): string[] {
  if (resources.length === 0) return [];
  const ran = RULES.filter(({ id }) => notChecked.every(({ rule }) => rule !== id)).map(({ id }) => id);
  if (ran.length === 0) return [];
  const of = resource === null ? '' : ` for dma-buf ${resource}`;
  return [
    '',
    ...wrap(
      `None of ${plural(ran.length, 'rule')} fired${of}: ${ran.join(', ')}. Nothing else was looked for.`,
      WIDTH,
    ),
  ];
}

/** Rules with the same reason are told together. */
function notCheckedLines(notChecked: readonly NotChecked[], colours: Colours): string[] {
  const reasons = new Map<string, string[]>();
  for (const { rule, because } of notChecked) reasons.set(because, [...(reasons.get(because) ?? []), rule]);
  if (reasons.size === 0) return [];
  return [
    '',
    colours.bold('Not checked'),
    ...[...reasons].flatMap(([because, rules]) =>
      block(`${rules.join(', ')}: because ${because}`, '    ', '  '),
    ),
  ];
}
