import type { PrivilegeLevel } from '../model/contract.ts';
import type { ProcessList } from '../model/process-list.ts';
import type { Reading } from '../model/reading.ts';
import { toSnapshot } from '../model/run-columns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type HostAccess, openHost } from '../sampler/access.ts';
import { readStat } from '../sampler/process.ts';
import { Sampler } from '../sampler/sampler.ts';
import { CliError, EXIT } from './exit.ts';
import { asCalled, ownName } from './own-name.ts';
import { Progress } from './progress.ts';

interface OutputOptions {
  readonly json?: true;
  /** Seconds between refreshes. */
  readonly watch?: number;
}

// What a command may not need is imported where it is used: text needs tables of character widths, which take longer to load
// than a snapshot takes to read.

async function show(
  options: OutputOptions,
  render: (progress: Progress | undefined) => Promise<string>,
): Promise<void> {
  if (options.watch === undefined) {
    process.stdout.write(await withProgress(render));
    return;
  }
  const { watch } = await import('./watch.ts');
  // Once something is shown, progress would write into it.
  let first = true;
  const screen = process.stdout.isTTY === true && !options.json;
  await watch(process.stdout, { seconds: options.watch, screen }, async () => {
    const text = first ? await withProgress(render) : await render(undefined);
    first = false;
    return text;
  });
}

export async function withProgress<T>(use: (progress: Progress) => Promise<T>): Promise<T> {
  const progress = new Progress(process.stderr);
  try {
    return await use(progress);
  } finally {
    progress.end();
  }
}

/** This machine; an addon that is not built is told in its own sentence. */
export function host(): HostAccess {
  try {
    return openHost();
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error), EXIT.failed);
  }
}

const json = (value: unknown, options: OutputOptions): string =>
  `${JSON.stringify(value, null, options.watch === undefined ? 2 : 0)}\n`;

interface ListOptions extends OutputOptions {
  readonly grant?: true;
}

export async function runList(options: ListOptions): Promise<void> {
  const access = host();
  const run = () =>
    show(options, async progress => {
      const list = await readList(progress, access);
      if (options.json) return json(list, options);
      const { listText } = await import('./text/list.ts');
      const { colours } = await import('./text/colours.ts');
      return listText(list, colours, process.geteuid?.() === 0);
    });
  if (!options.grant) return run();
  const { withGrant } = await import('./grant.ts');
  await withGrant(access, 'kernel-memory', null, run);
}

export async function readList(progress: Progress | undefined, access = host()): Promise<ProcessList> {
  const { listProcesses } = await import('../sampler/process-list.ts');
  return listProcesses(access, (done, total) =>
    progress?.update({ what: 'looking through processes', done, total }),
  );
}

interface SnapshotOptions extends OutputOptions {
  readonly pid?: number;
  readonly name?: string;
  readonly resource?: number;
  readonly filter?: string;
  readonly runs: number;
  readonly grant?: PrivilegeLevel;
}

export async function runSnapshot(options: SnapshotOptions): Promise<void> {
  const pid = options.pid ?? (options.name === undefined ? undefined : await findByName(options.name));
  if (pid === undefined) {
    throw new CliError('which process? Give --pid or --name; pinscope list shows them', EXIT.usage);
  }
  // Before anything is read, and before anybody is asked for a password.
  const filter = options.filter === undefined ? null : (await import('./filter.ts')).filterOf(options.filter);
  const access = host();
  const sampler = new Sampler(access);
  let startTime: bigint | undefined;
  const run = () =>
    show(options, async progress => {
      const sample = taken(await sampler.sample(pid, startTime, progress?.update), pid);
      startTime = BigInt(sample.target.startTime);
      const { resource } = options;
      if (resource !== undefined && !sample.resources.some(({ inode }) => inode === resource)) {
        throw new CliError(`process ${pid} holds no dma-buf ${resource} that we can see`, EXIT.noProcess);
      }
      const chosen = filter === null ? null : filter(sample);
      const snapshot = asCalled(toSnapshot(chosen?.sample ?? sample));
      if (options.json) {
        // Findings stay whole: a filter chooses dma-bufs.
        const kept = chosen
          ? { filter: chosen.json, ...asCalled({ ...snapshot, findings: sample.findings }) }
          : snapshot;
        return json(only(kept, resource), options);
      }
      const { snapshotText } = await import('./text/snapshot.ts');
      const { colours } = await import('./text/colours.ts');
      return snapshotText(snapshot, colours, {
        runs: options.runs,
        resource: resource ?? null,
        filter: chosen?.result ?? null,
      });
    });
  try {
    if (options.grant === undefined) return await run();
    const stat = readStat(access.files, pid);
    if (stat.state !== 'ok') {
      throw new CliError(
        `there is no process ${pid}; pinscope list shows the ones there are`,
        EXIT.noProcess,
      );
    }
    startTime = stat.value.startTime;
    const { withGrant } = await import('./grant.ts');
    const target = { pid, startTime: String(startTime) };
    await withGrant(access, options.grant, target, run, () => sampler.rightsChanged());
  } finally {
    sampler.close();
  }
}

export const only = (snapshot: Snapshot, inode: number | undefined): Snapshot =>
  inode === undefined
    ? snapshot
    : { ...snapshot, resources: snapshot.resources.filter(resource => resource.inode === inode) };

export function taken<T>(reading: Reading<T>, pid: number): T {
  switch (reading.state) {
    case 'ok':
    case 'stale':
      return reading.value;
    case 'raced':
      throw new CliError(`cannot show process ${pid}: ${reading.detail}`, EXIT.raced);
    case 'absent':
      throw new CliError(`${reading.detail}; pinscope list shows the ones there are`, EXIT.noProcess);
    case 'denied':
      throw new CliError(
        `process ${pid} cannot be read: ${reading.detail}; needs ${reading.grant}`,
        EXIT.failed,
      );
  }
}

export async function findByName(name: string): Promise<number> {
  const { processes } = await withProgress(progress => readList(progress));
  const fits = processes.filter(row => row.name === name);
  // The kernel keeps 15 bytes of a program's name (TASK_COMM_LEN): qemu-system-x86_64 is qemu-system-x86.
  const comm = name.slice(0, 15);
  const found = fits.length > 0 ? fits : processes.filter(row => row.comm === comm);
  const [first, ...others] = found;
  if (!first) {
    throw new CliError(
      `no QEMU and no holder of a udmabuf is called ${name}; pinscope list shows the names`,
      EXIT.noProcess,
    );
  }
  if (others.length > 0) {
    const pids = found.map(({ pid }) => pid).join(', ');
    throw new CliError(
      `${found.length} processes are called ${name}: give --pid, one of ${pids}`,
      EXIT.noProcess,
    );
  }
  return first.pid;
}

export async function runSources(options: OutputOptions): Promise<void> {
  await show(options, async () => {
    const { readCapabilities } = await import('../sampler/capabilities.ts');
    const sources = await readCapabilities(host());
    if (options.json) return json({ schema: 'pinscope.sources/1', sources }, options);
    const { sourcesText } = await import('./text/sources.ts');
    const { colours } = await import('./text/colours.ts');
    return sourcesText(sources, colours);
  });
}

/** What a newcomer sees first: what runs here, or else what it would look like. */
export async function runStart(): Promise<void> {
  const list = await withProgress(progress => readList(progress));
  const used = list.processes.some(({ buffers }) => buffers === null || buffers > 0);
  if (used) {
    await (process.stdout.isTTY ? runList({ watch: 1 }) : runList({}));
    return;
  }
  const { recordingText } = await import('./recording.ts');
  process.stdout.write(recordingText(ownName()));
}
