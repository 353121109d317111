import type { Page } from 'playwright-core';
import { openBenchPage } from './browser-page.ts';
import { type FrameTimes, traceFrames } from './frame-times.ts';
import { type Bench, median } from './result.ts';

const RESOURCES = 10_000;
/** Made up from the bundled recording (test/synthetic-sample.ts): a million runs, four million pages. */
const SIZE = { resources: RESOURCES, runsPerResource: 100, pagesPerRun: 4 };
const FRAMES = 240;
const ROUNDS = 3;

/** Five rows a frame: a wheel that is turned fast. */
const WHEEL = 110;
/** The whole length in one round, 41 rows a frame: every row in view is another one in every frame. */
const DRAG = null;

/**
 * Scrolling the table of 10,000 resources, against scrolling an empty element of the same size in the same page. Value: 95th
 * percentile of the time from one drawn frame to the next, as Chromium traced it, at the speed of a wheel. `drag…` is the whole
 * length in as many frames; `live…` is the wheel while a new sample of all resources comes every second.
 */
export const resourcesTable: Bench = {
  name: 'table-10000-resources',
  async run() {
    const { page, cdp, close } = await openBenchPage(SIZE);
    try {
      await page.getByRole('tab', { name: 'Resources' }).click();
      const grid = page.getByRole('grid', { name: 'Resources' });
      await grid.getByText('1000', { exact: true }).waitFor({ timeout: 120_000 });
      await plainElement(page);
      const table = (step: number | null) => traceFrames(cdp, () => scroll(page, '#place-resources', step));
      const live = await table(WHEEL);
      await page.keyboard.press('Control+p');
      await page.getByText('PAUSED').first().waitFor();
      const own: FrameTimes[] = [];
      const plain: FrameTimes[] = [];
      const drag: FrameTimes[] = [];
      // One round unmeasured, so that code is compiled; then in turn.
      for (let round = -1; round < ROUNDS; round++) {
        const rounds = [
          await traceFrames(cdp, () => scroll(page, '#bench-plain', WHEEL)),
          await table(WHEEL),
          await table(DRAG),
        ] as const;
        if (round < 0) continue;
        plain.push(rounds[0]);
        own.push(rounds[1]);
        drag.push(rounds[2]);
      }
      const of = (all: readonly FrameTimes[], key: keyof FrameTimes) => median(all.map(times => times[key]));
      const value = of(own, 'p95');
      const baseline = of(plain, 'p95');
      return {
        name: this.name,
        unit: 'ms',
        value,
        baseline,
        ratio: value / baseline,
        details: {
          ...named('', own),
          ...named('plain', plain),
          ...named('drag', drag),
          ...named('live', [live]),
          frames: ROUNDS * FRAMES,
        },
      };
    } finally {
      await close();
    }
  },
};

/** Median of 50th and 95th percentiles, the longest of all, how many were dropped, and what the main thread worked for a frame. */
function named(prefix: string, rounds: readonly FrameTimes[]): Record<string, number> {
  const of = (key: keyof FrameTimes) => median(rounds.map(times => times[key]));
  const name = (key: string) =>
    prefix === '' ? key : `${prefix}${key.charAt(0).toUpperCase()}${key.slice(1)}`;
  return {
    [name('p50')]: of('p50'),
    [name('p95')]: of('p95'),
    [name('max')]: Math.max(...rounds.map(({ max }) => max)),
    [name('dropped')]: rounds.reduce((sum, { dropped }) => sum + dropped, 0),
    [name('mainMsPerFrame')]: of('mainMs'),
  };
}

/** An empty element with the place, the size and the length of the table, over it when it is scrolled. */
async function plainElement(page: Page): Promise<void> {
  await page.evaluate(`{
    const grid = document.getElementById('place-resources');
    const { left, top, width, height } = grid.getBoundingClientRect();
    const plain = document.createElement('div');
    plain.id = 'bench-plain';
    Object.assign(plain.style, {
      position: 'fixed', left: left + 'px', top: top + 'px', width: width + 'px', height: height + 'px',
      overflow: 'auto', visibility: 'hidden', zIndex: 99, background: 'white', contain: 'strict',
    });
    const body = document.createElement('div');
    body.style.height = grid.scrollHeight + 'px';
    plain.append(body);
    document.body.append(plain);
  }`);
}

/** From the top in so many frames, a step of pixels a frame; `null`: so long that it comes to the end. */
async function scroll(page: Page, selector: string, step: number | null): Promise<void> {
  await page.evaluate(`new Promise(done => {
    const element = document.querySelector('${selector}');
    if (element.id === 'bench-plain') element.style.visibility = 'visible';
    const step = ${step} ?? (element.scrollHeight - element.clientHeight) / ${FRAMES};
    let frame = 0;
    const next = () => {
      element.scrollTop = Math.round(step * ++frame);
      if (frame < ${FRAMES}) return requestAnimationFrame(next);
      if (element.id === 'bench-plain') element.style.visibility = 'hidden';
      done();
    };
    element.scrollTop = 0;
    requestAnimationFrame(next);
  })`);
}
