import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('./fixtures', import.meta.url));

/** The recorded hosts `test/fixtures/linux-*`; below each, files have the path that they had on the host. */
export const hosts: readonly string[] = readdirSync(root)
  .filter(name => name.startsWith('linux-'))
  .sort();

/** Hosts whose recording has this path (`/proc/zoneinfo`). */
export const hostsWith = (path: string): string[] => hosts.filter(host => hasFixture(host, path));

export const hasFixture = (host: string, path: string): boolean => existsSync(join(root, host, path));

/** The text of a recorded file. Bytes that are no UTF-8 are replaced, as the readers do. */
export const fixture = (host: string, path: string): string => readFileSync(join(root, host, path), 'utf8');

/** All files below a path of the host, by their path on the host. A symlink is there with its target. */
export function fixtureFiles(host: string, under: string): Map<string, string> {
  const files = new Map<string, string>();
  const walk = (path: string) => {
    const full = join(root, host, path);
    const stat = lstatSync(full, { throwIfNoEntry: false });
    if (stat?.isDirectory()) for (const name of readdirSync(full).sort()) walk(`${path}/${name}`);
    else if (stat?.isSymbolicLink()) files.set(path, readlinkSync(full));
    else if (stat) files.set(path, readFileSync(full, 'utf8'));
  };
  walk(under);
  return files;
}

/** The texts of this path on every host that has it: what property tests damage. */
export const fixtureTexts = (path: string): string[] => hostsWith(path).map(host => fixture(host, path));

/** Names of the recorded processes of a host: the directories `proc/NAME` that have a `maps`. */
export const processes = (host: string): string[] =>
  readdirSync(join(root, host, 'proc'), { withFileTypes: true })
    .filter(entry => entry.isDirectory() && hasFixture(host, `/proc/${entry.name}/maps`))
    .map(entry => entry.name);

/** Every recorded text at `/proc/PROCESS/FILE` (`file` may be `fdinfo`, a directory), with where it came from. */
export function processFiles(file: string): { host: string; process: string; path: string; text: string }[] {
  return hosts.flatMap(host =>
    processes(host).flatMap(process =>
      [...fixtureFiles(host, `/proc/${process}/${file}`)].map(([path, text]) => ({
        host,
        process,
        path,
        text,
      })),
    ),
  );
}

/** A dma-buf of a recorded process, as the program that made it says: fstat and its own calls, no procfs. */
export interface MadeBuffer {
  readonly host: string;
  readonly process: string;
  readonly fd: number;
  readonly inode: number;
  readonly size: number;
  readonly name: string | null;
  /** Whether it is mapped and attached; `null`: the witness does not say. */
  readonly mapped: boolean | null;
  readonly attached: boolean | null;
}

/** From `odd.json` (recorder/odd.py) and `buffers.jsonl` (rig/buffers.c). */
export const madeBuffers: readonly MadeBuffer[] = hosts.flatMap((host): MadeBuffer[] => {
  if (hasFixture(host, '/odd.json')) {
    const { buffers } = JSON.parse(fixture(host, '/odd.json'));
    return buffers.map((buffer: MadeBuffer) => ({ ...buffer, host, process: 'odd' }));
  }
  if (!hasFixture(host, '/buffers.jsonl')) return [];
  const events = fixture(host, '/buffers.jsonl')
    .split('\n')
    .filter(line => line.startsWith('{"event":"buffer"'))
    .map(line => JSON.parse(line) as { fd: number; inode: number; sizeBytes: number; name: string | null });
  // A buffer is told again whenever its pages are.
  return [...new Map(events.map(event => [event.inode, event])).values()].map(
    ({ fd, inode, sizeBytes, name }) => ({
      ...{ host, process: 'buffers', fd, inode, size: sizeBytes, name, mapped: null, attached: null },
    }),
  );
});
