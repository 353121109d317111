import { app, type IpcMainInvokeEvent, ipcMain, type WebContents } from 'electron';
import { SHELL_CHANNELS, type Startup } from '../model/contract.ts';
import { PAGE_ORIGIN } from './page.ts';
import { savePicture } from './picture.ts';
import { ownProgram } from './runtime.ts';
import type { Windows } from './windows.ts';

/**
 * The only place that listens to pages. A message counts when it comes from the main frame of one of our windows, from our
 * page, with the arguments of the contract; everything else is refused and told on stderr.
 */
export function setUpGate(windows: Windows, runtimeNotice: string | null): void {
  const handle = <T>(channel: string, answer: (sender: WebContents) => T | Promise<T>) =>
    ipcMain.handle(channel, (event, ...args): T | Promise<T> => {
      const reason = refusal(event, args, windows);
      if (reason !== null) {
        process.stderr.write(`pinscope: refused a message on ${channel}: ${reason}\n`);
        throw new Error(`refused: ${reason}`);
      }
      return answer(event.sender);
    });
  handle(SHELL_CHANNELS.startup, (sender): Startup => {
    // The page listens by now: a port sent earlier would reach nobody.
    windows.connect(sender);
    return {
      version: app.getVersion(),
      runtimeNotice,
      ...ownProgram(),
      open: windows.requestOf(sender),
    };
  });
  handle(SHELL_CHANNELS.savePicture, savePicture);
}

/** Why a message is not listened to; `null`: it is. None takes arguments. */
function refusal(event: IpcMainInvokeEvent, args: readonly unknown[], windows: Windows): string | null {
  const { sender, senderFrame } = event;
  if (!windows.has(sender)) return 'it comes from no window of ours';
  if (!senderFrame || senderFrame !== sender.mainFrame) return 'it comes from a frame inside the page';
  if (!senderFrame.url.startsWith(`${PAGE_ORIGIN}/`)) return 'it comes from a foreign page';
  if (args.length > 0) return 'its shape is not that of the contract';
  return null;
}
