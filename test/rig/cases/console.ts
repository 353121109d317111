/**
 * The console in a browser, looked at from another machine as people do: `pinscope serve` inside, Debian's Chromium outside, and a
 * forwarded loopback port between them.
 */
import type { RigCase } from '../case.ts';
import { PinscopeWindow } from '../guest/desktop.ts';
import { scattered } from '../guest/gpu.ts';
import { hostPages } from '../guest/held-places.ts';
import { ShownPageMap } from '../guest/page-map.ts';
import { guestRam } from '../guest/qemu.ts';
import { startServe } from '../guest/serve.ts';
import { networkUp, tunnel } from '../guest/tunnel.ts';

const framebuffer = scattered(guestRam.free, 1920 * 1080 * 4, 32 * 1024, 64 * 1024);
const PATIENCE_MS = 90_000;

const outside = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: this boot has a browser outside`);
  return value;
};

export const consoleCases: readonly RigCase[] = [
  {
    name: 'the console in a browser outside, over a forwarded loopback port: the page map has the framebuffer, and what the balloon discards turns red',
    boot: 'browser',
    async run(t) {
      await networkUp(t);
      const port = Number(outside('PINSCOPE_RIG_FORWARDED'));
      const vm = await t.qemu({ name: 'guest', balloon: true });
      const gpu = await vm.gpu();
      for (const { address, length } of framebuffer) await vm.qtest.fill(address, length, 0x5a);
      const frame = await gpu.createBlob(framebuffer);
      await gpu.setScanoutBlob(frame, 1920, 1080);
      const balloon = await vm.balloon();
      const { url } = await startServe(t, ['--port', String(port)]);
      t.equal('it listens on the loopback address', new URL(url).host, `127.0.0.1:${port}`);
      await tunnel(t, port);

      const { chromium } = await import('playwright-core');
      const browser = await chromium.connectOverCDP(outside('PINSCOPE_RIG_BROWSER'), {
        timeout: PATIENCE_MS,
      });
      t.atEnd(() => browser.close());
      const page = await (browser.contexts()[0] ?? (await browser.newContext())).newPage();
      page.setDefaultTimeout(PATIENCE_MS);
      await page.setViewportSize({ width: 1280, height: 800 });
      await page.goto(url);
      const window = new PinscopeWindow(page, 0);
      await window.watch(vm.pid);
      await window.resourcesSay('connected');
      const [row] = await window.rows('Resources');
      t.equal('the framebuffer', [row?.Pages, row?.Size], ['2025', '7.91 MiB']);
      const inode = Number(row?.['dma-buf']);

      const map = new ShownPageMap(window);
      await map.open();
      t.equal('its pages on the map', await map.legend(`dma-buf ${inode}`), 2025);
      t.equal('none is red', await map.disconnectedPoints(), 0);
      const gpas = framebuffer.flatMap(({ address, length }) =>
        Array.from({ length: length / 4096 }, (_, i) => address + i * 4096),
      );
      const lost = gpas[100] ?? 0;
      const [pfn] = await hostPages(vm, lost, 1);

      const before = await map.samples();
      await balloon.inflate([lost / 4096]);
      await page.getByRole('button', { name: 'Next disconnected' }).waitFor();
      const samples = (await map.samples()) - before;
      t.ok('disconnected within two samples', samples <= 2, samples);
      t.ok('and painted red', await map.turnsRed());
      const facts = await map.nextDisconnected();
      t.equal(
        'the page on the map is that of QEMU’s page table before, at the address that was given to the balloon',
        [Number(facts.PFN), Number(facts['Guest address']), facts['dma-buf']],
        [pfn, lost, String(inode)],
      );
      await window.pictures(t, 'browser-page-map');
    },
  },
];
