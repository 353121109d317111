import type { Sample } from '../run-columns.ts';
import type { Finding, NotChecked } from '../snapshot.ts';
import { amplificationRules } from './amplification.ts';
import { backingRules } from './backing.ts';
import { blockRules } from './blocks.ts';
import { creationRules } from './creation.ts';
import { discardRules } from './discard.ts';
import { hugetlbRules } from './hugetlb.ts';
import { bugRules } from './known-bugs.ts';
import { leakRules } from './leak.ts';
import { lifetimeRules } from './lifetime.ts';
import { limitRules } from './limits.ts';
import { movableRules } from './movable.ts';
import { nodeRules } from './nodes.ts';
import { outlivedRules } from './outlived.ts';
import type { Past } from './past.ts';
import { pinningRules } from './pinning.ts';
import { type Rule, SEVERITY_RANK, toFinding, toNotChecked, type Unjudged } from './rule.ts';

export type { Rule } from './rule.ts';

/** Every hazard that is looked for. docs/HAZARDS.md has a section with the id of each. */
export const RULES: readonly Rule[] = [
  ...backingRules,
  ...discardRules,
  ...movableRules,
  ...blockRules,
  ...pinningRules,
  ...lifetimeRules,
  ...outlivedRules,
  ...leakRules,
  ...amplificationRules,
  ...hugetlbRules,
  ...limitRules,
  ...creationRules,
  ...nodeRules,
  ...bugRules,
];

/**
 * What is wrong with a sample, as far as its readings tell: findings by severity, then resource (those of the process first), one a
 * rule and resource; and every rule that could not look at everything, with the reason. No finding of such a rule says nothing.
 * @param past earlier samples of the same process, for the rules where time matters
 * @param rules to ask; all by default
 */
export function evaluate(
  sample: Unjudged,
  past: Past | null = null,
  rules: readonly Rule[] = RULES,
): Pick<Sample, 'findings' | 'notChecked'> {
  const findings: Finding[] = [];
  const notChecked: NotChecked[] = [];
  for (const rule of rules) {
    const { found, because } = rule.check(sample, past);
    findings.push(...found.map(told => toFinding(rule, told)));
    if (because.length > 0) notChecked.push(toNotChecked(rule, because));
  }
  findings.sort(
    (a, b) =>
      SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity] || (a.resource ?? -1) - (b.resource ?? -1),
  );
  return { findings, notChecked };
}
