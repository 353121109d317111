// npm start, after set-up: the window where there can be one, else the same console in a browser. Words after -- reach either.
// `npm start -- list` and other commands of the terminal program go there straight.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { findRuntime } from './electron-runtime.mjs';
import { makeRunFolder } from './run-folder.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const words = process.argv.slice(2);

const say = sentence => process.stderr.write(`pinscope: ${sentence}\n`);

/** Runs the terminal program in this process, so that keys and signals are its own. */
async function terminal(args) {
  const program = join(root, 'dist', 'cli', 'pinscope.js');
  process.argv = [process.execPath, program, ...args];
  await import(pathToFileURL(program).href);
}

/** The console in a browser, with the window's words: the server says the address, and how it is reached over SSH. */
async function browser(why) {
  say(`${why}, so this is the console in a browser; npm start -- list is the terminal program`);
  await terminal(['serve', ...words]);
}

/** Why no window can be opened, with what would change that; null where one can. */
function whyNoWindow() {
  if (process.getuid?.() === 0) {
    return 'a window does not run as root (as an ordinary user, npm start opens it)';
  }
  if (!process.env.WAYLAND_DISPLAY && !process.env.DISPLAY) {
    return 'there is no display (in a desktop session, or with DISPLAY or WAYLAND_DISPLAY set, npm start opens the window)';
  }
  if (!existsSync(join(root, 'dist', 'electron', 'main.cjs'))) {
    return 'dist/electron/main.cjs is not there (npm run setup makes it)';
  }
  return null;
}

function openWindow(runtime) {
  const env = { ...process.env };
  // They would make it plain Node.
  delete env.ELECTRON_RUN_AS_NODE;
  if (runtime.notice !== null) env.PINSCOPE_RUNTIME_NOTICE = runtime.notice;
  const quoted = path => `'${path.replaceAll("'", `'\\''`)}'`;
  env.PINSCOPE_PROGRAM = `${quoted(process.execPath)} ${quoted(join(root, 'dist', 'cli', 'pinscope.js'))}`;
  // Electron before 38 asks for X11 unless told.
  const platform = process.env.DISPLAY ? [] : ['--ozone-platform-hint=auto'];
  const program = makeRunFolder(root, runtime);
  let child;
  // Before there is a window, which one of these would leave behind. Ctrl-C reaches it too; we end when it has.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child = spawn(program, [...platform, ...words], { env, stdio: 'inherit' });
  child.on('error', error => {
    say(`cannot run ${runtime.path}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal === 'SIGTRAP' && spawnSync('unshare', ['--user', '--map-root-user', 'true']).status !== 0) {
      say(
        'the window needs user namespaces for its sandbox, which this system refuses (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); npm start -- serve is the console in a browser, npm start -- list the terminal program',
      );
    }
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}

const forTerminal = words[0] !== undefined && (!words[0].startsWith('-') || words[0] === '--help');
const why = forTerminal ? null : whyNoWindow();
if (forTerminal) {
  await terminal(words);
} else if (why !== null) {
  await browser(why);
} else {
  let runtime;
  try {
    runtime = findRuntime({ allowDownload: true });
  } catch (error) {
    await browser(`no window can be had (${error.message.replace(/\.$/, '')})`);
  }
  if (runtime) openWindow(runtime);
}
