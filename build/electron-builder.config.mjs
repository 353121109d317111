// What goes into the packages, and how the program in them is locked. build/package.mjs gives the rest.
import { basename, join } from 'node:path';

/** Where packages install the privileged part; sampler and polkit policy know the same path. */
const BROKER = '/usr/libexec/pinscope/pinscope-broker';
const POLICY = 'io.github.pinscope.policy';

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
 * findRuntime. `has`: names of the fuses that this runtime knows. `compression`: `store` is quick, `normal` is for users.
 */
export function configuration({ root, output, runtime, has, compression }) {
  return {
    appId: 'io.github.pinscope',
    productName: 'Pinscope',
    copyright: 'Copyright © 2026 The Pinscope authors',
    electronDist: runtime.dist,
    electronVersion: runtime.version,
    electronLanguages: ['en-US'],
    electronFuses: Object.fromEntries(Object.entries(FUSES).filter(([name]) => has.includes(name))),
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
    asar: true,
    asarUnpack: NATIVE,
    npmRebuild: false,
    removePackageScripts: true,
    compression,
    publish: null,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: electron-builder fills it in
    artifactName: 'pinscope-${version}-${arch}.${ext}',
    linux: {
      executableName: 'pinscope',
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
      recommends: ['pkexec | policykit-1'],
      fpm: systemFiles(root),
    },
    rpm: {
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
