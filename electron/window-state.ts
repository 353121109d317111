import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { app, type BrowserWindow, type Rectangle, screen } from 'electron';

/** Schema of window-state.json in the user's data folder. */
interface Stored {
  readonly version: 1;
  readonly bounds: Rectangle;
  readonly maximised: boolean;
}

export interface WindowState {
  readonly bounds: Partial<Rectangle> & { readonly width: number; readonly height: number };
  readonly maximised: boolean;
}

const DEFAULT: WindowState = { bounds: { width: 1360, height: 860 }, maximised: false };

const file = () => join(app.getPath('userData'), 'window-state.json');

/** Where the last window was; the default where that is unknown, damaged, or on a screen that is gone. */
export function loadWindowState(): WindowState {
  try {
    const stored = parseWindowState(readFileSync(file(), 'utf8'));
    return stored && isVisible(stored.bounds) ? stored : DEFAULT;
  } catch {
    return DEFAULT;
  }
}

/** A failure loses a convenience: it is told and nothing else. */
export function saveWindowState(window: BrowserWindow): void {
  const state: Stored = { version: 1, bounds: window.getNormalBounds(), maximised: window.isMaximized() };
  try {
    mkdirSync(app.getPath('userData'), { recursive: true });
    writeFileSync(`${file()}.new`, `${JSON.stringify(state)}\n`);
    renameSync(`${file()}.new`, file());
  } catch (error) {
    process.stderr.write(`pinscope: the window’s place could not be kept: ${String(error)}\n`);
  }
}

/** `null` for a text that is not of the schema. */
export function parseWindowState(text: string): Stored | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { version, bounds, maximised } = value as Record<string, unknown>;
  if (version !== 1 || typeof maximised !== 'boolean' || typeof bounds !== 'object' || bounds === null)
    return null;
  const { x, y, width, height } = bounds as Record<string, unknown>;
  if (![x, y, width, height].every(number => Number.isSafeInteger(number))) return null;
  const rectangle = { x, y, width, height } as Rectangle;
  return rectangle.width >= 200 && rectangle.height >= 200 ? { version, bounds: rectangle, maximised } : null;
}

/** At least a title bar's worth lies on a screen that there is. */
function isVisible({ x, y, width }: Rectangle): boolean {
  return screen.getAllDisplays().some(({ workArea }) => {
    const overlap = Math.min(x + width, workArea.x + workArea.width) - Math.max(x, workArea.x);
    return overlap >= 100 && y >= workArea.y - 10 && y < workArea.y + workArea.height - 50;
  });
}
