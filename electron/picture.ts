import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { app, BrowserWindow, dialog, type WebContents } from 'electron';

/**
 * Takes a picture of a page as it is drawn, exact to the pixel, and saves it as PNG where the user says. Returns the path, `null`
 * where the user does not want to. Only main writes: the page gets the path, and no way to name one. Throws with the path and
 * the system's reason where it cannot be written.
 */
export async function savePicture(contents: WebContents): Promise<string | null> {
  const window = BrowserWindow.fromWebContents(contents);
  if (window === null) throw new Error('the window of this page is closed');
  // Before the dialog: it would be in the way.
  const image = await contents.capturePage();
  if (image.isEmpty()) throw new Error('the window draws nothing now: show it and try again');
  const { filePath } = await dialog.showSaveDialog(window, {
    title: 'Save a picture of the view',
    defaultPath: join(app.getPath('downloads'), pictureName(new Date())),
    filters: [{ name: 'PNG', extensions: ['png'] }],
  });
  if (!filePath) return null;
  await writeFile(filePath, image.toPNG());
  return filePath;
}

/** `pinscope-2026-03-04-050607.png`, in local time. */
export function pictureName(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `pinscope-${day}-${two(time.getHours())}${two(time.getMinutes())}${two(time.getSeconds())}.png`;
}
