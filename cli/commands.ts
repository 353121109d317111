import type { ProcessList } from '../model/process-list.ts';
import type { Reading } from '../model/reading.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { printable } from '../model/text.ts';
import { openHost } from '../sampler/access.ts';
import { readCapabilities } from '../sampler/capabilities.ts';
import { listProcesses } from '../sampler/process-list.ts';
import { Sampler } from '../sampler/sampler.ts';
import { CliError, EXIT } from './exit.ts';
import { Progress } from './progress.ts';
import { recording } from './recording.ts';
import { coloursFor } from './text/colours.ts';
import { listText } from './text/list.ts';
import { snapshotText } from './text/snapshot.ts';
import { sourcesText } from './text/sources.ts';
import { watch } from './watch.ts';

interface OutputOptions {
  readonly json?: true;
  /** Seconds between refreshes. */
  readonly watch?: number;
}

const colours = coloursFor(process.stdout);

async function show(options: OutputOptions, render: () => Promise<string>): Promise<void> {
  if (options.watch === undefined) process.stdout.write(await render());
  else await watch(process.stdout, options.watch, render);
}

const json = (value: unknown, options: OutputOptions): string =>
  `${JSON.stringify(value, null, options.watch === undefined ? 2 : 0)}\n`;

export async function runList(options: OutputOptions): Promise<void> {
  await show(options, async () => {
    const list = await readList();
    return options.json ? json(list, options) : listText(list, colours);
  });
}

async function readList(): Promise<ProcessList> {
  const progress = new Progress(process.stderr);
  try {
    return await listProcesses(openHost(), (done, total) =>
      progress.update({ what: 'looking through processes', done, total }),
    );
  } finally {
    progress.end();
  }
}

interface SnapshotOptions extends OutputOptions {
  readonly pid?: number;
  readonly name?: string;
  readonly resource?: number;
  readonly runs: number;
}

export async function runSnapshot(options: SnapshotOptions): Promise<void> {
  const pid = options.pid ?? (options.name === undefined ? undefined : await findByName(options.name));
  if (pid === undefined) {
    throw new CliError('which process? Give --pid or --name; pinscope list shows them', EXIT.usage);
  }
  const sampler = new Sampler(openHost());
  let startTime: bigint | undefined;
  try {
    await show(options, async () => {
      const progress = new Progress(process.stderr);
      const snapshot = taken(await sampler.snapshot(pid, startTime, progress.update), pid);
      progress.end();
      startTime = BigInt(snapshot.target.startTime);
      const { resource } = options;
      if (resource !== undefined && !snapshot.resources.some(({ inode }) => inode === resource)) {
        throw new CliError(`process ${pid} holds no dma-buf ${resource}`, EXIT.noProcess);
      }
      if (options.json) return json(only(snapshot, resource), options);
      return snapshotText(snapshot, colours, { runs: options.runs, resource: resource ?? null });
    });
  } finally {
    sampler.close();
  }
}

const only = (snapshot: Snapshot, inode: number | undefined): Snapshot =>
  inode === undefined
    ? snapshot
    : { ...snapshot, resources: snapshot.resources.filter(resource => resource.inode === inode) };

function taken(reading: Reading<Snapshot>, pid: number): Snapshot {
  switch (reading.state) {
    case 'ok':
    case 'stale':
      return reading.value;
    case 'raced':
      throw new CliError(`process ${pid} cannot be shown: ${reading.detail}`, EXIT.raced);
    case 'absent':
      throw new CliError(`${reading.detail}; pinscope list shows the ones there are`, EXIT.noProcess);
    case 'denied':
      throw new CliError(
        `process ${pid} cannot be read: ${reading.detail}; needs ${reading.grant}`,
        EXIT.failed,
      );
  }
}

async function findByName(name: string): Promise<number> {
  const { processes } = await readList();
  const fits = processes.filter(row => row.name === name);
  const found = fits.length > 0 ? fits : processes.filter(row => row.comm === name);
  const [first, ...others] = found;
  if (!first) {
    throw new CliError(
      `no process here is called ${printable(name)}; pinscope list shows the names`,
      EXIT.noProcess,
    );
  }
  if (others.length > 0) {
    const pids = found.map(({ pid }) => pid).join(', ');
    throw new CliError(
      `${found.length} processes are called ${printable(name)}: give --pid, one of ${pids}`,
      EXIT.noProcess,
    );
  }
  return first.pid;
}

export async function runSources(options: OutputOptions): Promise<void> {
  await show(options, async () => {
    const sources = await readCapabilities(openHost());
    return options.json
      ? json({ schema: 'pinscope.sources/1', sources }, options)
      : sourcesText(sources, colours);
  });
}

/** What a newcomer sees first: what runs here, or else what it would look like. */
export async function runStart(): Promise<void> {
  const list = await readList();
  const used = list.processes.some(({ buffers }) => buffers === null || buffers > 0);
  if (used) {
    await (process.stdout.isTTY ? runList({ watch: 1 }) : runList({}));
    return;
  }
  const { snapshot, label } = recording();
  process.stdout.write(
    `${colours.warn(`RECORDING, not this machine: ${label}`)}\n` +
      'Nothing here uses udmabuf now. For a live process: pinscope snapshot --pid PID (node dist/cli/pinscope.js list shows them).\n\n' +
      snapshotText(snapshot, colours, { runs: 12, resource: null }),
  );
}
