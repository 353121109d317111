// The licences of what is bundled: bundling records which packages went in, packaging puts their texts together.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Where bundling records the packages of a bundle, relative to the checkout: a JSON list of their folders. */
export const recordOf = name => `dist/packages/${name}.json`;

/** Bundlers add helpers of their own, whose ids say whose they are: \0rolldown/runtime.js, \0vite/preload-helper.js. */
const HELPER = /^\0(rolldown|vite)\//;
/** To the innermost package, where one brings its own copy of another. */
const PACKAGE = /(?:node_modules\/(?:@[^/]+\/)?[^/]+\/)*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;

/** Folders of the packages that modules with these ids belong to, from node_modules on, sorted. Own modules belong to none. */
export function packagesOf(ids) {
  const folders = ids.flatMap(id => {
    const helper = HELPER.exec(id)?.[1];
    return helper ? `node_modules/${helper}` : (PACKAGE.exec(id)?.[0] ?? []);
  });
  return [...new Set(folders)].sort();
}

/** A plugin of rolldown and vite that records what went into the bundle `name`. `root`: the checkout. */
export function recordPackages(root, name) {
  return {
    name: 'record-packages',
    generateBundle(_, bundle) {
      const ids = Object.values(bundle).flatMap(({ type, moduleIds }) => (type === 'chunk' ? moduleIds : []));
      const file = join(root, recordOf(name));
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, `${JSON.stringify(packagesOf(ids))}\n`);
    },
  };
}

/** Name, version and text of each licence file of a package. Throws where it has none. */
function licenceOf(root, folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  const files = readdirSync(join(root, folder)).filter(file =>
    /^(licen[cs]e|copying|notice)(\.|$)/i.test(file),
  );
  if (files.length === 0) {
    throw new Error(
      `${name} is in the program and ${folder} has no licence file, so it cannot be passed on.`,
    );
  }
  const texts = files.sort().map(file => readFileSync(join(root, folder, file), 'utf8').trim());
  return [`${name} ${version} (${license})`, ...texts].join('\n\n');
}

/**
 * The text of THIRD-PARTY-LICENSES.txt: the licences of all packages that the bundles `names` have recorded, and of those in the
 * folders `more`, relative to `root`. Throws where a package has no licence file, or a bundle no record.
 */
export function thirdPartyLicences(root, names, more) {
  const recorded = names.flatMap(name => {
    const file = join(root, recordOf(name));
    if (!existsSync(file))
      throw new Error(`${recordOf(name)} is missing: remove dist and run npm run setup.`);
    return JSON.parse(readFileSync(file, 'utf8'));
  });
  const folders = [...new Set([...recorded, ...more])].sort();
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  const head =
    'Pinscope contains code of these packages. Licences of Electron and Chromium: LICENSE.electron.txt, LICENSES.chromium.html.';
  return `${[head, ...folders.map(folder => licenceOf(root, folder))].join(rule)}\n`;
}
