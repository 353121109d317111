import type { Page } from 'playwright-core';
import { PageMapModel } from '../../model/map/page-map.ts';
import type { Sample } from '../../model/run-columns.ts';
import { type SyntheticSize, syntheticSample } from '../synthetic-sample.ts';
import { openBenchPage } from './browser-page.ts';
import { type FrameTimes, traceFrames } from './frame-times.ts';
import { type Bench, median } from './result.ts';

const VIEW = { width: 1920, height: 1080 };
const ROUNDS = 3;
const FRAMES = 240;
const MAP = `document.querySelector('[role=application]')`;

/** A task after the next frame: input that is given there is drawn in the frame after, as that of a pointer is. */
const BETWEEN = 'new Promise(then => requestAnimationFrame(() => scheduler.postTask(then)))';

/** Pans in every frame, as a touchpad does, up and down again. */
const PAN = `async () => {
  for (let i = 0; i < ${FRAMES}; i++) {
    const deltaY = i % 120 < 60 ? 24 : -24;
    ${MAP}.dispatchEvent(new WheelEvent('wheel', { deltaY, shiftKey: true, bubbles: true, cancelable: true }));
    await ${BETWEEN};
  }
}`;

/** Eight steps in and eight out, one each fourth frame, at another place each time; the pointer moves in the frames between. */
const ZOOM = `async () => {
  const box = ${MAP}.getBoundingClientRect();
  for (let i = 0; i < ${FRAMES}; i++) {
    const at = {
      bubbles: true,
      cancelable: true,
      clientX: box.left + 200 + ((i * 11) % 1000),
      clientY: box.top + 40 + ((i * 13) % (box.height - 80)),
    };
    const deltaY = (i / 4) % 16 < 8 ? -100 : 100;
    ${MAP}.dispatchEvent(i % 4 === 0 ? new WheelEvent('wheel', { ...at, deltaY }) : new PointerEvent('pointermove', at));
    await ${BETWEEN};
  }
}`;

/** A canvas of the map's size over it, cleared in every frame by a page that does nothing else. */
const EMPTY = `async () => {
  const { left, top, width, height } = ${MAP}.querySelector('canvas').getBoundingClientRect();
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  Object.assign(canvas.style, { position: 'fixed', left: left + 'px', top: top + 'px', zIndex: 99 });
  document.body.append(canvas);
  const on = canvas.getContext('2d', { alpha: false });
  for (let i = 0; i < ${FRAMES}; i++) {
    on.fillStyle = i % 2 === 0 ? '#ffffff' : '#e9ecf0';
    on.fillRect(0, 0, width, height);
    await ${BETWEEN};
  }
  canvas.remove();
}`;

/** From the sample's being on its way to the frame after the one in which the map is drawn; reading the message is in it. */
const FIRST_PAINT = `(async () => {
  const frame = () => new Promise(requestAnimationFrame);
  while (${MAP}?.querySelector('canvas') == null) await frame();
  await frame();
  await frame();
  const painted = Date.now();
  while (window.firstSampleSent === undefined) await frame();
  return painted - window.firstSampleSent;
})()`;

/** What the map keeps beside the sample, and what the sample's columns take, bytes. */
function sizesOf(sample: Sample): { index: number; columns: number; held: number; runs: number } {
  const options = { space: 'host', mode: 'resource', hidden: new Set<string>(), shown: null } as const;
  const model = PageMapModel.of(sample, options, null);
  if (model === null) throw new Error('the sample has no page frames');
  const bytes = (parts: readonly unknown[]): number =>
    parts.reduce<number>((sum, part) => (ArrayBuffer.isView(part) ? sum + part.byteLength : sum), 0);
  const all = sample.resources.flatMap(({ pages }) => (pages === null ? [] : [pages.runs]));
  return {
    index: bytes([...Object.values(model.index), model.classes.ofRun, model.flags]),
    columns: all.reduce((sum, runs) => sum + bytes(Object.values(runs)), 0),
    held: model.counts.held,
    runs: all.reduce((sum, { length }) => sum + length, 0),
  };
}

interface Round {
  readonly firstPaintMs: number;
  readonly empty: FrameTimes;
  readonly pan: FrameTimes;
  readonly zoom: FrameTimes;
  readonly live: FrameTimes;
}

async function round(size: SyntheticSize, periodMs: number): Promise<Round> {
  const { page, cdp, close } = await openBenchPage(size, VIEW, periodMs);
  try {
    // Open before the sample comes: the worker makes it first.
    await page.getByRole('tab', { name: 'Page map' }).click();
    page.setDefaultTimeout(120_000);
    const firstPaintMs = await page.evaluate<number>(FIRST_PAINT);
    await page.keyboard.press('Control+p');
    await page.getByText('PAUSED').first().waitFor();
    const traced = (script: string) => traceFrames(cdp, () => page.evaluate<void>(`(${script})()`));
    const empty = await traced(EMPTY);
    const zoom = await traced(ZOOM);
    await toMiddle(page);
    const pan = await traced(PAN);
    await page.keyboard.press('Control+p');
    const live = await traced(PAN);
    return { firstPaintMs, empty, pan, zoom, live };
  } finally {
    await close();
  }
}

/** Three steps in from all: as far from both ends as panning goes. */
async function toMiddle(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Show all of the map' }).click();
  for (let i = 0; i < 3; i++) await page.getByRole('button', { name: 'Zoom the map in' }).click();
}

/**
 * The page map in Debian's Chromium on the built page. Value: 95th percentile of the time from one drawn frame to the next while
 * panning or zooming, whichever is worse, as Chromium traced it; baseline: of clearing a canvas of that size in the same page. `live…` is
 * panning while new samples come. Without a GPU all of it is drawn and put together by processors.
 */
const pageMap = (name: string, size: SyntheticSize, periodMs: number): Bench => ({
  name,
  async run() {
    const { index, columns, held, runs } = sizesOf(syntheticSample(size));
    const rounds: Round[] = [];
    for (let i = 0; i < ROUNDS; i++) rounds.push(await round(size, periodMs));
    const of = (pick: (one: Round) => number) => median(rounds.map(pick));
    const value = of(({ pan, zoom }) => Math.max(pan.p95, zoom.p95));
    const baseline = of(({ empty }) => empty.p95);
    const kinds = ['pan', 'zoom', 'live', 'empty'] as const;
    const figures = ['p50', 'p95', 'max', 'drawn', 'dropped', 'mainMs', 'longestMs'] as const;
    const details = kinds.flatMap(kind =>
      figures.map(figure => [
        `${kind}${figure.charAt(0).toUpperCase()}${figure.slice(1)}`,
        of(one => one[kind][figure]),
      ]),
    );
    return {
      name,
      unit: 'ms',
      value,
      baseline,
      ratio: value / baseline,
      details: {
        heldPages: held,
        runs,
        firstPaintMs: of(({ firstPaintMs }) => firstPaintMs),
        ...Object.fromEntries(details),
        columnsMiB: columns / 2 ** 20,
        indexMiB: index / 2 ** 20,
        indexToColumns: index / columns,
      },
    };
  },
});

/** 16.76 M held pages, 64 GiB, in runs of 419; a sample a second. */
export const pageMap64Gib = pageMap(
  'page-map-64-gib',
  { resources: 10_000, runsPerResource: 4, pagesPerRun: 419 },
  1000,
);

/** 2.1 M runs of one page, scattered over 80 GiB: a sample of 130 MiB, of which one comes while panning. */
export const pageMapFragmented = pageMap(
  'page-map-fragmented',
  { resources: 10_000, runsPerResource: 210, pagesPerRun: 1, apart: 8 },
  60_000,
);
