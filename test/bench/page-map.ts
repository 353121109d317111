import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { PageMapModel } from '../../model/map/page-map.ts';
import type { Sample } from '../../model/run-columns.ts';
import { syntheticSample } from '../synthetic-sample.ts';
import { type Frames, traced } from './frames.ts';
import { encodeSample, servePage, shellSettings } from './page-shell.ts';
import { type Bench, type BenchResult, median, Skip } from './result.ts';

/** Of the checkout, from here as from dist/bench. */
const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
/** Debian's. No GPU is asked for: what a frame costs here is software compositing too. */
const CHROMIUM = '/usr/bin/chromium';
const SIZE = { width: 1920, height: 1080 };
const ROUNDS = 3;

/** Pans by a third of a row and more each frame, down and up again, as a touchpad does. */
const PAN = `async () => {
  const map = document.querySelector('[role=application]');
  for (let i = 0; i < 240; i++) {
    map.dispatchEvent(new WheelEvent('wheel', { deltaY: i % 120 < 60 ? 24 : -24, shiftKey: true, bubbles: true, cancelable: true }));
    await new Promise(requestAnimationFrame);
  }
}`;

/** Two steps in and out again, a step each fourth frame, at another place each time. */
const ZOOM = `async () => {
  const map = document.querySelector('[role=application]');
  const box = map.getBoundingClientRect();
  for (let i = 0; i < 240; i++) {
    if (i % 4 === 0) {
      const step = (i / 4) % 16;
      map.dispatchEvent(new WheelEvent('wheel', {
        deltaY: step < 8 ? -100 : 100, bubbles: true, cancelable: true,
        clientX: box.left + 300 + ((i * 7) % 800), clientY: box.top + 40 + ((i * 13) % (box.height - 80)),
      }));
    } else {
      // Something new in every frame: the pointer goes on.
      map.dispatchEvent(new PointerEvent('pointermove', {
        bubbles: true, clientX: box.left + 200 + ((i * 11) % 1000), clientY: box.top + 100 + (i % 500),
      }));
    }
    await new Promise(requestAnimationFrame);
  }
}`;

/** The same number of frames of a page that clears a canvas of the same size and does nothing else. */
const EMPTY = `async () => {
  const canvas = document.querySelector('canvas');
  const on = canvas.getContext('2d', { alpha: false });
  for (let i = 0; i < 240; i++) {
    on.fillStyle = i % 2 === 0 ? '#ffffff' : '#e9ecf0';
    on.fillRect(0, 0, canvas.width, canvas.height);
    await new Promise(requestAnimationFrame);
  }
}`;

/** From the sample's being on its way to the frame after the one in which the map is drawn; reading the message counts. */
const FIRST_PAINT = `async () => {
  const sent = await sendSample('/sample');
  const frame = () => new Promise(requestAnimationFrame);
  while (document.querySelector('[role=application] canvas') === null) await frame();
  await frame();
  await frame();
  return performance.now() - sent;
}`;

/** Sends the same values in new arrays and waits until they were taken. */
const REFRESH = `async () => {
  for (let i = 0; i < 24; i++) {
    if (i % 12 === 0) await sendSample('/sample');
    await new Promise(requestAnimationFrame);
    document.querySelector('[role=application]').dispatchEvent(
      new WheelEvent('wheel', { deltaY: i % 2 === 0 ? 30 : -30, shiftKey: true, bubbles: true, cancelable: true }));
  }
}`;

function bytesOf(sample: Sample): number {
  return sample.resources.reduce((sum, { pages }) => {
    const columns = pages === null ? [] : Object.values(pages.runs).filter(ArrayBuffer.isView);
    return sum + columns.reduce((of, { byteLength }) => of + byteLength, 0);
  }, 0);
}

/** What the map keeps of a sample beside it: index, classes and flags. */
function indexBytes(sample: Sample): { bytes: number; buildMs: number } {
  const began = performance.now();
  const model = PageMapModel.of(
    sample,
    { space: 'host', mode: 'resource', hidden: new Set(), shown: null },
    null,
  );
  const buildMs = performance.now() - began;
  if (model === null) throw new Error('no map');
  const parts = [...Object.values(model.index), model.classes.ofRun, model.flags].filter(ArrayBuffer.isView);
  return { bytes: parts.reduce((sum, { byteLength }) => sum + byteLength, 0), buildMs };
}

async function openEmpty(browser: Browser): Promise<Page> {
  const page = await browser.newPage({ viewport: SIZE });
  await page.setContent(
    `<body style="margin:0"><canvas width="${SIZE.width - 480}" height="${SIZE.height - 140}"></canvas></body>`,
  );
  return page;
}

