import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../eventually.ts';
import { damagedCopy } from '../sessions.ts';
import { launch } from './launch.ts';
import { temporary } from './programs.ts';
import { BUNDLED } from './walk.ts';

const slider = (page: Page) =>
  page.getByRole('region', { name: 'Recording' }).getByRole('slider', { name: 'Sample' });
const where = async (page: Page) => Number(await slider(page).getAttribute('aria-valuenow'));
const notices = (page: Page) => page.getByRole('region', { name: 'Notices' });

/** A process that is called as QEMU is: the list has it, though it holds nothing. */
async function qemuByName(): Promise<number> {
  const file = join(temporary(), 'qemu-system-none');
  copyFileSync('/bin/sleep', file);
  const child = spawn(file, ['600'], { argv0: file, stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child.pid ?? 0;
}

describe('sessions in the window', () => {
  test('the example opens where something goes wrong, and is walked through by keyboard', async () => {
    const { page } = await launch();
    await page.keyboard.press('Control+o');
    await slider(page).waitFor();
    await page.keyboard.press('Alt+2');
    const grid = page.getByRole('grid', { name: 'Resources' });
    await grid.getByText('24 disconnected').waitFor();
    const opened = await where(page);
    await page.keyboard.press('Alt+,');
    await eventually(async () => expect(await where(page)).toBe(opened - 1));
    // One sample before, every page was the guest's.
    await eventually(async () => expect(await grid.getByText('disconnected').count()).toBe(0));
    await page.keyboard.press('Alt+.');
    await grid.getByText('24 disconnected').waitFor();
    await page.keyboard.press('Alt+Home');
    await eventually(async () => expect(await where(page)).toBe(1));
    await page.keyboard.press('Control+p');
    await eventually(async () => expect(await where(page)).toBeGreaterThan(2));
    await page.keyboard.press('Control+p');
    const paused = await where(page);
    await page.waitForTimeout(2500);
    expect(await where(page)).toBe(paused);
    await slider(page).press('End');
    await eventually(async () =>
      expect(await slider(page).getAttribute('aria-valuetext')).toMatch(/^sample 90 of 90, /),
    );
  });

  test('a file is opened, also a damaged one, and one that is none is refused', async () => {
    const { page } = await launch();
    const open = async (name: string, buffer: Buffer) => {
      await page.keyboard.press('Control+Shift+O');
      await page.getByRole('dialog').getByLabel('Session file').setInputFiles({ name, mimeType: '', buffer });
    };
    await page.getByRole('button', { name: 'Recorded example' }).waitFor();
    await open('whole.pinscope', BUNDLED);
    await page.getByText('RECORDING, not live').first().waitFor();
    await notices(page).getByText('whole.pinscope').waitFor();
    await page.keyboard.press('Alt+2');
    await page.getByRole('grid', { name: 'Resources' }).getByText('2025').first().waitFor();

    await open('damaged.pinscope', damagedCopy(BUNDLED));
    await notices(page)
      .getByText(/samples from sample \d+ on are missing, after the one taken/)
      .waitFor();
    await notices(page)
      .getByText(/The file is whole up to sample \d+ and stops there/)
      .waitFor();

    await open('other.pinscope', Buffer.from('no session'));
    await notices(page)
      .getByText(/other\.pinscope cannot be opened: This is no session of Pinscope/)
      .waitFor();
    expect(await page.getByRole('grid', { name: 'Resources' }).count()).toBe(0);
  });

  test('a process is recorded while the window looks at the recording, and live again', async () => {
    const pid = await qemuByName();
    const data = temporary();
    const { page } = await launch({ args: ['--pid', String(pid)], env: { XDG_DATA_HOME: data } });
    await page.getByRole('status').getByText('LIVE', { exact: true }).waitFor();
    await page.keyboard.press('Control+e');
    await page.getByText(/^recording to .*\.pinscope,/).waitFor();
    const folder = join(data, 'pinscope/sessions');
    const [name = ''] = readdirSync(folder);
    const size = () => statSync(join(folder, name)).size;
    expect([statSync(folder).mode & 0o777, statSync(join(folder, name)).mode & 0o777]).toEqual([
      0o700, 0o600,
    ]);

    // What was recorded until now, while it goes on.
    await page.keyboard.press('Control+Shift+O');
    await page.getByRole('dialog').getByRole('button', { name }).press('Enter');
    await page.getByText('RECORDING, not live').first().waitFor();
    await slider(page).waitFor();
    const before = size();
    await eventually(() => expect(size()).toBeGreaterThan(before));
    await page.keyboard.press('Control+j');
    await page.getByRole('status').getByText('LIVE', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Record', exact: true, pressed: true }).press('Enter');
    await page.getByRole('button', { name: 'Record', exact: true, pressed: false }).waitFor();
    const ended = size();
    await page.waitForTimeout(1500);
    expect(size()).toBe(ended);
  });
});
