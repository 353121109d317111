import { expect, test } from 'vitest';
import type { Finding } from '../../model/snapshot.ts';
import { Mutes } from './mutes.svelte.ts';

const finding = (rule: string): Finding => ({
  rule,
  severity: 'warning',
  resource: 7,
  title: '',
  explanation: '',
  remedy: '',
  evidence: [],
  reference: '',
});

test('a muted rule is not heard until it is muted a second time; others are', () => {
  const mutes = new Mutes();
  const findings = [finding('a'), finding('b'), finding('a')];
  expect(mutes.heard(findings)).toBe(findings);
  expect(mutes.toggle('a')).toBe(true);
  expect(mutes.heard(findings).map(({ rule }) => rule)).toEqual(['b']);
  expect([mutes.has('a'), mutes.has('b'), [...mutes.rules]]).toEqual([true, false, ['a']]);
  expect(mutes.toggle('a')).toBe(false);
  expect(mutes.heard(findings)).toBe(findings);
});

test('another window hears everything', () => {
  new Mutes().toggle('a');
  expect(new Mutes().has('a')).toBe(false);
});
