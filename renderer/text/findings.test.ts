import { expect, test } from 'vitest';
import type { Finding } from '../../model/snapshot.ts';
import { byRule, keyed, worstByResource, worstOf } from './findings.ts';

const finding = (resource: number | null, severity: Finding['severity'], rule = 'r'): Finding => ({
  rule,
  severity,
  resource,
  title: '',
  explanation: '',
  remedy: '',
  evidence: [],
  reference: '',
});

test('the worst finding of each resource counts', () => {
  const findings = [
    finding(1, 'info'),
    finding(1, 'error'),
    finding(1, 'warning'),
    finding(2, 'warning'),
    finding(null, 'error'),
  ];
  expect(worstByResource(findings)).toEqual(
    new Map([
      [1, 'error'],
      [2, 'warning'],
    ]),
  );
  expect([worstOf(findings), worstOf(findings.slice(3, 4)), worstOf([])]).toEqual(['error', 'warning', null]);
});

test('a finding has one name in every sample, and no two share one', () => {
  const sample = [
    finding(1, 'info', 'a'),
    finding(1, 'error', 'a'),
    finding(2, 'info', 'a'),
    finding(1, 'info', 'b'),
  ];
  const keys = keyed(sample).map(({ key }) => key);
  expect(new Set(keys).size).toBe(4);
  expect(keyed(sample.map(one => ({ ...one, title: 'counted anew' }))).map(({ key }) => key)).toEqual(keys);
  // One that ends does not rename those of other resources.
  expect(keyed(sample.slice(2)).map(({ key }) => key)).toEqual(keys.slice(2));
});

test('rules come worst first, and so do the findings of a rule', () => {
  const groups = byRule([
    finding(1, 'info', 'mild'),
    finding(2, 'warning', 'bad'),
    finding(3, 'error', 'bad'),
    finding(4, 'warning', 'mild'),
  ]);
  expect(groups.map(({ rule, findings }) => [rule, findings.map(one => one.finding.resource)])).toEqual([
    ['bad', [3, 2]],
    ['mild', [4, 1]],
  ]);
});
