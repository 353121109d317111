// Finds the Electron that a window of this checkout starts on. Node's own modules only: set-up runs this.
// As a program: prints its path; what it is goes to standard error. `--offline`: only what is here already.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { obtainStandIn, STAND_IN, standInFolder } from './electron-stand-in.mjs';

/** How long Electron's own downloader may take, and how long a failure of it is remembered (ms). */
const DOWNLOAD_LIMIT = 60_000;
const FAILURE_KEPT = 24 * 3_600_000;

/** Where things that can be fetched again are kept: $XDG_CACHE_HOME/pinscope, else ~/.cache/pinscope. */
export function cacheFolder(env = process.env) {
  const base = env.XDG_CACHE_HOME;
  // The specification tells to ignore a relative one.
  return join(base?.startsWith('/') ? base : join(env.HOME || homedir(), '.cache'), 'pinscope');
}

function explicit(path, pinned, env) {
  const wrong = why =>
    new Error(
      `PINSCOPE_ELECTRON is ${path}, ${why}: set it to the binary of an Electron ${pinned}, or unset it.`,
    );
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw wrong('which is no file');
  const asked = spawnSync(path, ['-p', 'process.versions.electron'], {
    encoding: 'utf8',
    env: { ...env, ELECTRON_RUN_AS_NODE: '1' },
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 10_000,
  });
  if (asked.error) throw wrong(`which does not start (${asked.error.message})`);
  const version = asked.stdout.trim();
  if (asked.status !== 0 || !/^\d+\.\d+\.\d+/.test(version)) throw wrong('which does not answer as Electron');
  const real = realpathSync(path);
  return {
    path: real,
    dist: dirname(real),
    version,
    kind: 'explicit',
    notice:
      version === pinned
        ? null
        : `Runs on Electron ${version} of PINSCOPE_ELECTRON; it is made for ${pinned}.`,
  };
}

function installed(dist, version) {
  const file = join(dist, 'version');
  return (
    existsSync(join(dist, 'electron')) &&
    existsSync(file) &&
    readFileSync(file, 'utf8').trim().replace(/^v/, '') === version
  );
}

/** Runs the npm package's own downloader, unless it failed within a day. Returns why there is still nothing, or null. */
function download(folder, version, cache, env, log) {
  const installer = join(folder, 'install.js');
  if (!existsSync(installer)) return 'the npm package electron is not installed (npm run setup)';
  const remembered = join(cache, 'electron', `${version}.failed`);
  const age = Date.now() - (statSync(remembered, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  // A clock that was set back must not make it last.
  if (age >= 0 && age < FAILURE_KEPT) return readFileSync(remembered, 'utf8').trim();
  log(`fetching Electron ${version} with its own downloader`);
  const done = spawnSync(process.execPath, [installer], {
    cwd: folder,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: DOWNLOAD_LIMIT,
    killSignal: 'SIGKILL',
  });
  if (done.status === 0 && installed(join(folder, 'dist'), version)) {
    rmSync(remembered, { force: true });
    return null;
  }
  const late = done.error && 'code' in done.error && done.error.code === 'ETIMEDOUT';
  const why = late
    ? `no answer within ${DOWNLOAD_LIMIT / 1000} s`
    : done.stderr?.trim().split('\n')[0] || `its downloader ended with ${done.status ?? done.signal}`;
  mkdirSync(dirname(remembered), { recursive: true });
  writeFileSync(remembered, `${why}\n`);
  return why;
}

/**
 * The runtime to start on: what PINSCOPE_ELECTRON names; else the pinned release of the npm package, which its own
 * downloader fetches; else, where that release page is out of reach, the stand-in for tests. `notice` is the sentence that a
 * window must show, null on the pinned release. Throws an Error with a sentence when there is none.
 * `allowDownload`: false takes only what is here. `root`: the checkout. `log`: takes one line about what was found, and one
 * before each fetch.
 */
export function findRuntime({
  allowDownload,
  root = fileURLToPath(new URL('..', import.meta.url)),
  env = process.env,
  standIn = STAND_IN,
  log = line => process.stderr.write(`pinscope: ${line}\n`),
}) {
  const pinned = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies.electron;
  const cache = cacheFolder(env);
  const found = runtime => {
    log(runtime.notice ?? `Electron ${runtime.version} (${runtime.path})`);
    return runtime;
  };

  if (env.PINSCOPE_ELECTRON) return found(explicit(env.PINSCOPE_ELECTRON, pinned, env));

  const folder = join(root, 'node_modules', 'electron');
  const dist = join(folder, 'dist');
  let why = null;
  if (!installed(dist, pinned)) {
    why = allowDownload ? download(folder, pinned, cache, env, log) : 'it was not fetched';
  }
  if (why === null) {
    return found({ path: join(dist, 'electron'), dist, version: pinned, kind: 'pinned', notice: null });
  }

  const missing = `Electron ${pinned} is not here (${why})`;
  let replacement = standInFolder(cache, standIn);
  if (!existsSync(join(replacement, 'electron'))) {
    if (!allowDownload) throw new Error(`${missing}, and no stand-in either: run npm run electron.`);
    try {
      replacement = obtainStandIn({ cache, env, spec: standIn, log });
    } catch (error) {
      throw new Error(`${missing}, and there is no stand-in: ${error.message}`);
    }
  }
  return found({
    path: join(replacement, 'electron'),
    dist: replacement,
    version: standIn.version,
    kind: 'stand-in',
    notice: `Runs on Electron ${standIn.version}, a stand-in for tests that is out of support, because ${missing}; PINSCOPE_ELECTRON=path names another.`,
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const runtime = findRuntime({ allowDownload: !process.argv.includes('--offline') });
    process.stdout.write(`${runtime.path}\n`);
  } catch (error) {
    process.stderr.write(`pinscope: ${error.message}\n`);
    process.exitCode = 1;
  }
}
