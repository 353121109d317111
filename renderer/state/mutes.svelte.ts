import type { Finding } from '../../model/snapshot.ts';

/** Rules that the user does not want to hear of, until the window ends: a rule that is muted for good is forgotten, not fixed. */
export class Mutes {
  #rules = $state.raw<ReadonlySet<string>>(new Set());

  /** Ids, in the order in which they were muted. */
  get rules(): ReadonlySet<string> {
    return this.#rules;
  }

  has(rule: string): boolean {
    return this.#rules.has(rule);
  }

  /** Mutes a rule, or lets it be heard again. Returns whether it is muted now. */
  toggle(rule: string): boolean {
    const rules = new Set(this.#rules);
    if (!rules.delete(rule)) rules.add(rule);
    this.#rules = rules;
    return rules.has(rule);
  }

  /** What is heard, in its order. */
  heard(findings: readonly Finding[]): readonly Finding[] {
    return this.#rules.size === 0 ? findings : findings.filter(({ rule }) => !this.#rules.has(rule));
  }
}
