// Makes a checkout runnable: dependencies, addon, bundles. Quick when nothing changed, so every npm script starts with it.
// Runs before anything is installed: Node's own modules only.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

function fail(sentence) {
  process.stderr.write(`pinscope setup: ${sentence}\n`);
  process.exit(1);
}

function run(command, args, what) {
  // Standard output belongs to the program that runs after us (`--json`), so tools print to standard error.
  const done = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (done.error) fail(`${what}: cannot run ${command}: ${done.error.message}`);
  if (done.status !== 0) fail(`${what} failed (${[command, ...args].join(' ')}); its message is above.`);
}

function checkNode() {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  const [major, minor] = wanted.split('.').map(Number);
  const [haveMajor, haveMinor] = process.versions.node.split('.').map(Number);
  if (haveMajor < major || (haveMajor === major && haveMinor < minor)) {
    fail(
      `Node ${wanted} or newer is needed and this is ${process.versions.node}; install a newer nodejs package.`,
    );
  }
}

function checkTools(tools) {
  for (const [command, debianPackage, why] of tools) {
    if (spawnSync(command, ['--version'], { stdio: 'ignore' }).error) {
      fail(
        `${command} is missing and ${why}; install the package ${debianPackage} (sudo apt install ${debianPackage}).`,
      );
    }
  }
}

function installDependencies() {
  const stamp = join(root, 'node_modules', '.pinscope-lock');
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  checkTools([['npm', 'npm', 'fetches the libraries']]);
  process.stderr.write('pinscope setup: installing dependencies\n');
  // Not npm ci: it refuses a lock file without the platform packages that a mirror does not carry, which nobody here installs.
  // No install scripts: none is needed, and electron's would download its binary (build/electron-runtime.mjs does that when asked).
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', ['install', ...options], 'npm install');
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, lock);
}

checkNode();
checkTools([
  ['make', 'make', 'builds the addon'],
  ['g++', 'g++', 'builds the addon'],
]);
installDependencies();
run('make', ['--silent', '-C', 'native'], 'building the addon');
for (const folder of process.argv.slice(2)) {
  run('make', ['--silent', '-C', folder], `building the helper programs of ${folder}`);
}
const { bundle, bundlePage } = await import(pathToFileURL(join(root, 'build', 'bundle.mjs')).href);
await bundle(root).catch(error => fail(`bundling failed: ${error.message}`));
await bundlePage(root).catch(error => fail(`bundling the page failed: ${error.message}`));
