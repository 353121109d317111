import { expect, test } from 'vitest';
import type { Finding } from '../../model/snapshot.ts';
import { Findings } from './findings.svelte.ts';
import { Mutes } from './mutes.svelte.ts';

const finding = (rule: string, resource: number, severity: Finding['severity'] = 'warning'): Finding => ({
  rule,
  severity,
  resource,
  title: `${rule} of ${resource}`,
  explanation: '',
  remedy: '',
  evidence: [],
  reference: '',
});
const sample = { findings: [finding('mild', 1, 'info'), finding('bad', 2, 'error'), finding('cma', 3)] };

function walked(findings: Findings, of: { findings: Finding[] }, by: 1 | -1, times: number) {
  return Array.from({ length: times }, () => {
    findings.step(of, by);
    return findings.explained(of)?.finding?.finding.resource ?? null;
  });
}

test('without a choice the worst is explained; steps go through the list and around its end', () => {
  const findings = new Findings(new Mutes());
  expect(findings.explained({ findings: [] })).toBeNull();
  expect(findings.explained(sample)?.finding?.finding.resource).toBe(2);
  expect(walked(findings, sample, 1, 4)).toEqual([3, 1, 2, 3]);
  expect(walked(findings, sample, -1, 3)).toEqual([2, 1, 3]);
});

test('a choice survives the next sample, and says when its finding ended', () => {
  const findings = new Findings(new Mutes());
  findings.step(sample, 1);
  const again = { findings: sample.findings.map(one => ({ ...one, title: 'counted anew' })) };
  expect(findings.explained(again)).toMatchObject({
    rule: 'cma',
    ended: false,
    finding: { finding: { title: 'counted anew' } },
  });
  expect(findings.explained({ findings: sample.findings.slice(0, 2) })).toEqual({
    rule: 'cma',
    finding: null,
    ended: true,
  });
});

test('steps pass over what is muted, while what was muted stays explained until another is chosen', () => {
  const mutes = new Mutes();
  const findings = new Findings(mutes);
  findings.step(sample, 1);
  mutes.toggle('cma');
  expect(findings.explained(sample)?.finding?.finding.resource).toBe(3);
  expect(findings.groups(sample).map(({ rule }) => rule)).toEqual(['bad', 'mild']);
  expect(walked(findings, sample, 1, 3)).toEqual([2, 1, 2]);
  mutes.toggle('bad');
  mutes.toggle('mild');
  expect(walked(findings, sample, 1, 1)).toEqual([2]);
});

test('a rule is explained without a finding', () => {
  const findings = new Findings(new Mutes());
  findings.chooseRule('pin-in-cma');
  expect(findings.explained(sample)).toEqual({ rule: 'pin-in-cma', finding: null, ended: false });
  expect(walked(findings, sample, -1, 1)).toEqual([1]);
});

test('the first step from another view leads to the worst finding, in the list to the one after it', () => {
  const [elsewhere, inList] = [new Findings(new Mutes()), new Findings(new Mutes())];
  elsewhere.step(sample, 1, false);
  inList.step(sample, 1, true);
  const [first, second] = [elsewhere, inList].map(each => each.explained(sample)?.finding?.key);
  const all = elsewhere.groups(sample).flatMap(({ findings }) => findings.map(({ key }) => key));
  expect([first, second]).toEqual(all.slice(0, 2));
});
