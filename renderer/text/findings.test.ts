import { expect, test } from 'vitest';
import type { Finding } from '../../model/snapshot.ts';
import { byReason, bySeverity, keyed, mutedText, worstByResource, worstOf } from './findings.ts';

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

test('findings come by severity and rule, and a rule with two severities stands in both', () => {
  const groups = bySeverity([
    finding(1, 'info', 'mild'),
    finding(2, 'warning', 'bad'),
    finding(3, 'error', 'bad'),
    finding(4, 'warning', 'mild'),
    finding(5, 'error', 'bad'),
  ]);
  expect(
    groups.map(({ rule, severity, findings }) => [severity, rule, findings.map(one => one.finding.resource)]),
  ).toEqual([
    ['error', 'bad', [3, 5]],
    ['warning', 'bad', [2]],
    ['warning', 'mild', [4]],
    ['info', 'mild', [1]],
  ]);
  expect(bySeverity([])).toEqual([]);
});

test('rules with one reason stand together, and another right that is missing is another reason', () => {
  expect(
    byReason([
      { rule: 'a', because: 'x was not read', grant: 'root' },
      { rule: 'b', because: 'y was not read' },
      { rule: 'c', because: 'x was not read', grant: 'root' },
      { rule: 'd', because: 'x was not read' },
    ]),
  ).toEqual([
    { because: 'x was not read', rules: ['a', 'c'], grant: 'root' },
    { because: 'y was not read', rules: ['b'], grant: null },
    { because: 'x was not read', rules: ['d'], grant: null },
  ]);
});

test('a count says what of it is muted', () => {
  expect([mutedText(2, 2), mutedText(2, 1), mutedText(2, 0)]).toEqual(['', ' (1 muted)', ' (2 muted)']);
});
