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
  const { findings, notChecked, resources } = snapshot;
  const shown = findings.filter(
    finding => resource === null || finding.resource === resource || finding.resource === null,
  );
  const of = resource === null ? '' : ` for dma-buf ${resource}`;
  const ids = RULES.map(({ id }) => id);
  return [
    ...foundLines(shown, colours, resource === null ? 'none' : 'all'),
    ...(shown.length === 0 && resources.length > 0 ? noneLines(ids, notChecked, of) : []),
    ...notCheckedLines(notChecked, colours),
  ];
}

/** Of which findings of a rule evidence is shown: of the first it is an example of the others. */
type WhichEvidence = 'none' | 'first' | 'all';

/**
 * Findings by rule and severity, in their order.
 * @param mark a word before the sentence of a finding; none: empty
 */
export function foundLines(
  findings: readonly Finding[],
  colours: Colours,
  evidence: WhichEvidence,
  mark: (finding: Finding) => string = () => '',
): string[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = `${finding.severity} ${finding.rule}`;
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  return [...groups.values()].flatMap(group => ruleLines(group, colours, evidence, mark));
}

function ruleLines(
  findings: readonly Finding[],
  colours: Colours,
  which: WhichEvidence,
  mark: (finding: Finding) => string,
): string[] {
  const [one] = findings;
  if (!one) return [];
  const paint = { error: colours.bad, warning: colours.warn, info: colours.dim }[one.severity];
  const indent = ' '.repeat(9);
  const more = findings.length - NAMED;
  const lines = [
    '',
    paint(`${one.severity.toUpperCase().padEnd(9)}${shorten(printable(one.rule), WIDTH - 9)}`),
    ...findings.slice(0, NAMED).flatMap(finding => {
      const who = finding.resource === null ? '' : `dma-buf ${finding.resource}: `;
      return block(`${mark(finding)}${who}${finding.title}.`, indent).map(colours.bold);
    }),
    ...(more > 0 ? [`${indent}… and ${plural(more, 'more dma-buf')}`] : []),
    ...block(one.explanation, indent),
    ...block(`What to do: ${one.remedy}`, indent),
    ...block(`More: ${one.reference}`, indent).map(colours.dim),
  ];
  const told = which === 'all' ? findings : which === 'first' ? [one] : [];
  for (const { source, field, value, recheck } of told.flatMap(finding => finding.evidence)) {
    lines.push(...block(`${source}, ${field}: ${value}`, `${indent}  `, `${indent}- `));
    lines.push(...shellLines(recheck, `${indent}    `).map(colours.dim));
  }
  return lines;
}

/**
 * A shell line to be copied: it goes on in the next line after a pipe, or behind a backslash. A word that is wider than the screen
 * is cut: JSON has it whole.
 */
export function shellLines(recheck: string, indent: string): string[] {
  const width = WIDTH - indent.length;
  const lines: string[] = [];
  for (const piece of pieces(printable(recheck).replaceAll('\\\\', '\\'))) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(piece) <= width)
      lines[lines.length - 1] = `${last} ${piece}`;
    else lines.push(...broken(piece, width));
  }
  return lines.map(line => indent + line);
}

/** Words of a shell line: quotes keep blanks in. */
const words = (line: string): string[] =>
  line.match(/(?:'[^']*'?|"(?:[^"\\]|\\.)*"?|\\.|[^\s'"\\]|\\$)+/g) ?? [];

/** The commands of a pipe, each with the `|` behind it. */
function pieces(line: string): string[] {
  const found: string[][] = [[]];
  for (const word of words(line)) {
    found.at(-1)?.push(word);
    if (word === '|') found.push([]);
  }
  return found.filter(piece => piece.length > 0).map(piece => piece.join(' '));
}

function broken(piece: string, width: number): string[] {
  if (widthOf(piece) <= width) return [piece];
  const lines: string[] = [];
  let line = '';
  for (const word of words(piece).map(each => shorten(each, width - 2))) {
    if (line === '') line = word;
    else if (widthOf(line) + 1 + widthOf(word) <= width - 2) line += ` ${word}`;
    else {
      lines.push(`${line} \\`);
      line = word;
    }
  }
  return [...lines, line];
}

/**
 * Says what was looked for: finding nothing is no proof of anything else.
 * @param rules that were asked for
 */
export function noneLines(rules: readonly string[], notChecked: readonly NotChecked[], of: string): string[] {
  const ran = rules.filter(id => notChecked.every(({ rule }) => rule !== id));
  if (ran.length === 0) return [];
  return [
    '',
    ...wrap(
      `None of ${plural(ran.length, 'rule')} fired${of}: ${ran.join(', ')}. Nothing else was looked for.`,
      WIDTH,
    ),
  ];
}

/** Rules with the same reason are told together. */
export function notCheckedLines(notChecked: readonly NotChecked[], colours: Colours): string[] {
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
