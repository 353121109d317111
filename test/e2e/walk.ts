import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import AxeBuilder from 'axe-core';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { eventually } from '../eventually.ts';

/** The session that comes with the program. */
export const BUNDLED = readFileSync(
  fileURLToPath(new URL('../../renderer/public/recorded.pinscope', import.meta.url)),
);

const status = (page: Page, mode: string) => page.getByRole('status').filter({ hasText: mode }).waitFor();

/** Serious and critical violations of what is shown now. */
async function seriousViolations(page: Page): Promise<unknown> {
  await page.evaluate(AxeBuilder.source);
  return page.evaluate(
    `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => [id, nodes.length, nodes[0].html.slice(0, 200)]))`,
  );
}

/** Goes to a view by its key, and waits for what it is known by. */
const VIEWS = [
  ['Alt+0', 'region', 'Overview'],
  ['Alt+2', 'grid', 'Resources'],
  ['Alt+7', 'application', 'Page map'],
  ['Alt+4', 'region', 'Findings'],
  ['Alt+5', 'region', 'Host memory'],
  ['Alt+8', 'region', 'Timeline'],
  ['Alt+6', 'region', 'Sources and rights'],
] as const;
async function go(page: Page, wanted: (typeof VIEWS)[number][2]): Promise<void> {
  const [key, role, name] = VIEWS.find(([, , each]) => each === wanted) ?? VIEWS[0];
  await page.keyboard.press(key);
  await page.getByRole(role, { name, exact: true }).waitFor();
}

export interface Walk {
  /** Name of a QEMU that runs, as its -name says. */
  readonly guest: string;
  /** What was copied last. */
  readonly clipboard: () => Promise<string>;
}

