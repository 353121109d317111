/**
 * An ordinary user's desktop inside the VM: a display of its own, and the packaged window on it, driven by Playwright. Chromium's
 * sandbox is on; the window runs as the user, never as root.
 */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import type { CaseContext } from '../case.ts';

const DISPLAY = ':7';
/** Emulated processors are slow: everything that waits for the window waits long. */
const PATIENCE_MS = 90_000;

export interface DesktopUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** `setpriv …`: what follows runs as the user, with their groups and without any capability. */
export const asUser = ({ uid, gid }: DesktopUser): string[] => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${gid}`,
  '--clear-groups',
  '--inh-caps=-all',
  '--',
];

export class Desktop {
  private constructor(
    private readonly t: CaseContext,
    readonly user: DesktopUser,
  ) {}

  /** Starts a display of the user; it ends with the case. */
  static async start(t: CaseContext, user: DesktopUser): Promise<Desktop> {
    mkdirSync('/tmp/.X11-unix', { recursive: true, mode: 0o1777 });
    chmodSync('/tmp/.X11-unix', 0o1777);
    const [program = '', ...before] = asUser(user);
    const display = spawn(
      program,
      [...before, 'Xvfb', DISPLAY, '-screen', '0', '1400x900x24', '-nolisten', 'tcp'],
      {
        stdio: 'ignore',
      },
    );
    t.atEnd(async () => void display.kill('SIGKILL'));
    for (let waited = 0; !existsSync(`/tmp/.X11-unix/X${DISPLAY.slice(1)}`); waited += 100) {
      if (waited > 30_000 || display.exitCode !== null) throw new Error('Xvfb did not start');
      await sleep(100);
    }
    return new Desktop(t, user);
  }

  /**
   * Starts the program as the user and waits for its window. Its standard error goes to the console of the VM.
   * @param args of the program, for example `--pid N`
   */
  async open(...args: string[]): Promise<PinscopeWindow> {
    const { t, user } = this;
    const program = join(t.root, 'dist/linux-unpacked/pinscope');
    if (!existsSync(program)) throw new Error(`${program} is missing: npm run package makes it`);
    letThrough(dirname(program));
    const [command = '', ...before] = asUser(user);
    const { AttachedWindow } = await import('../../devtools-bridge.ts');
    const attached = await AttachedWindow.open({
      program: command,
      args: [...before, program, ...args],
      env: {
        PATH: process.env.PATH ?? '',
        HOME: user.home,
        USER: user.name,
        LANG: 'C.UTF-8',
        DISPLAY,
      },
      patienceMs: PATIENCE_MS,
    });
    t.atEnd(() => attached.close());
    attached.page.setDefaultTimeout(PATIENCE_MS);
    tell('is there');
    return new PinscopeWindow(attached.page, attached.process.pid ?? 0);
  }
}

/** Directories above a path may belong to root alone where a checkout is in root's home; in the VM's overlay that can change. */
function letThrough(path: string): void {
  for (let at = path; at !== '/'; at = dirname(at)) {
    const { mode } = statSync(at);
    if ((mode & 0o001) === 0) chmodSync(at, mode | 0o005);
  }
}

/** What is used of an element inside the page; this side has no DOM. */
interface PageElement {
  readonly textContent: string | null;
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  getAttribute(name: string): string | null;
}

/** One row of a table, cell by title of its column. */
export type ShownRow = Readonly<Record<string, string>>;

/**
 * The window as a person without a mouse has it: everything is done by keys, and read by role and name.
 */
/** For whoever looks at the console (`--console`): an emulated window takes its time. */
const tell = (what: string): void =>
  void process.stderr.write(`window: ${what}, ${(performance.now() / 1000).toFixed(1)} s\n`);

export class PinscopeWindow {
  /** @param pid of the program's main process; 0 where the page is a browser's */
  constructor(
    readonly page: Page,
    readonly pid: number,
  ) {}

  /** Watches a process: to the list, down to it, Enter. */
  async watch(pid: number): Promise<void> {
    const { page } = this;
    tell(`watch ${pid}`);
    const option = page
      .getByRole('listbox', { name: 'Processes' })
      .getByRole('option')
      .filter({ hasText: ` ${pid} ` });
    await option.waitFor();
    await page.keyboard.press('Alt+1');
    await page.keyboard.press('Home');
    const all = page.getByRole('listbox', { name: 'Processes' }).getByRole('option');
    const texts = await all.allTextContents();
    const at = texts.findIndex(text => text.includes(` ${pid} `));
    for (let i = 0; i < at; i++) await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.locator('[role="option"][aria-selected="true"]', { hasText: ` ${pid} ` }).waitFor();
  }

  /** Asks for rights through the dialog, by keys: Ctrl+G, the level, the button. */
  async grant(level: 'Kernel memory' | 'Pages of this process'): Promise<void> {
    const { page } = this;
    tell(`grant ${level}`);
    // Keys reach nobody before the page stands.
    await page.getByRole('button', { name: 'Grant access to pages…' }).waitFor();
    await page.keyboard.press('Control+g');
    const dialog = page.getByRole('dialog', { name: 'Grant access to pages' });
    await dialog.waitFor();
    const choice = dialog.getByRole('radio', { name: new RegExp(`^${level}`) });
    await choice.focus();
    await page.keyboard.press('Space');
    await dialog.getByRole('button', { name: /^(Grant access|Ask again|Install and grant access)$/ }).focus();
    await page.keyboard.press('Enter');
  }

  /** Does something while no samples come: they cost an emulated processor more than a second each. */
  async still<T>(work: () => Promise<T>): Promise<T> {
    const { page } = this;
    await page.keyboard.press('Control+p');
    await page.getByRole('button', { name: 'Continue' }).waitFor();
    const result = await work();
    await page.keyboard.press('Control+p');
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    return result;
  }

  /** Shows the table of resources and waits until a cell of it says this. */
  async resourcesSay(text: string): Promise<void> {
    await this.page.keyboard.press('Alt+2');
    await this.page.getByRole('grid', { name: 'Resources' }).getByText(text).first().waitFor();
  }

  /** All rows of a table that draws only what is in sight: read from the first to the last, by PageDown. */
  async rows(name: 'Resources' | 'Page runs'): Promise<ShownRow[]> {
    const { page } = this;
    tell(`rows of ${name}`);
    await page.keyboard.press(name === 'Resources' ? 'Alt+2' : 'Alt+3');
    await page.keyboard.press('Home');
    const rows = new Map<number, ShownRow>();
    for (let idle = 0; ; ) {
      const seen = await this.visibleRows(name);
      const before = rows.size;
      for (const [index, row] of seen.rows) rows.set(index, row);
      if (rows.size >= seen.count) break;
      // An emulated processor draws a while after the key.
      idle = rows.size === before ? idle + 1 : 0;
      if (idle > 40)
        throw new Error(`${name}: ${rows.size} of ${seen.count} rows, and PageDown shows no more`);
      if (idle % 25 === 0) await page.keyboard.press('PageDown');
      await page.waitForTimeout(20);
    }
    await page.keyboard.press('Home');
    return [...rows].sort(([a], [b]) => a - b).map(([, row]) => row);
  }

  private async visibleRows(name: string): Promise<{ count: number; rows: [number, ShownRow][] }> {
    return this.page.getByRole('grid', { name, exact: true }).evaluate((element: unknown) => {
      const grid = element as PageElement;
      const titles = [...grid.querySelectorAll('[role="columnheader"]')].map(cell =>
        (cell.textContent ?? '').replace(/[▲▼]/g, '').trim(),
      );
      const rows = [...grid.querySelectorAll('[role="row"][aria-rowindex]')]
        .filter(row => row.querySelector('[role="gridcell"]'))
        .map((row): [number, Record<string, string>] => [
          Number(row.getAttribute('aria-rowindex')),
          Object.fromEntries(
            [...row.querySelectorAll('[role="gridcell"]')].map((cell, i) => [
              titles[i] ?? String(i),
              (cell.textContent ?? '').trim(),
            ]),
          ),
        ]);
      return { count: Number(grid.getAttribute('aria-rowcount')) - 1, rows };
    });
  }

  /** Selects a resource by its inode, from the keyboard, and waits for its detail. */
  async select(inode: number): Promise<void> {
    const rows = await this.rows('Resources');
    const at = rows.findIndex(row => row['dma-buf'] === String(inode));
    if (at < 0)
      throw new Error(`the table has no dma-buf ${inode}: ${rows.map(row => row['dma-buf']).join(', ')}`);
    await this.page.keyboard.press('Alt+2');
    await this.page.keyboard.press('Home');
    for (let i = 0; i < at; i++) await this.page.keyboard.press('ArrowDown');
    await this.page.getByRole('region', { name: `Detail of dma-buf ${inode}` }).waitFor();
  }

  /** The page runs of a resource as they stand on the screen. */
  async runsOf(inode: number): Promise<ShownRow[]> {
    return this.still(async () => {
      await this.select(inode);
      return this.rows('Page runs');
    });
  }

  /** Texts of the findings that are warnings or errors. */
  async warnings(): Promise<string[]> {
    tell('warnings');
    await this.page.keyboard.press('Alt+4');
    const findings = this.page.getByRole('region', { name: 'Findings' });
    await findings.waitFor();
    const mark = this.page.getByRole('img', { name: /^(warning|error)$/ });
    return findings.getByRole('option').filter({ has: mark }).allTextContents();
  }

  /** What the pane beside the findings says of the one with this title: why, evidence, what to do. */
  async explanationOf(title: RegExp): Promise<string> {
    tell(`explanation of ${title}`);
    await this.page.keyboard.press('Alt+4');
    await this.page.getByRole('option', { name: title }).click();
    const pane = this.page.getByRole('region', { name: /^Explanation of/ });
    await pane.getByText(title).first().waitFor();
    return (await pane.textContent()) ?? '';
  }

  /** Samples of this session, as the status bar says. */
  async samplesTaken(): Promise<number> {
    const text = (await this.page.getByRole('contentinfo').textContent()) ?? '';
    const taken = /(\d+) samples/.exec(text)?.[1];
    if (taken === undefined) throw new Error(`the status bar counts no samples: ${text}`);
    return Number(taken);
  }

  /** Pictures in both themes, kept where the host finds them. */
  async pictures(t: CaseContext, name: string): Promise<void> {
    tell(`pictures ${name}`);
    const folder = `${process.env.RESULTS}/pictures`;
    mkdirSync(folder, { recursive: true });
    // The key goes from the system's theme, which is one of the two, to the others.
    const taken = new Set<string | null>();
    while (taken.size < 2) {
      const theme = await this.page.locator(':root').getAttribute('data-theme');
      taken.add(theme);
      await this.page.screenshot({ path: `${folder}/${t.kernel}-${name}-${theme}.png` });
      await this.page.keyboard.press('Control+Shift+L');
      await this.page.waitForTimeout(300);
    }
  }
}

/** PFNs of rows of page runs, page by page. */
export function shownPfns(runs: readonly ShownRow[]): number[] {
  return runs.flatMap(run => {
    if (!/^0x[0-9a-f]+$/.test(run.PFN ?? '')) throw new Error(`no PFN: ${JSON.stringify(run)}`);
    return Array.from({ length: Number(run.Pages) }, (_, i) => Number(run.PFN) + i);
  });
}

/** A user of the VM with a home; in its overlay, so the host's users stay as they are. */
export async function makeUser(t: CaseContext, name = 'viewer', uid = 1000): Promise<DesktopUser> {
  const home = `/tmp/home-${name}`;
  mkdirSync(home, { recursive: true });
  chownSync(home, uid, uid);
  await t.sh(
    `getent passwd ${uid} >/dev/null || echo '${name}:x:${uid}:${uid}::${home}:/bin/sh' >>/etc/passwd`,
  );
  await t.sh(`getent group ${uid} >/dev/null || echo '${name}:x:${uid}:' >>/etc/group`);
  const entry = (await t.sh(`getent passwd ${uid}`)).split(':');
  return { name: entry[0] ?? name, uid, gid: uid, home };
}
