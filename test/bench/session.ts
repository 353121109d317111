/**
 * A session file of 24 hours of an idle guest, at a sample a second: its size against plain JSON lines in one gzip stream, and how long
 * it takes to open.
 *
 * The samples are made from the last ten of the bundled session, whose guest does nothing. Between those, what changes is `takenAt`,
 * what every source cost, the host's FOLL_PIN counters and, seldom, the free pages of a zone. The same changes here: the cost of each source is
 * one that it really had, changed by up to a tenth so that no two lines are alike; counters grow as they did. `busyHost` adds what
 * other programs of a host do: free pages of every zone and twelve counts of the buddy lists change every second.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { constants, createGzip, gunzipSync } from 'node:zlib';
import { type Sample, toSnapshot } from '../../model/run-columns.ts';
import { SessionFile } from '../../model/session-file/reader.ts';
import { joined, SessionWriter } from '../../model/session-file/writer.ts';
import { deflater, inflate } from '../../sampler/session-bytes.ts';
import { projectRoot } from '../rig/host.ts';
import { CHROMIUM } from '../window-switches.ts';
import { type Bench, median } from './result.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;

/** A number from 0 to 1, the same row in every run (mulberry32). */
function randomRow(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function idleSamples(): Promise<Sample[]> {
  const bytes = readFileSync(join(projectRoot(), 'renderer/public/recorded.pinscope'));
  const file = await SessionFile.open(bytes, inflate);
  const samples = await Promise.all(Array.from({ length: 10 }, (_, i) => file.sample(file.count - 10 + i)));
  return samples.flatMap(sample => (sample === null ? [] : [sample]));
}

/** `count` samples, a second apart. */
function* guestThatIdles(idle: readonly Sample[], count: number, busyHost: boolean): Generator<Sample> {
  const random = randomRow(1);
  const one = <T>(of: readonly T[]): T | undefined => of[Math.floor(random() * of.length)];
  const [first] = idle;
  if (first === undefined) throw new Error('the bundled session has no samples');
  let { host } = first;
  const start = Date.parse(first.takenAt);
  for (let i = 0; i < count; i++) {
    const from = one(idle) ?? first;
    const follPin = host.follPin && {
      acquired: host.follPin.acquired + 2,
      released: host.follPin.released + 2,
    };
    host = { ...host, follPin };
    if (busyHost) {
      const changed = new Set(
        Array.from({ length: 12 }, () => Math.floor(random() * (host.migratetypes?.length ?? 0))),
      );
      host = {
        ...host,
        zones: host.zones?.map(zone => moved(zone, random)) ?? null,
        migratetypes:
          host.migratetypes?.map((type, at) =>
            changed.has(at)
              ? {
                  ...type,
                  freePagesByOrder: type.freePagesByOrder.map((pages, order) =>
                    order === at % 5 ? Math.max(0, pages + Math.round(9 * (random() - 0.5))) : pages,
                  ),
                }
              : type,
          ) ?? null,
      };
    } else if (random() < 0.1) {
      host = { ...host, zones: from.host.zones };
    }
    yield {
      ...first,
      takenAt: new Date(start + 1000 * i + Math.round(random() * 9)).toISOString(),
      host,
      sources: first.sources.map((source, at) => {
        const cost = one(idle)?.sources[at]?.costMs ?? source.costMs;
        return { ...source, costMs: Math.round(100 * cost * (0.9 + 0.2 * random())) / 100 };
      }),
    };
  }
}

const moved = <T extends { readonly managedPages: number; readonly freePages: number }>(
  zone: T,
  random: () => number,
): T =>
  zone.managedPages === 0
    ? zone
    : { ...zone, freePages: Math.max(0, zone.freePages + Math.round(200 * (random() - 0.5))) };

async function session(samples: Iterable<Sample>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const header = {
    createdAt: '2026-01-01T00:00:00.000Z',
    periodMs: 1000,
    redacted: false,
    title: null,
    openAt: null,
  };
  const writer = new SessionWriter({ header, deflater, write: async bytes => void parts.push(bytes) });
  for (const sample of samples) await writer.add(sample);
  await writer.end();
  return joined(parts);
}

/** What one would write without a format: a snapshot a line, one gzip stream, flushed with every line as ours is. */
async function plainLines(samples: Iterable<Sample>): Promise<Buffer> {
  const gzip = createGzip({ level: 6 });
  const parts: Buffer[] = [];
  gzip.on('data', (part: Buffer) => parts.push(part));
  for (const sample of samples) {
    gzip.write(`${JSON.stringify(toSnapshot(sample))}\n`);
    await new Promise<void>(flushed => gzip.flush(constants.Z_SYNC_FLUSH, () => flushed()));
  }
  await new Promise<void>(ended => {
    gzip.once('end', () => ended());
    gzip.end();
  });
  return Buffer.concat(parts);
}

async function msOf(times: number, work: () => unknown): Promise<number> {
  const taken: number[] = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    await work();
    taken.push(performance.now() - started);
  }
  return median(taken);
}

