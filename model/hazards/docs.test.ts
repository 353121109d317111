/** docs/HAZARDS.md says what the table of rules says. `npm run docs:hazards` writes the part of it that is generated. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { cases } from '../../test/rig/cases/index.ts';
import { RULES } from './index.ts';

const path = fileURLToPath(new URL('../../docs/HAZARDS.md', import.meta.url));
const text = readFileSync(path, 'utf8');
const BEGIN = '<!-- rules: npm run docs:hazards writes them -->\n';
const END = '<!-- end of rules -->\n';

/** The page with the table of rules as it has to be. */
function written(): string {
  const [before, rest, ...more] = text.split(BEGIN);
  const [, after] = rest?.split(END) ?? [];
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`${path}: the marks of the table of rules are not there once each`);
  const rows = RULES.map(({ id, severity, fires }) => `| [${id}](#${id}) | ${severity} | ${fires} |`);
  return [
    before,
    BEGIN,
    '| rule | severity | fires when |\n|---|---|---|\n',
    ...rows.map(row => `${row}\n`),
    END,
    after,
  ].join('');
}

test('the table at the top is that of the rules', async () => {
  for (const { fires } of RULES) expect(fires).not.toMatch(/[|\n]/);
  await expect(written()).toMatchFileSnapshot(path);
});

test('one section a rule, in the order of the table', () => {
  const sections = [...text.matchAll(/^## ([a-z-]+)$/gm)].map(match => match[1]);
  expect(sections).toEqual(RULES.map(({ id }) => id));
});

describe.each(RULES.map(({ id }) => id))('the section of %s', id => {
  const section = text.split(/^## /m).find(part => part.startsWith(`${id}\n`)) ?? '';
  test('has what the kernel does, how it is shown, and what to do', () => {
    for (const mark of [/^\*Kernel( and QEMU)?:\*/gm, /^\*Reproduce:\*/gm, /^\*Do:\*/gm])
      expect(section.match(mark) ?? [], String(mark)).toHaveLength(1);
  });
  test('names cases of the rig that are there, on a kernel and a boot of theirs', () => {
    const told = [...section.matchAll(/rig\.js(?: --kernel (\S+))?(?: --boot (\S+))? --case "([^"]+)"/g)];
    expect(told.length).toBe(section.split('rig.js').length - 1);
    for (const [line, kernel, boot, name = ''] of told) {
      const meant = cases.filter(
        each =>
          each.name.includes(name) &&
          (boot === undefined || each.boot === boot) &&
          (kernel === undefined || !each.kernels || each.kernels.some(of => of === kernel)),
      );
      expect(meant, line).not.toEqual([]);
    }
  });
});
