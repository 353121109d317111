import type { Finding } from '../../model/snapshot.ts';

export type Severity = Finding['severity'];

const RANK = { error: 3, warning: 2, info: 1 } as const;

/** For sorting: none is 0, the worst is highest. */
export const severityRank = (severity: Severity | undefined): number => (severity ? RANK[severity] : 0);

/** The worst severity of each resource that has findings. */
export function worstByResource(findings: readonly Finding[]): Map<number, Severity> {
  const worst = new Map<number, Severity>();
  for (const { resource, severity } of findings) {
    if (resource === null) continue;
    if (severityRank(severity) > severityRank(worst.get(resource))) worst.set(resource, severity);
  }
  return worst;
}

/** The worst of all; `null` without findings. */
export function worstOf(findings: readonly Finding[]): Severity | null {
  return findings.reduce<Severity | null>(
    (worst, { severity }) => (severityRank(severity) > severityRank(worst ?? undefined) ? severity : worst),
    null,
  );
}

export interface KeyedFinding {
  /** The same in the next sample, so that what the user opened stays open. */
  readonly key: string;
  readonly finding: Finding;
}

/** Findings with names that survive a refresh: rule, resource, and which one of several such. */
export function keyed(findings: readonly Finding[]): KeyedFinding[] {
  const seen = new Map<string, number>();
  return findings.map(finding => {
    const name = `${finding.rule} ${finding.resource ?? ''}`;
    const nth = seen.get(name) ?? 0;
    seen.set(name, nth + 1);
    return { key: `${name} ${nth}`, finding };
  });
}

export interface RuleFindings {
  readonly rule: string;
  readonly findings: readonly KeyedFinding[];
}

/** By rule, worst first; rules that are equally bad, and findings of a rule, keep their order. */
export function byRule(findings: readonly Finding[]): RuleFindings[] {
  const rules = new Map<string, KeyedFinding[]>();
  for (const one of keyed(findings)) {
    const before = rules.get(one.finding.rule);
    if (before === undefined) rules.set(one.finding.rule, [one]);
    else before.push(one);
  }
  const rank = ({ findings: of }: RuleFindings) =>
    severityRank(worstOf(of.map(({ finding }) => finding)) ?? undefined);
  return [...rules]
    .map(
      ([rule, of]): RuleFindings => ({
        rule,
        findings: of.sort((a, b) => severityRank(b.finding.severity) - severityRank(a.finding.severity)),
      }),
    )
    .sort((a, b) => rank(b) - rank(a));
}