/** From the file on disk to its last sample. */
const openLast = async (file: string): Promise<void> => {
  const opened = await SessionFile.open(readFileSync(file), inflate);
  if ((await opened.sample(opened.count - 1)) === null) throw new Error(`${file} lost its last sample`);
};

const MiB = 2 ** 20;

/** MiB an hour; the baseline is an hour of plain lines, with the open times of both beside it. */
export const sessionDay: Bench = {
  name: 'session-24h-idle',
  async run() {
    const folder = mkdtempSync(join(tmpdir(), 'pinscope-bench-'));
    try {
      const idle = await idleSamples();
      const [day, hour, plain] = ['day.pinscope', 'hour.pinscope', 'hour.jsonl.gz'].map(name =>
        join(folder, name),
      ) as [string, string, string];
      const busyHour = await session(guestThatIdles(idle, HOUR, true));
      await writeFile(hour, await session(guestThatIdles(idle, HOUR, false)));
      await writeFile(plain, await plainLines(guestThatIdles(idle, HOUR, false)));
      await writeFile(day, await session(guestThatIdles(idle, DAY, false)));
      const dayBytes = statSync(day).size;
      const opened = await SessionFile.open(readFileSync(day), inflate);
      if (opened.count !== DAY) throw new Error(`${opened.count} samples of ${DAY} came back`);
      const value = dayBytes / MiB / 24;
      const baseline = statSync(plain).size / MiB;
      const openPlainMs = await msOf(3, () => {
        const lines = gunzipSync(readFileSync(plain)).toString();
        JSON.parse(lines.slice(lines.lastIndexOf('\n', lines.length - 2) + 1));
      });
      const openHourMs = await msOf(5, () => openLast(hour));
      return {
        name: 'session-24h-idle',
        unit: 'MiB/h',
        value,
        baseline,
        ratio: value / baseline,
        details: {
          dayMiB: dayBytes / MiB,
          busyHostMiBPerHour: busyHour.length / MiB,
          openDayMs: await msOf(5, () => openLast(day)),
          openHourMs,
          openPlainHourMs: openPlainMs,
          openRatio: openHourMs / openPlainMs,
          ...(await inChromium(day)),
        },
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** From choosing the file to its first sample on the screen; nothing where there is no Chromium. */
async function inChromium(file: string): Promise<Record<string, number>> {
  if (!existsSync(CHROMIUM)) return {};
  const { chromium } = await import('playwright-core');
  const server = await serve(join(projectRoot(), 'dist/renderer'));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/index.html`);
    const slider = page.getByRole('slider', { name: 'Sample' });
    await slider.waitFor();
    await page.keyboard.press('Control+Shift+O');
    const started = performance.now();
    await page.getByLabel('Session file').setInputFiles(file);
    await page.locator(`[role=slider][aria-valuemax="${DAY}"]`).waitFor();
    const openChromiumMs = performance.now() - started;
    const before = performance.now();
    await slider.press('End');
    await page.locator(`[role=slider][aria-valuenow="${DAY}"]`).waitFor();
    return { openChromiumMs, seekEndChromiumMs: performance.now() - before };
  } finally {
    await browser.close();
    server.close();
  }
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
};

function serve(folder: string): Promise<Server> {
  const server = createServer((request, response) => {
    const path = join(folder, new URL(request.url ?? '/', 'http://127.0.0.1').pathname);
    if (!existsSync(path)) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' });
    return response.end(readFileSync(path));
  });
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server)));
}
