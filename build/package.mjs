// Packages the program with electron-builder, after set-up.
//   npm run package                 dist/linux-unpacked, on whatever Electron was found
//   npm run package -- --e2e        also dist/e2e-unpacked, which a test can drive: the same with the inspect fuse on
//   npm run package -- --appimage   also dist/pinscope-VERSION-ARCH.AppImage, quick and large
//   npm run dist [-- TARGET…]       what users get, in dist/release; targets are AppImage, deb, rpm, tar.gz (default: all)
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, Platform } from 'electron-builder';
import { BINARY, BUNDLES, CONTENT, configuration, HEADERS, LICENCES } from './electron-builder.config.mjs';
import { cacheFolder, findRuntime } from './electron-runtime.mjs';
import { appImageRuntime, obtainStandIn } from './electron-stand-in.mjs';
import { setFuses } from './fuses.mjs';
import { thirdPartyLicences } from './licences.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const ALL = ['AppImage', 'deb', 'rpm', 'tar.gz'];

function fail(sentence) {
  process.stderr.write(`pinscope package: ${sentence}\n`);
  process.exit(1);
}

/** The program's path; ends with the Debian package that brings it where it is missing. */
function tool(name, debianPackage, why) {
  const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
  if (found === '') {
    fail(
      `${name} is missing and ${why}; install the package ${debianPackage} (sudo apt install ${debianPackage}).`,
    );
  }
  return found;
}

/**
 * The folder that electron-builder would download for AppImages, made of Debian's tools and the runtime of the stand-in's own
 * AppImage. The caller removes it.
 */
function appImageTools(release) {
  const mksquashfs = tool('mksquashfs', 'squashfs-tools', 'makes AppImages');
  const validate = tool('desktop-file-validate', 'desktop-file-utils', 'checks the menu entry');
  const folder = mkdtempSync(join(tmpdir(), 'pinscope-appimage-'));
  mkdirSync(join(folder, `linux-${process.arch}`));
  // Libraries that AppImages of old desktops carry: none.
  mkdirSync(join(folder, 'lib', process.arch), { recursive: true });
  // electron-builder does not pass on that a build for tests is not to be compressed, which would take most of its time.
  const quick = release ? '' : ' -noI -noD -noF -noX';
  writeFileSync(
    join(folder, `linux-${process.arch}`, 'mksquashfs'),
    `#!/bin/sh\nexec '${mksquashfs}' "$@"${quick}\n`,
    { mode: 0o755 },
  );
  symlinkSync(validate, join(folder, `linux-${process.arch}`, 'desktop-file-validate'));
  const log = line => process.stderr.write(`pinscope: ${line}\n`);
  obtainStandIn({ cache: cacheFolder(), log });
  copyFileSync(appImageRuntime(cacheFolder()), join(folder, `runtime-${process.arch}`));
  return folder;
}

function parse(words) {
  const release = words[0] === '--release';
  const rest = release ? words.slice(1) : words;
  const unknown = rest.find(word => !(release ? ALL : ['--e2e', '--appimage']).includes(word));
  if (unknown !== undefined) {
    fail(
      release
        ? `${unknown} is no target; targets are ${ALL.join(', ')}.`
        : `${unknown} is no option; options are --e2e and --appimage.`,
    );
  }
  if (release) return { release, e2e: false, targets: rest.length > 0 ? rest : ALL };
  return {
    release,
    e2e: rest.includes('--e2e'),
    targets: rest.includes('--appimage') ? ['AppImage'] : ['dir'],
  };
}

/** What must be there before anything is built. */
function check({ release, targets }, runtime) {
  const missing = CONTENT.filter(path => !existsSync(join(root, path)));
  if (missing.length > 0) fail(`${missing.join(' and ')} not built: run npm run setup.`);
  if (basename(runtime.path) !== 'electron') {
    fail(`${runtime.path} must be named electron to be packaged (PINSCOPE_ELECTRON).`);
  }
  if (release && runtime.kind === 'stand-in' && process.env.PINSCOPE_ALLOW_STANDIN !== '1') {
    fail(
      'what users get is not built on the stand-in, which is out of support; fetch the pinned Electron (npm run electron), or set PINSCOPE_ALLOW_STANDIN=1 to try packaging itself.',
    );
  }
  const packages = targets.filter(target => target === 'deb' || target === 'rpm');
  if (packages.length > 0) {
    const which = packages.join(' and ');
    const { author, homepage } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    if (!author?.email || !homepage) {
      fail(
        `${which} must name a maintainer and a home page: put "author" with "email", and "homepage", into package.json, or name other targets (npm run dist -- AppImage tar.gz).`,
      );
    }
    if (spawnSync('fpm', ['--version'], { stdio: 'ignore' }).error) {
      fail(
        `fpm is missing and makes ${which}; install it (gem install fpm), or name other targets (npm run dist -- AppImage tar.gz).`,
      );
    }
    if (packages.includes('rpm')) tool('rpmbuild', 'rpm', 'makes rpm packages');
  }
}

/** The same program with the inspect fuse on, for tests that drive it. Its other files are links to the first one's. */
function makeDrivable(unpacked, folder) {
  rmSync(folder, { recursive: true, force: true });
  const copied = spawnSync('cp', ['-al', unpacked, folder], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (copied.status !== 0) fail(`cannot copy ${unpacked} to ${folder}; the reason is above.`);
  const binary = join(folder, BINARY);
  rmSync(binary);
  copyFileSync(join(unpacked, BINARY), binary);
  setFuses(binary, { enableNodeCliInspectArguments: true });
}

const wanted = parse(process.argv.slice(2));
let runtime;
try {
  runtime = findRuntime({ allowDownload: true });
} catch (error) {
  fail(error.message);
}
check(wanted, runtime);

process.env.ELECTRON_BUILDER_7ZIP_PATH ??= tool('7za', 'p7zip-full', 'packs archives');
process.env.USE_SYSTEM_FPM ??= 'true';
const tools =
  wanted.targets.includes('AppImage') && !process.env.APPIMAGE_TOOLS_PATH
    ? appImageTools(wanted.release)
    : null;
if (tools !== null) process.env.APPIMAGE_TOOLS_PATH = tools;
// Packages keep modes, and these are for others than their owner, whatever umask they were built with.
chmodSync(join(root, 'native/build/pinscope-broker'), 0o755);
chmodSync(join(root, 'native/build/io.github.pinscope.policy'), 0o644);

try {
  writeFileSync(join(root, LICENCES), thirdPartyLicences(root, BUNDLES, HEADERS));
} catch (error) {
  fail(error.message);
}

const output = wanted.release ? 'dist/release' : 'dist';
try {
  await build({
    projectDir: root,
    targets: Platform.LINUX.createTarget(wanted.targets),
    config: configuration({
      root,
      output,
      runtime,
      compression: wanted.release ? 'normal' : 'store',
    }),
    publish: 'never',
  });
} catch (error) {
  fail(`electron-builder: ${error.message}`);
} finally {
  if (tools !== null) rmSync(tools, { recursive: true, force: true });
}
if (wanted.e2e) makeDrivable(join(root, 'dist/linux-unpacked'), join(root, 'dist/e2e-unpacked'));
