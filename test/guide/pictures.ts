/**
 * `npm run pictures`: the pictures of docs/GUIDE.md, from the real program. Every view of the recorded example, in both themes and
 * two sizes, as Debian's Chromium shows it from `pinscope serve`: what stands in docs/pictures is what the program looks like.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Page } from 'playwright-core';
import { CHROMIUM, QUIET } from '../window-switches.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folder = join(root, 'docs/pictures');

const SIZES = [
  { width: 1280, height: 800 },
  { width: 1920, height: 1080 },
] as const;

interface Picture {
  readonly name: string;
  /** Keys that lead to it from the recording. */
  readonly keys: readonly string[];
  /** What is there when it is drawn. */
  readonly ready: (page: Page) => Promise<unknown>;
}

const tab = (page: Page, name: string) =>
  page.locator('[role="tab"][aria-selected="true"]', { hasText: name }).waitFor();

const pictures: readonly Picture[] = [
  { name: 'overview', keys: ['Alt+0'], ready: page => tab(page, 'Overview') },
  {
    name: 'resources',
    keys: ['Alt+2', 'Home'],
    ready: page => page.getByRole('region', { name: /^Detail of dma-buf/ }).waitFor(),
  },
  {
    name: 'filter',
    keys: ['Alt+2', '/'],
    ready: async page => {
      await page.getByRole('combobox', { name: 'Filter resources' }).fill('backing == disconnected');
      await page.keyboard.press('Enter');
      await page
        .getByText(/1 of \d+/)
        .first()
        .waitFor();
    },
  },
  {
    name: 'page-map',
    keys: ['Alt+7', 'f'],
    ready: page => page.getByRole('application', { name: 'Page map' }).waitFor(),
  },
  { name: 'timeline', keys: ['Alt+8'], ready: page => tab(page, 'Timeline') },
  {
    name: 'findings',
    keys: ['Alt+4'],
    ready: page => page.getByRole('region', { name: 'Findings' }).waitFor(),
  },
  {
    name: 'host-memory',
    keys: ['Alt+5'],
    ready: page => page.getByRole('region', { name: 'Host memory' }).waitFor(),
  },
  {
    name: 'sources',
    keys: ['Alt+6'],
    ready: page => page.getByRole('region', { name: 'Sources and rights' }).waitFor(),
  },
  { name: 'palette', keys: ['Alt+0', 'Control+k'], ready: page => page.getByRole('dialog').waitFor() },
  {
    name: 'keys',
    keys: ['Alt+0', 'F1'],
    ready: page => page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor(),
  },
];

/** Starts the program; resolves with the address that it prints. */
function served(): Promise<{ url: string; stop: () => void }> {
  const child = spawn(process.execPath, [join(root, 'dist/cli/pinscope.js'), 'serve'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    let errors = '';
    child.stderr.on('data', data => {
      errors += data;
    });
    child.stdout.once('data', (data: Buffer) =>
      resolve({ url: data.toString().trim(), stop: () => child.kill('SIGTERM') }),
    );
    child.once('exit', code => reject(new Error(`pinscope serve ended with ${code}:\n${errors}`)));
  });
}

async function take(page: Page, file: string): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 92 });
  writeFileSync(file, Buffer.from(data, 'base64'));
  await session.detach();
}

const { url, stop } = await served();
// Chromium has no sandbox as root; the only page it opens is ours.
const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...sandbox] });
try {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const viewport of SIZES) {
      for (const { name, keys, ready } of pictures) {
        // A window each: nothing of one picture stands in the next.
        const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
        const page = await context.newPage();
        await page.goto(url);
        await page.getByRole('button', { name: 'Recorded example' }).waitFor();
        await page.keyboard.press('Control+o');
        await page.getByText('RECORDING, not this machine').first().waitFor();
        for (const key of keys) await page.keyboard.press(key);
        await ready(page);
        // What comes a moment later: a chart's first frame, a transition of the focus.
        await page.waitForTimeout(700);
        await take(page, join(folder, `${name}-${colorScheme}-${viewport.width}.webp`));
        await context.close();
      }
    }
  }
} finally {
  await browser.close();
  stop();
}
process.stdout.write(`${pictures.length * SIZES.length * 2} pictures in docs/pictures\n`);
