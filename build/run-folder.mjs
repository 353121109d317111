// The folder that an unpackaged window starts from. Node's own modules only.
import {
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * Makes dist/electron-run of the checkout `root` for a runtime of findRuntime, unless it is there: its files, and the checkout
 * as resources/app, which is where every Electron looks first (one without default_app.asar cannot start a folder that it
 * is given). Returns the binary in it. It is named `electron`, for app.isPackaged, and is a file of its own, as it looks for
 * resources beside what /proc/self/exe says.
 */
export function makeRunFolder(root, runtime) {
  const folder = join(root, 'dist', 'electron-run');
  const binary = join(folder, 'electron');
  const { size, mtimeMs } = statSync(runtime.path);
  const made = JSON.stringify({ root, path: runtime.path, size, mtimeMs });
  const mark = join(folder, '.made-of');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === made) return binary;

  mkdirSync(join(root, 'dist'), { recursive: true });
  const work = mkdtempSync(`${folder}.`);
  for (const name of readdirSync(runtime.dist)) {
    const from = join(runtime.dist, name);
    if (from !== runtime.path && name !== 'resources') symlinkSync(from, join(work, name));
  }
  try {
    linkSync(runtime.path, join(work, 'electron'));
  } catch {
    // Another file system, or a file of somebody else's (fs.protected_hardlinks).
    copyFileSync(runtime.path, join(work, 'electron'), constants.COPYFILE_FICLONE);
  }
  mkdirSync(join(work, 'resources'));
  symlinkSync(root, join(work, 'resources', 'app'));
  writeFileSync(join(work, '.made-of'), made);
  // A window that runs from the old one keeps its open files.
  rmSync(folder, { recursive: true, force: true });
  renameSync(work, folder);
  return binary;
}
