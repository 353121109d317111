import { describe, expect, test } from 'vitest';
import { RULES } from '../../model/hazards/index.ts';
import type { Finding } from '../../model/snapshot.ts';
import { expectPrintable } from '../../test/printed.ts';
import { hostileTexts, poisoned, someResource, someSnapshot } from '../../test/snapshots.ts';
import { coloursFor } from './colours.ts';
import { findingLines } from './findings.ts';

const finding = (change: Partial<Finding> = {}): Finding => ({
  rule: 'disconnected',
  severity: 'error',
  resource: 7,
  title: '3 of 256 pages no longer the guest’s',
  explanation: 'The buffer still holds the pages that it took.',
  remedy: 'Have the guest make the resource anew.',
  evidence: [
    {
      source: 'kernel-memory',
      field: 'PFNs',
      value: '0x1-0x3',
      recheck: `sudo pinscope snapshot --pid 189 --resource 7 --json | tr -d ' \\n' | tr '{' '\\n' | grep '"pfn":'`,
    },
  ],
  reference: 'docs/HAZARDS.md#disconnected',
  ...change,
});
function printed(change: Parameters<typeof someSnapshot>[0], resource: number | null = null): string {
  // snapshotText() trims its lines.
  const lines = findingLines(someSnapshot(change), coloursFor({}), resource);
  const text = `${lines.map(line => line.trimEnd()).join('\n')}\n`;
  expectPrintable(text);
  return text;
}

test('a finding as a person reads it', () => {
  expect(printed({ findings: [finding()] })).toBe(`
ERROR    disconnected
         dma-buf 7: 3 of 256 pages no longer the guest’s.
         The buffer still holds the pages that it took.
         What to do: Have the guest make the resource anew.
         More: docs/HAZARDS.md#disconnected
`);
});

describe('evidence', () => {
  test('comes with the one resource that was asked for, and its shell line can be copied', () => {
    const text = printed({ findings: [finding(), finding({ resource: 8, title: 'of another' })] }, 7);
    expect(text).not.toContain('of another');
    const [, shell = ''] = /PFNs: 0x1-0x3\n([\s\S]*)/.exec(text) ?? [];
    // A line that ends in | goes on in the next one.
    expect(shell.replace(/\n\s*/g, ' ').trim()).toBe(finding().evidence[0]?.recheck);
    for (const line of shell.trimEnd().split('\n').slice(0, -1)) expect(line).toMatch(/ \|$/);
  });
  test('findings of the process are shown with every resource', () => {
    const whole = finding({
      rule: 'private-ram',
      resource: null,
      title: 'Guest memory mem1 is mapped private',
    });
    expect(printed({ findings: [whole] }, 7)).toContain('         Guest memory mem1 is mapped private.\n');
  });
});

test('of a rule that fires for hundreds the first are named, the others counted, and the text is there once', () => {
  const findings = Array.from({ length: 300 }, (_, i) => finding({ resource: i }));
  const text = printed({ findings });
  expect(text).toContain('… and 292 more dma-bufs');
  expect(text.split('What to do').length).toBe(2);
});

describe('no finding', () => {
  const open = (...rules: string[]) => rules.map(rule => ({ rule, because: 'kernel-memory is denied' }));
  test('names the rules that ran, and does not say that all is well', () => {
    const text = printed({ notChecked: open('remote-node') });
    expect(text.replace(/\s+/g, ' ')).toMatch(
      new RegExp(
        `^ None of ${RULES.length - 1} rules fired: disconnected, .* Nothing else was looked for\\. `,
      ),
    );
    expect(text).not.toMatch(/\b(safe|fine|ok|healthy)\b/i);
    expect(text).toContain('\nNot checked\n  remote-node: because kernel-memory is denied\n');
  });
  test('where no rule ran nothing is said to have run', () => {
    const text = printed({ notChecked: open(...RULES.map(({ id }) => id)) });
    expect(text).not.toContain('None of');
    expect(text.match(/because/g)?.length).toBe(1);
  });
  test('a process without any buffer needs no such line', () => {
    expect(printed({ resources: [] })).toBe('\n');
  });
  test('of one chosen buffer, when another has something', () => {
    const resources = [someResource(), someResource({ inode: 8 })];
    expect(printed({ resources, findings: [finding()] }, 8)).toContain(
      `None of ${RULES.length} rules fired for dma-buf 8`,
    );
  });
});

test.each(hostileTexts)('a hostile text %# leaves the terminal whole', text => {
  const findings = [finding(), finding({ rule: 'other', resource: null })];
  const notChecked = [{ rule: 'remote-node', because: 'x' }];
  const snapshot = someSnapshot({ findings, notChecked });
  printed(poisoned({ findings: snapshot.findings, notChecked }, ['severity'], text), null);
  printed(poisoned({ findings: snapshot.findings, notChecked }, ['severity'], text), 7);
});
