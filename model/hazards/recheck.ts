import type { Finding } from '../snapshot.ts';

/**
 * A shell line of evidence as it works where it is shown. Rules know this program as `pinscope`; how it is called is known where it
 * runs: from a checkout it is on nobody's PATH, nor on sudo's. Only as the command with which the line begins, with or without sudo:
 * further on the word may be anything.
 * @param program words of a shell, quoted where they need it
 */
export const recheckAs = (line: string, program: string): string =>
  line.replace(/^(sudo )?pinscope (?=[a-z])/, (_, sudo: string = '') => `${sudo}${program} `);

/** Findings with such lines. */
export const findingsAs = (findings: readonly Finding[], program: string): Finding[] =>
  findings.map(finding => ({
    ...finding,
    evidence: finding.evidence.map(each => ({ ...each, recheck: recheckAs(each.recheck, program) })),
  }));
