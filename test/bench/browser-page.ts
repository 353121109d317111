import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { type CDPSession, chromium, type Page } from 'playwright-core';
import { SAMPLER_PORT_MESSAGE } from '../../model/contract.ts';
import { projectRoot } from '../rig/host.ts';
import type { SyntheticSize } from '../synthetic-sample.ts';
import { CHROMIUM, QUIET } from '../window-switches.ts';
import { Skip } from './result.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

export interface BenchPage {
  readonly page: Page;
  readonly cdp: CDPSession;
  close(): Promise<void>;
}

/**
 * The page as `npm run setup` built it, in Debian's Chromium, live on a synthetic sample of this size: by the transport that the
 * window has, a MessagePort that its shell hands over; the shell is the only thing that is made up. Throws a Skip without Chromium.
 */
export async function openBenchPage(
  size: SyntheticSize,
  view = { width: 1280, height: 800 },
  periodMs = 1000,
): Promise<BenchPage> {
  if (!existsSync(CHROMIUM)) throw new Skip(`${CHROMIUM} is missing; install the package chromium`);
  const root = projectRoot();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://page');
    const file =
      pathname === '/sampler.js'
        ? join(root, 'dist/bench/page-sampler.js')
        : join(root, 'dist/renderer', pathname === '/' ? 'index.html' : pathname);
    const type = TYPES[extname(file)];
    if (type === undefined || !existsSync(file)) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
  });
  await new Promise<void>(listening => server.listen(0, '127.0.0.1', listening));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, '--no-sandbox'] });
  const close = async () => {
    await browser.close();
    server.close();
  };
  try {
    const page = await browser.newPage({ viewport: view });
    await page.addInitScript(handOverPort, { size: { ...size, periodMs }, message: SAMPLER_PORT_MESSAGE });
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const cdp = await page.context().newCDPSession(page);
    return { page, cdp, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs in the page before its own code: what the preload does. */
function handOverPort({ size, message }: { size: object; message: string }): void {
  interface PageScope {
    pinscope: unknown;
    readonly location: { readonly protocol: string };
    readonly Worker: new (
      url: string,
      options: object,
    ) => { postMessage(data: unknown, ports: unknown[]): void; onmessage: unknown };
    /** When the first sample was on its way, milliseconds since 1970. */
    firstSampleSent?: number;
    addEventListener(type: string, listener: () => void): void;
    postMessage(data: string, origin: string, ports: unknown[]): void;
  }
  const scope = globalThis as unknown as PageScope;
  if (scope.location.protocol !== 'http:') return;
  const nothing = () => () => {};
  scope.pinscope = {
    startup: async () => ({ version: 'bench', runtimeNotice: null, open: { pid: null } }),
    onCommand: nothing,
    onOpen: nothing,
    onSampler: (listener: (state: object) => void) => {
      listener({ state: 'running', restarts: 0 });
      return () => {};
    },
  };
  const worker = new scope.Worker('/sampler.js', { type: 'module' });
  worker.onmessage = ({ data }: { data: number }) => {
    scope.firstSampleSent ??= data;
  };
  const { port1, port2 } = new MessageChannel();
  worker.postMessage(size, [port1]);
  scope.addEventListener('load', () => scope.postMessage(message, '*', [port2]));
}
