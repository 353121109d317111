import type { Page } from 'playwright-core';
import type { PinscopeWindow } from './desktop.ts';

/** What is used of the page's elements; this side has no DOM. */
interface Canvas {
  readonly width: number;
  readonly height: number;
  getContext(kind: '2d'): {
    getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
  };
}

/** The page map on the screen: what its legend counts, what it says of a page, and what is painted. */
export class ShownPageMap {
  private readonly page: Page;

  constructor(private readonly window: PinscopeWindow) {
    this.page = window.page;
  }

  async open(): Promise<void> {
    await this.page.keyboard.press('Alt+7');
    await this.page.getByRole('application', { name: 'Page map' }).waitFor();
  }

  /** Pages of a class of the legend; `null` where it has none of that name. */
  async legend(name: string): Promise<number | null> {
    const texts = await this.page
      .getByRole('group', { name: 'Legend' })
      .getByRole('button')
      .allTextContents();
    const found = texts
      .map(text => /^\s*(.+?)\s+(\d+)\s+[\d.]+ \wi?B\s*$/.exec(text))
      .find(row => row?.[1] === name);
    return found ? Number(found[2]) : null;
  }

  /** Goes to the next disconnected page and gives its facts by name. */
  async nextDisconnected(): Promise<Readonly<Record<string, string>>> {
    await this.page.keyboard.press('n');
    const facts = this.page.getByRole('region', { name: 'Page', exact: true });
    await facts.getByText('disconnected').first().waitFor();
    const [names, values] = [
      await facts.getByRole('term').allTextContents(),
      await facts.getByRole('definition').allTextContents(),
    ];
    return Object.fromEntries(names.map((name, i) => [name.trim(), (values[i] ?? '').trim()]));
  }

  /** Points of the picture in the colour that only disconnected pages have. */
  async disconnectedPoints(): Promise<number> {
    const colour = await this.page.evaluate(
      "getComputedStyle(document.documentElement).getPropertyValue('--map-disconnected').trim()",
    );
    const [r, g, b] = [1, 3, 5].map(at => Number.parseInt(String(colour).slice(at, at + 2), 16));
    const wanted = ((0xff << 24) | ((b ?? 0) << 16) | ((g ?? 0) << 8) | (r ?? 0)) >>> 0;
    // Counted in the page: a picture as JSON takes an emulated processor a minute.
    return this.page
      .getByRole('application', { name: 'Page map' })
      .locator('canvas')
      .evaluate((element: unknown, wanted: number) => {
        const canvas = element as Canvas;
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Uint32Array(data.buffer).filter(point => point === wanted).length;
      }, wanted);
  }

  /** Waits until the picture has such points: it is drawn a frame after the words, and an emulated frame takes its time. */
  async turnsRed(): Promise<boolean> {
    for (let waited = 0; waited < 30_000; waited += 200) {
      if ((await this.disconnectedPoints()) > 0) return true;
      await this.page.waitForTimeout(200);
    }
    return false;
  }

  /** Samples taken until now, as the status bar says. */
  samples(): Promise<number> {
    return this.window.samplesTaken();
  }
}