async function openMap(browser: Browser, url: string): Promise<{ page: Page; firstPaintMs: number }> {
  const page = await browser.newPage({ viewport: SIZE });
  await page.addInitScript(shellSettings);
  await page.addInitScript({ path: file('test/bench/fake-shell.js') });
  await page.goto(url);
  await page.getByRole('tab', { name: 'Page map' }).click();
  // Loaded before it is sent, so that only the way from the sampler counts.
  await page.evaluate(`loadSample('/sample')`);
  const firstPaintMs = await page.evaluate<number>(`(${FIRST_PAINT})()`);
  return { page, firstPaintMs };
}

async function measure(name: string, sample: Sample, runs: number): Promise<BenchResult> {
  if (!existsSync(CHROMIUM)) throw new Skip(`${CHROMIUM} is not installed`);
  if (!existsSync(file('dist/renderer/index.html'))) throw new Skip('dist/renderer is not built');
  const { server, url } = await servePage(
    file('dist/renderer'),
    new Map([['/sample', encodeSample(sample)]]),
  );
  // Chromium refuses its sandbox to root.
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--disable-dev-shm-usage', ...asRoot],
  });
  try {
    const firstPaints: number[] = [];
    const rounds: { empty: Frames; pan: Frames; zoom: Frames; refresh: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const blank = await openEmpty(browser);
      const empty = await traced(browser, blank, EMPTY);
      await blank.close();
      const { page, firstPaintMs } = await openMap(browser, url);
      firstPaints.push(firstPaintMs);
      const zoom = await traced(browser, page, ZOOM);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Show All of the Map' }).click();
      for (let i = 0; i < 3; i++) await page.getByRole('button', { name: 'Zoom the Map In' }).click();
      const pan = await traced(browser, page, PAN);
      const refresh = (await traced(browser, page, REFRESH)).longestTask;
      await page.close();
      rounds.push({ empty, pan, zoom, refresh });
    }
    const { bytes, buildMs } = indexBytes(sample);
    const held = sample.resources.reduce(
      (sum, { pages }) => sum + (pages?.runs.count.reduce((a, b) => a + b, 0) ?? 0),
      0,
    );
    const of = (pick: (round: (typeof rounds)[number]) => number) => median(rounds.map(pick));
    const value = of(({ pan, zoom }) => Math.max(pan.p95, zoom.p95));
    const baseline = of(({ empty }) => empty.p95);
    return {
      name,
      unit: 'ms',
      value,
      baseline,
      ratio: value / baseline,
      details: {
        heldPages: held,
        runs,
        firstPaintMs: median(firstPaints),
        panP50: of(({ pan }) => pan.p50),
        panP95: of(({ pan }) => pan.p95),
        panMax: of(({ pan }) => pan.max),
        panDropped: of(({ pan }) => pan.dropped),
        zoomP50: of(({ zoom }) => zoom.p50),
        zoomP95: of(({ zoom }) => zoom.p95),
        zoomMax: of(({ zoom }) => zoom.max),
        zoomDropped: of(({ zoom }) => zoom.dropped),
        emptyP50: of(({ empty }) => empty.p50),
        emptyMax: of(({ empty }) => empty.max),
        emptyDropped: of(({ empty }) => empty.dropped),
        panLongestTask: of(({ pan }) => pan.longestTask),
        zoomLongestTask: of(({ zoom }) => zoom.longestTask),
        panBusy: of(({ pan }) => pan.busy),
        panCpuPerFrame: of(({ pan }) => pan.cpu),
        zoomCpuPerFrame: of(({ zoom }) => zoom.cpu),
        emptyCpuPerFrame: of(({ empty }) => empty.cpu),
        refreshLongestTask: of(({ refresh }) => refresh),
        indexBuildMsNode: buildMs,
        sampleMiB: bytesOf(sample) / 2 ** 20,
        indexMiB: bytes / 2 ** 20,
        indexToSample: bytes / bytesOf(sample),
      },
    };
  } finally {
    await browser.close();
    server.close();
  }
}

/**
 * Page map of 64 GiB in runs of 419 pages, in Debian's Chromium on the built page: time from frame to frame (95th percentile of
 * panning or zooming, whichever is worse) against a page that only clears a canvas. The frames are those of the browser's trace.
 */
export const pageMap64Gib: Bench = {
  name: 'page-map-64-gib',
  run: () => {
    const sample = syntheticSample({ resources: 10_000, runsPerResource: 4, pagesPerRun: 419 });
    return measure('page-map-64-gib', sample, 40_000);
  },
};

/** The same with 2.1 million runs of one page each, scattered over 80 GiB. */
export const pageMapFragmented: Bench = {
  name: 'page-map-fragmented',
  run: () => {
    const sample = syntheticSample({ resources: 10_000, runsPerResource: 210, pagesPerRun: 5 });
    for (const { pages } of sample.resources) {
      if (pages === null) continue;
      pages.runs.count.fill(1);
      pages.runs.index.set(Float64Array.from(pages.runs.index, (_, i) => i));
    }
    return measure('page-map-fragmented', sample, 2_100_000);
  },
};
