// Draws build/resources/icon.svg in the sizes that desktops ask for; run it by hand when the drawing changed, as an ordinary user
// with a display: node build/render-icons.mjs
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findRuntime } from './electron-runtime.mjs';
import { makeRunFolder } from './run-folder.mjs';

const SIZES = [16, 24, 32, 48, 64, 128, 256, 512];
const resources = join(dirname(fileURLToPath(import.meta.url)), 'resources');
const svg = readFileSync(join(resources, 'icon.svg'));
const work = mkdtempSync(join(tmpdir(), 'pinscope-icons-'));

/** Runs in the page: the drawing in each size, as data URLs. Each is drawn anew, not scaled down. */
const draw = `Promise.all(${JSON.stringify(SIZES)}.map(async size => {
  const image = new Image(size, size);
  image.src = 'data:image/svg+xml;base64,${svg.toString('base64')}';
  await image.decode();
  const canvas = Object.assign(document.createElement('canvas'), { width: size, height: size });
  canvas.getContext('2d').drawImage(image, 0, 0, size, size);
  return canvas.toDataURL('image/png');
}))`;
const app = `const { app, BrowserWindow } = require('electron');
app.whenReady().then(async () => {
  const window = new BrowserWindow({ show: false });
  await window.loadURL('about:blank');
  require('fs').writeFileSync(${JSON.stringify(join(work, 'drawn.json'))}, JSON.stringify(await window.webContents.executeJavaScript(${JSON.stringify(draw)})));
  app.quit();
});`;

try {
  writeFileSync(join(work, 'package.json'), JSON.stringify({ name: 'icons', main: 'main.cjs' }));
  writeFileSync(join(work, 'main.cjs'), app);
  const electron = makeRunFolder(work, findRuntime({ allowDownload: true }));
  const quiet = ['--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${join(work, 'user')}`];
  spawnSync(electron, quiet, { stdio: ['ignore', 'ignore', 'ignore'] });
  mkdirSync(join(resources, 'icons'), { recursive: true });
  for (const [index, url] of JSON.parse(readFileSync(join(work, 'drawn.json'), 'utf8')).entries()) {
    const png = Buffer.from(url.split(',')[1], 'base64');
    writeFileSync(join(resources, 'icons', `${SIZES[index]}x${SIZES[index]}.png`), png);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
