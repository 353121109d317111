/**
 * What the rig needs from the machine it runs on: its directories, its commands, and a lock between processes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A condition the user can repair; the message is one complete sentence fit for the terminal. */
export class RigError extends Error {
  override name = 'RigError';
}

/**
 * The repository's root: `$PINSCOPE_ROOT`, else the nearest directory above this file (a source or a bundle in
 * dist) that has Pinscope's package.json.
 */
export function projectRoot(): string {
  if (process.env.PINSCOPE_ROOT) return process.env.PINSCOPE_ROOT;
  let dir = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(dir, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'pinscope') return dir;
    const parent = dirname(dir);
    if (parent === dir) throw new RigError('The rig could not find the Pinscope source tree it belongs to.');
    dir = parent;
  }
}

/**
 * The directory that keeps kernels between runs: `$PINSCOPE_RIG_CACHE`, else `pinscope/rig` below the user's
 * cache directory. Created when missing.
 */
export function cacheDir(): string {
  const dir =
    process.env.PINSCOPE_RIG_CACHE ||
    join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pinscope', 'rig');
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** The absolute path of a command, searched in `PATH` and the sbin directories, or null. */
export function findCommand(name: string): string | null {
  const dirs = (process.env.PATH ?? '').split(delimiter);
  for (const dir of [...dirs, '/usr/local/sbin', '/usr/sbin', '/sbin']) {
    if (dir === '') continue;
    const path = join(dir, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
  return null;
}

/** A command (no slash) or a file (absolute path) and the Debian package that brings it. */
export interface Requirement {
  readonly path: string;
  readonly debianPackage: string;
}

/**
 * Checks that all requirements are there.
 * @throws RigError naming every missing Debian package in one sentence.
 */
export function requirePackages(purpose: string, requirements: readonly Requirement[]): void {
  const missing = new Set<string>();
  for (const { path, debianPackage } of requirements) {
    const there = path.startsWith('/') ? existsSync(path) : findCommand(path) !== null;
    if (!there) missing.add(debianPackage);
  }
  if (missing.size === 0) return;
  const names = [...missing].join(' ');
  const noun = missing.size === 1 ? 'Debian package' : 'Debian packages';
  throw new RigError(`To ${purpose}, install the ${noun} ${names} (apt-get install ${names}).`);
}

/**
 * A command line that runs `command` and has the kernel send `signal` to it when this process ends, however it ends
 * (PR_SET_PDEATHSIG).
 */
export function tied(signal: 'KILL' | 'TERM', command: string, args: readonly string[]): [string, string[]] {
  const executable = command.includes('/') ? command : (findCommand(command) ?? command);
  const setpriv = findCommand('setpriv');
  if (setpriv === null) throw new RigError('The rig needs setpriv; install the Debian package util-linux.');
  return [setpriv, ['--pdeathsig', signal, '--', executable, ...args]];
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Receives the output of both streams instead of memory; appended to. */
  readonly logFile?: string;
}

/**
 * Runs a command to its end and returns its standard output (empty when it went to `logFile`).
 * @throws Error with the command line, the exit status and the last lines of its output.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return (await runForBytes(command, args, options)).toString();
}

/** As {@link run}, for output that is no text. */
export function runForBytes(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Buffer> {
  // TERM, which make hands on to all that it started.
  const [program, words] = tied('TERM', command, args);
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = options.logFile === undefined ? null : createWriteStream(options.logFile, { flags: 'a' });
    const out: Buffer[] = [];
    let tail = '';
    const keepTail = (chunk: Buffer) => {
      tail = (tail + chunk.toString()).slice(-2000);
      log?.write(chunk);
    };
    child.stdout.on('data', (chunk: Buffer) => {
      if (log === null) out.push(chunk);
      else keepTail(chunk);
    });
    child.stderr.on('data', keepTail);
    child.on('error', error => {
      log?.end();
      reject(error);
    });
    child.on('close', (code, signal) => {
      log?.end();
      if (code === 0) return resolve(Buffer.concat(out));
      const where = options.logFile === undefined ? '' : ` (log: ${options.logFile})`;
      reject(
        new Error(
          `${command} ${args.join(' ')}: ${signal ?? `exit status ${code}`}${where}\n${tail.trimEnd()}`,
        ),
      );
    });
  });
}

/**
 * Runs `body` while holding an exclusive lock on `file`, waiting for it if another process has it.
 *
 * The lock is flock(2), held by a helper whose standard input is a pipe from this process: whichever way this
 * process ends, the pipe closes, the helper exits and the kernel drops the lock, so no lock is ever stale.
 * @param onWait called once when the lock is taken by someone else
 */
export async function withLock<T>(file: string, body: () => Promise<T>, onWait?: () => void): Promise<T> {
  requirePackages('lock the kernel cache', [{ path: 'flock', debianPackage: 'util-linux' }]);
  mkdirSync(dirname(file), { recursive: true });
  const helper = spawn(
    findCommand('flock') ?? 'flock',
    ['--exclusive', file, 'sh', '-c', 'echo held; exec cat'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Ctrl-C reaches the whole foreground group; the lock must outlive the clean-up of its owner.
      detached: true,
    },
  );
  const timer = onWait === undefined ? undefined : setTimeout(onWait, 300);
  try {
    await firstOutput(helper, `lock ${file}`);
    clearTimeout(timer);
    return await body();
  } finally {
    clearTimeout(timer);
    helper.stdin.end();
  }
}

function firstOutput(child: ChildProcess, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('error', reject);
    child.once('close', code => reject(new Error(`${what}: the helper ended with status ${code}`)));
  });
}
