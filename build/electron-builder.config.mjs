// What goes into the packages, and how the program in them is locked. build/package.mjs gives the rest.
import { chmodSync, copyFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readFuses, setFuses } from './fuses.mjs';

/** Where packages install the privileged part; sampler and polkit policy know the same path. */
const BROKER = '/usr/libexec/pinscope/pinscope-broker';
const POLICY = 'io.github.pinscope.policy';
/** As electron-builder's, for the binary instead of the launcher. */
const APPARMOR = 'build/resources/apparmor-profile.tpl';

/** What people start: menu entry, AppImage and /usr/bin lead here. It is a script, which starts the binary beside it. */
export const LAUNCHER = 'pinscope';
/** The binary: fuses and AppArmor profile are its. */
export const BINARY = `${LAUNCHER}-window`;

/** What the addon's make leaves for the program, outside the archive: the loader and the kernel take files only. */
const NATIVE = ['pinscope.node', 'pinscope-broker', POLICY].map(name => `native/build/${name}`);

/** Where packaging puts the licences of what is bundled, and whose they are beyond what bundling records (build/licences.mjs). */
export const LICENCES = 'dist/THIRD-PARTY-LICENSES.txt';
export const BUNDLES = ['main', 'preload', 'sampler', 'renderer'];
/** Their headers are compiled into the addon. */
export const HEADERS = ['node_modules/node-addon-api', 'node_modules/node-api-headers'];

/** Everything that a package needs to be built, relative to the checkout. */
export const CONTENT = [
  'dist/electron/main.cjs',
  'dist/electron/preload.cjs',
  'dist/electron/sampler.cjs',
  'dist/renderer/index.html',
  ...NATIVE,
];

/**
 * What a user's program must not do: be a Node, take Node's options from the environment or the command line, open a debugger,
 * load code from beside its archive, or let file: pages read files. Cookies are not encrypted, as there are none and the keyring
 * would be asked; the archive's digest is checked on macOS and Windows only.
 */
const FUSES = {
  runAsNode: false,
  enableCookieEncryption: false,
  enableNodeOptionsEnvironmentVariable: false,
  enableNodeCliInspectArguments: false,
  onlyLoadAppFromAsar: true,
  loadBrowserProcessSpecificV8Snapshot: false,
  grantFileProtocolExtraPrivileges: false,
};

/**
 * Configuration of electron-builder 26. `root`: the checkout. `output`: the folder that it fills, relative to root. `runtime`: of
 * findRuntime. `compression`: `store` is quick, `normal` is for users.
 */
export function configuration({ root, output, runtime, compression }) {
  return {
    appId: 'io.github.pinscope',
    productName: 'Pinscope',
    copyright: 'Copyright © 2026 The Pinscope authors',
    electronDist: runtime.dist,
    electronVersion: runtime.version,
    electronLanguages: ['en-US'],
    directories: { output, buildResources: 'build/resources' },
    // All code is bundled: no package of node_modules goes in.
    files: [
      'package.json',
      'dist/electron/*.cjs',
      'dist/renderer/**',
      ...NATIVE,
      'build/resources/icons/256x256.png',
      '!node_modules/**',
    ],
    // Beside those of Electron and Chromium.
    extraFiles: ['LICENSE', { from: LICENCES, to: basename(LICENCES) }],
    afterPack: ({ appOutDir }) => putLauncher(root, appOutDir),
    asar: true,
    asarUnpack: NATIVE,
    npmRebuild: false,
    removePackageScripts: true,
    compression,
    publish: null,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: electron-builder fills it in
    artifactName: 'pinscope-${version}-${arch}.${ext}',
    linux: {
      executableName: LAUNCHER,
      syncDesktopName: true,
      icon: 'build/resources/icons',
      category: 'Development;Debugger;System;',
      synopsis: 'shows which host pages each udmabuf of a QEMU pins',
      description: 'See which host pages each udmabuf of a running QEMU pins, and what that breaks',
      desktop: {
        entry: {
          Name: 'Pinscope',
          GenericName: 'Debugger of pinned memory',
          Keywords: 'udmabuf;dma-buf;qemu;virtio-gpu;memory;kernel;',
        },
      },
    },
    // Its default turns the sandbox off when it is started from the menu.
    appImage: { executableArgs: [] },
    deb: {
      packageCategory: 'devel',
      appArmorProfile: APPARMOR,
      recommends: ['pkexec | policykit-1'],
      fpm: systemFiles(root),
    },
    rpm: {
      appArmorProfile: APPARMOR,
      fpm: ['--rpm-tag', 'Recommends: polkit', ...systemFiles(root)],
    },
  };
}

/** fpm installs them as root:root with the mode that they have here. */
function systemFiles(root) {
  return [
    `${join(root, 'native/build/pinscope-broker')}=${BROKER}`,
    `${join(root, 'native/build', POLICY)}=/usr/share/polkit-1/actions/${POLICY}`,
  ];
}

/**
 * Locks the binary, and puts the launcher in its place. electron-builder leads everything to the one file that it knows
 * (menu entry, AppRun, /usr/bin), and would set the fuses of that file after this.
 */
function putLauncher(root, folder) {
  const binary = join(folder, BINARY);
  const launcher = join(folder, LAUNCHER);
  renameSync(launcher, binary);
  const has = readFuses(binary);
  setFuses(binary, Object.fromEntries(Object.entries(FUSES).filter(([name]) => name in has)));
  copyFileSync(join(root, 'build/resources/launcher.sh'), launcher);
  chmodSync(launcher, 0o755);
}
