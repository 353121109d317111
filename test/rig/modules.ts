/**
 * Kernel modules for an initramfs: which files a set of modules needs and in which order to insert them.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { runForBytes } from './host.ts';
import type { Kernel } from './kernels.ts';

export interface ModuleFile {
  /** File name to store it under, for example `9pnet.ko`. */
  readonly name: string;
  readonly content: Buffer;
}

/**
 * The named modules and all that they depend on, uncompressed, in the order in which they can be inserted.
 * A name that `modules.dep` (depmod(8)) does not list is built into this kernel and is left out.
 * @param names modules without `.ko`, `-` and `_` being the same
 */
export async function loadableModules(kernel: Kernel, names: readonly string[]): Promise<ModuleFile[]> {
  const dir = kernel.modulesDir;
  if (dir === null) return [];
  const dependencies = new Map<string, string[]>();
  const pathOf = new Map<string, string>();
  for (const line of readFileSync(join(dir, 'modules.dep'), 'utf8').split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const path = line.slice(0, colon);
    pathOf.set(moduleName(path), path);
    // depmod lists the nearest dependency first and what it needs itself after it.
    dependencies.set(
      path,
      line
        .slice(colon + 1)
        .split(' ')
        .filter(Boolean)
        .reverse(),
    );
  }
  const ordered = new Set<string>();
  for (const name of names) {
    const path = pathOf.get(moduleName(name));
    if (path === undefined) continue;
    for (const needed of dependencies.get(path) ?? []) ordered.add(needed);
    ordered.add(path);
  }
  return await Promise.all(
    [...ordered].map(async path => ({
      name: `${moduleName(path)}.ko`,
      content: await uncompressed(join(dir, path)),
    })),
  );
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

async function uncompressed(path: string): Promise<Buffer> {
  if (path.endsWith('.xz')) return await runForBytes('xz', ['-dc', path]);
  if (path.endsWith('.zst')) return await runForBytes('zstd', ['-dcq', path]);
  return readFileSync(path);
}
