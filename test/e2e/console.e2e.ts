import { expect, onTestFinished, test } from 'vitest';
import { browse, idleQemu, serve } from './browser.ts';
import { launch } from './launch.ts';
import { walk } from './walk.ts';

test('the console is used from end to end by keyboard, in the window', async () => {
  const guest = 'guest-of-the-window';
  await idleQemu(guest);
  const { app, page } = await launch();
  await walk(page, { guest, clipboard: () => app.evaluate(({ clipboard }) => clipboard.readText()) });
});

test('the console is used from end to end by keyboard, in a browser', async () => {
  const guest = 'guest-of-the-browser';
  await idleQemu(guest);
  const { url } = await serve();
  const context = await browse();
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(url).origin });
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', error => errors.push(error.message));
  onTestFinished(() => expect(errors).toEqual([]));
  await page.goto(url);
  await walk(page, { guest, clipboard: () => page.evaluate('navigator.clipboard.readText()') });
});
