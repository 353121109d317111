import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { isRoot } from '../need.ts';
import { CHROMIUM } from '../window-switches.ts';
import { APPIMAGE, DRIVABLE, HARDENED } from './programs.ts';

/** Once before all files: says what is missing, and makes a display where there is none. Returns what ends it. */
export default async function setup(): Promise<() => Promise<void>> {
  if (isRoot) {
    throw new Error(
      'The window does not run as root: run npm run test:e2e as an ordinary user, in a checkout that is theirs.',
    );
  }
  for (const program of [HARDENED, DRIVABLE, APPIMAGE]) {
    if (!existsSync(program)) {
      throw new Error(
        `${program} is not built: run npm run test:e2e, or npm run package -- --e2e --appimage.`,
      );
    }
  }
  if (!existsSync(CHROMIUM)) {
    throw new Error(
      `${CHROMIUM} is missing, for the console in a browser: install the package chromium (sudo apt install chromium).`,
    );
  }
  if (process.env.DISPLAY) return async () => {};
  const xvfb = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1600x1000x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  process.env.DISPLAY = `:${await displayNumber(xvfb)}`;
  return async () => {
    const ended = new Promise(resolve => xvfb.once('exit', resolve));
    xvfb.kill();
    await ended;
  };
}

function displayNumber(xvfb: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    xvfb.once('error', error =>
      reject(
        new Error(
          `There is no DISPLAY and Xvfb does not start (${error.message}): install the package xvfb (sudo apt install xvfb).`,
        ),
      ),
    );
    xvfb.once('exit', code => reject(new Error(`There is no DISPLAY and Xvfb ended with ${code}.`)));
    let text = '';
    (xvfb.stdio[3] as Readable).on('data', data => {
      text += data;
      if (text.endsWith('\n')) resolve(text.trim());
    });
  });
}