/** Uses everything of the console once, by keys alone, as somebody looks for a wrong page. The same in every shell. */
export async function walk(page: Page, { guest, clipboard }: Walk): Promise<void> {
  // Start, and a live process.
  const option = page
    .getByRole('listbox', { name: 'Processes' })
    .getByRole('option', { name: new RegExp(guest) });
  await option.waitFor();
  await page.keyboard.press('Alt+1');
  await page.keyboard.press('Home');
  for (let i = 0; i < 40 && (await option.getAttribute('aria-selected')) !== 'true'; i++)
    await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await status(page, 'LIVE');
  await go(page, 'Overview');
  await page.getByRole('region', { name: 'Verdict' }).waitFor();

  // Something real, in which something is wrong.
  await page.keyboard.press('Control+o');
  await status(page, 'RECORDING, not this machine');
  await page
    .getByRole('region', { name: 'Verdict' })
    .getByRole('button', { name: /24 of 2025 pages no longer the guest’s/ })
    .waitFor();

  // Resources, filter, detail.
  await go(page, 'Resources');
  const grid = page.getByRole('grid', { name: 'Resources' });
  const rows = async () => Number(await grid.getAttribute('aria-rowcount')) - 1;
  const all = await rows();
  await page.keyboard.press('/');
  const field = page.getByRole('combobox', { name: 'Filter resources' });
  await field.pressSequentially('backing == disconected');
  await page.getByText('Did you mean disconnected?').waitFor();
  expect(await rows()).toBe(all);
  await page.keyboard.press('Control+a');
  await field.pressSequentially('backing == disconnected');
  await page.keyboard.press('Enter');
  await page.getByText(`1 of ${all} shown`).waitFor();
  expect(await rows()).toBe(1);
  await page.keyboard.press('Alt+2');
  await page.keyboard.press('Home');
  const detail = page.getByRole('region', { name: /^Detail of dma-buf \d+$/ });
  await detail.getByText('24 pages disconnected').waitFor();
  const inode = /\d+$/.exec((await detail.getAttribute('aria-label')) ?? '')?.[0] ?? '';

  // The page map finds the wrong page; Host memory has its block; the runs have its run.
  await go(page, 'Page map');
  await page.keyboard.press('n');
  const facts = page.getByRole('region', { name: 'Page', exact: true });
  await facts.getByText('disconnected').first().waitFor();
  const pfn = /0x[0-9a-f]+/.exec((await facts.textContent()) ?? '')?.[0] ?? '';
  await go(page, 'Host memory');
  const block = page.getByRole('grid', { name: 'Memory blocks' }).locator('[aria-selected="true"]').first();
  await block.waitFor();
  const start = /0x[0-9a-f]+/.exec((await block.textContent()) ?? '')?.[0] ?? '';
  // A block is 128 MiB: 0x8000 pages of 4 KiB.
  expect(Math.floor(Number(pfn) / 0x8000) * 0x8000).toBe(Number(start));
  await page.keyboard.press('Alt+3');
  const run = page.getByRole('grid', { name: 'Page runs' }).getByRole('row', { selected: true });
  await run.getByText('disconnected').waitFor();

  // Copy as Markdown.
  await page.keyboard.press('Alt+2');
  await page.keyboard.press('Control+Shift+C');
  await eventually(async () =>
    expect(await clipboard()).toMatch(
      new RegExp(`^\\|.*dma-buf.*\\|\\n\\|[-:| ]+\\|\\n\\|.*\\b${inode}\\b.*24 disconnected`),
    ),
  );

  // The finding is explained, its line copied, its rule muted and heard again; its pages are what the map is left with.
  await page.keyboard.press('F8');
  const explained = page.getByRole('region', { name: 'Explanation of disconnected' });
  await explained.getByText('24 of 2025 pages no longer the guest’s').waitFor();
  await explained
    .getByRole('table', { name: 'Inputs of the rule' })
    .getByRole('row', { name: /^pages kernel-memory ok \d\d:\d\d:\d\d/ })
    .waitFor();
  await page.keyboard.press('Control+Alt+r');
  await eventually(async () =>
    expect(await clipboard()).toMatch(/^sudo .*pinscope\S* snapshot --pid .*"backing":"disconnected"'$/),
  );
  const counts = page.getByRole('contentinfo').getByRole('button');
  await page.keyboard.press('Control+m');
  await page.getByRole('region', { name: 'Muted rules' }).getByText('hides 1 finding').waitFor();
  expect(await counts.first().textContent()).toMatch(/1 error and \d+ notes \(1 muted\)/);
  await page.keyboard.press('Control+m');
  await page.getByRole('region', { name: 'Muted rules' }).waitFor({ state: 'detached' });
  expect(await counts.first().textContent()).not.toContain('muted');
  await page.keyboard.press('Control+Enter');
  await page.getByRole('application', { name: 'Page map' }).waitFor();
  const classes = page.getByRole('group', { name: 'Legend' });
  expect(await classes.getByRole('button', { name: /^disconnected/, pressed: true }).count()).toBe(1);
  expect(await classes.getByRole('button', { pressed: true }).count()).toBe(1);
  await facts.getByText('disconnected').first().waitFor();
  await go(page, 'Resources');
  expect(await rows()).toBe(1);

  // Palette, to the filter's end and another theme.
  await page.keyboard.press('Control+k');
  await page
    .getByRole('combobox', { name: 'Search commands, processes and dma-bufs' })
    .pressSequentially('clear filter');
  await page.keyboard.press('Enter');
  await eventually(async () => expect(await rows()).toBe(all));
  const theme = () => page.locator(':root').getAttribute('data-theme');
  const seen = new Set<string | null>();
  for (let i = 0; i < 3 && seen.size < 2; i++) {
    const now = await theme();
    if (!seen.has(now)) {
      seen.add(now);
      for (const [, , name] of VIEWS) {
        await go(page, name);
        expect([now, name, await seriousViolations(page)]).toEqual([now, name, []]);
      }
    }
    await page.keyboard.press('Control+Shift+L');
    await page.waitForTimeout(100);
  }
  expect([...seen].sort()).toEqual(['dark', 'light']);

  // A session file; back to live, pause, live.
  await page.keyboard.press('Control+Shift+O');
  await page
    .getByRole('dialog', { name: 'Open a session' })
    .getByLabel('Session file')
    .setInputFiles({ name: 'mine.pinscope', mimeType: '', buffer: BUNDLED });
  await status(page, 'RECORDING, not live');
  await page.keyboard.press('Control+j');
  await status(page, 'LIVE');
  await page.keyboard.press('Control+p');
  await status(page, 'PAUSED');
  await page.keyboard.press('Control+p');
  await status(page, 'LIVE');
}
