import type { Sample } from '../../model/run-columns.ts';
import { bySeverity, type KeyedFinding, type RuleFindings } from '../text/findings.ts';
import type { Mutes } from './mutes.svelte.ts';

/** What the pane beside the list explains: a finding, or a rule alone. */
export interface Explained {
  readonly rule: string;
  /** Of the newest sample; `null`: the rule was chosen without one, or the finding ended. */
  readonly finding: KeyedFinding | null;
  /** The finding that was chosen is not in the newest sample. */
  readonly ended: boolean;
}

/** Which finding is looked at, by a name that survives a refresh. The one owner: the list, the pane and the commands ask here. */
export class Findings {
  #rule = $state.raw<string | null>(null);
  #key = $state.raw<string | null>(null);
  readonly #mutes: Mutes;
  #last: {
    readonly findings: Sample['findings'];
    readonly muted: ReadonlySet<string>;
    readonly groups: readonly RuleFindings[];
  } | null = null;

  constructor(mutes: Mutes) {
    this.#mutes = mutes;
  }

  /** What is heard, as the list has it. The same answer for the same sample. */
  groups({ findings }: Pick<Sample, 'findings'>): readonly RuleFindings[] {
    const muted = this.#mutes.rules;
    if (this.#last?.findings !== findings || this.#last.muted !== muted)
      this.#last = { findings, muted, groups: bySeverity(this.#mutes.heard(findings)) };
    return this.#last.groups;
  }

  choose({ key, finding }: KeyedFinding): void {
    this.#rule = finding.rule;
    this.#key = key;
  }

  /** Explains a rule by itself. */
  chooseRule(rule: string): void {
    this.#rule = rule;
    this.#key = null;
  }

  /** What is explained: what was chosen, or without a choice the worst finding. `null`: there is nothing to explain. */
  explained(sample: Pick<Sample, 'findings'>): Explained | null {
    const heard = this.#heard(sample);
    if (this.#rule === null) {
      const [first] = heard;
      return first === undefined ? null : { rule: first.finding.rule, finding: first, ended: false };
    }
    if (this.#key === null) return { rule: this.#rule, finding: null, ended: false };
    const here = (one: KeyedFinding) => one.key === this.#key;
    const finding =
      heard.find(here) ??
      bySeverity(sample.findings.filter(({ rule }) => rule === this.#rule))
        .flatMap(({ findings }) => findings)
        .find(here) ??
      null;
    return { rule: this.#rule, finding, ended: finding === null };
  }

  /**
   * To the finding after or before the one that is explained, in the order of the list; around its end.
   * @param seen whether the list is in view: from elsewhere, the first step leads to the one that is explained unasked
   */
  step(sample: Pick<Sample, 'findings'>, by: 1 | -1, seen = true): void {
    const heard = this.#heard(sample);
    if (this.#rule === null && !seen && by > 0) {
      const [first] = heard;
      if (first !== undefined) this.choose(first);
      return;
    }
    const at = heard.findIndex(({ key }) => key === this.explained(sample)?.finding?.key);
    const next = heard[at < 0 ? (by > 0 ? 0 : heard.length - 1) : (at + by + heard.length) % heard.length];
    if (next !== undefined) this.choose(next);
  }

  #heard(sample: Pick<Sample, 'findings'>): KeyedFinding[] {
    return this.groups(sample).flatMap(({ findings }) => findings);
  }
}
