import { app, type IpcMainInvokeEvent, ipcMain } from 'electron';
import { SHELL_CHANNELS, type Startup } from '../model/contract.ts';
import { PAGE_ORIGIN } from './page.ts';
import type { Windows } from './windows.ts';

/**
 * The only place that listens to pages. A message counts when it comes from the main frame of one of our windows, from our
 * page, with the arguments of the contract; everything else is refused and told on stderr.
 */
export function setUpGate(windows: Windows, runtimeNotice: string | null): void {
  ipcMain.handle(SHELL_CHANNELS.startup, (event, ...args): Startup => {
    const reason = refusal(event, args, windows);
    if (reason !== null) {
      process.stderr.write(`pinscope: refused a message on ${SHELL_CHANNELS.startup}: ${reason}\n`);
      throw new Error(`refused: ${reason}`);
    }
    // The page listens by now: a port sent earlier would reach nobody.
    windows.connect(event.sender);
    return {
      version: app.getVersion(),
      runtimeNotice,
      open: windows.requestOf(event.sender),
    };
  });
}

/** Why a message is not listened to; `null`: it is. `startup` takes no arguments. */
function refusal(event: IpcMainInvokeEvent, args: readonly unknown[], windows: Windows): string | null {
  const { sender, senderFrame } = event;
  if (!windows.has(sender)) return 'it comes from no window of ours';
  if (!senderFrame || senderFrame !== sender.mainFrame) return 'it comes from a frame inside the page';
  if (!senderFrame.url.startsWith(`${PAGE_ORIGIN}/`)) return 'it comes from a foreign page';
  if (args.length > 0) return 'its shape is not that of the contract';
  return null;
}
