import type { Finding, NotChecked } from '../../model/snapshot.ts';

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

/** Findings of one rule and severity: a rule may find both what is wrong now and what is good to know. */
export interface RuleFindings {
  readonly rule: string;
  readonly severity: Severity;
  readonly findings: readonly KeyedFinding[];
}

const SEVERITIES = ['error', 'warning', 'info'] as const;

/** By severity, worst first, then by rule; rules, and findings of a rule, keep their order. */
export function bySeverity(findings: readonly Finding[]): RuleFindings[] {
  const all = keyed(findings);
  return SEVERITIES.flatMap(severity => {
    const rules = new Map<string, KeyedFinding[]>();
    for (const one of all) {
      if (one.finding.severity !== severity) continue;
      const before = rules.get(one.finding.rule);
      if (before === undefined) rules.set(one.finding.rule, [one]);
      else before.push(one);
    }
    return [...rules].map(([rule, of]): RuleFindings => ({ rule, severity, findings: of }));
  });
}

/** Rules that could not look at everything for one reason. */
export interface Unchecked {
  readonly because: string;
  readonly rules: readonly string[];
  /** What would let them run; `null`: no right would. */
  readonly grant: string | null;
}

/** The rules that were not checked, those with one reason together, in the order of their first. */
export function byReason(notChecked: readonly NotChecked[]): Unchecked[] {
  const reasons = new Map<string, Unchecked>();
  for (const { rule, because, grant = null } of notChecked) {
    const name = `${because}\n${grant ?? ''}`;
    const before = reasons.get(name);
    reasons.set(name, { because, grant, rules: [...(before?.rules ?? []), rule] });
  }
  return [...reasons.values()];
}

/** ` (1 muted)`: goes after a count of all findings, so that a muted one is told apart and never missing. */
export const mutedText = (all: number, heard: number): string =>
  all > heard ? ` (${all - heard} muted)` : '';
