/**
 * Entry of the desktop shell: a list of set-ups, in the order in which they must happen. It makes windows, checks who speaks to
 * it and keeps the sampler alive; it never loads the addon and reads nothing of the host itself.
 */
import { app } from 'electron';
import { COMMANDS } from '../model/commands.ts';
import { parseArguments, refuseNoSandbox, refuseRoot } from './arguments.ts';
import { setUpGate } from './gate.ts';
import { setUpMenu } from './menu.ts';
import { registerPageScheme, servePage } from './page.ts';
import { lockDownPermissions } from './permissions.ts';
import { runtimeNotice } from './runtime.ts';
import { SamplerHost } from './sampler-host.ts';
import { Windows } from './windows.ts';

refuseRoot();
const open = parseArguments(process.argv);
refuseNoSandbox(app.commandLine);
app.enableSandbox();
registerPageScheme();

// The request travels with the lock: Chromium reorders the words of a second start's command line.
if (!app.requestSingleInstanceLock(open)) {
  app.quit();
} else {
  const notice = runtimeNotice();
  if (notice !== null && !notice.told) process.stderr.write(`pinscope: ${notice.text}\n`);
  const sampler = new SamplerHost();
  const windows = new Windows(sampler);
  app.on('second-instance', (_event, _argv, _directory, data) => windows.openOrFocus(data));
  app.on('window-all-closed', () => app.quit());
  app.on('will-quit', () => sampler.stop());
  app.whenReady().then(
    () => {
      lockDownPermissions();
      servePage();
      setUpGate(windows, notice?.text ?? null);
      setUpMenu(COMMANDS, id => windows.sendCommand(id));
      sampler.start();
      windows.openOrFocus(open);
    },
    (error: unknown) => {
      process.stderr.write(`pinscope: the window could not be made: ${String(error)}\n`);
      app.exit(1);
    },
  );
}
