import { tick } from 'svelte';
import type { ShellApi } from '../../model/contract.ts';
import { printable } from '../../model/text.ts';
import { sentence } from '../text/sentence.ts';
import { drawView } from './draw-view.ts';

/** What came of saving a picture. */
export interface PictureOutcome {
  readonly text: string;
  readonly failed: boolean;
}

/**
 * Saves a picture: of the whole window where the desktop window takes it, exact to the pixel; in a browser drawn by
 * the page and handed to the browser's downloads.
 * @param view id of the view, for the name of the file
 */
export async function savePicture(
  shell: Pick<ShellApi, 'savePicture'> | null,
  view: string,
): Promise<PictureOutcome> {
  // A palette or a menu that asked for it is no part of the view.
  await tick();
  await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  try {
    if (shell?.savePicture !== undefined) {
      const path = await shell.savePicture();
      return { text: path === null ? 'No picture was saved.' : `Saved ${printable(path)}`, failed: false };
    }
    const element = document.getElementById('app');
    const picture = element === null ? null : drawView(element);
    if (picture === null) throw new Error('this browser draws on no canvas');
    const name = `pinscope-${view}.png`;
    await download(picture, name);
    return { text: `${name} went to the browser’s downloads.`, failed: false };
  } catch (error) {
    // Electron puts the channel before what main says.
    const detail = (error instanceof Error ? error.message : String(error)).replace(
      /^Error invoking .*?: (Error: )?/,
      '',
    );
    return { text: `No picture was saved. ${sentence(detail)}`, failed: true };
  }
}

async function download(canvas: HTMLCanvasElement, name: string): Promise<void> {
  const blob = await new Promise<Blob | null>(resolve => canvas.toBlob(resolve, 'image/png'));
  if (blob === null) throw new Error('the browser made no PNG of it: the drawing may be too large');
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The download has its own reference by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
