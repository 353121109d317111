import type { PrivilegeLevel, SampleTiming } from '../model/contract.ts';
import { formatBytes, plural } from '../model/format.ts';
import type { Reading } from '../model/reading.ts';
import type { Sample } from '../model/run-columns.ts';
import { printable } from '../model/text.ts';
import { readStat } from '../sampler/process.ts';
import { Recorder } from '../sampler/recorder.ts';
import { Sampler } from '../sampler/sampler.ts';
import { Schedule } from '../sampler/schedule.ts';
import { findByName, host } from './commands.ts';
import { CliError, EXIT } from './exit.ts';

interface RecordOptions {
  readonly pid?: number;
  readonly name?: string;
  readonly output?: string;
  /** Seconds. */
  readonly interval: number;
  readonly duration?: number;
  readonly redact?: true;
  readonly force?: true;
  readonly grant?: PrivilegeLevel;
}

export async function runRecord(options: RecordOptions): Promise<void> {
  const pid = options.pid ?? (options.name === undefined ? undefined : await findByName(options.name));
  if (pid === undefined) {
    throw new CliError('which process? Give --pid or --name; pinscope list shows them', EXIT.usage);
  }
  const access = host();
  const stat = readStat(access.files, pid);
  if (stat.state !== 'ok') {
    throw new CliError(`there is no process ${pid}; pinscope list shows the ones there are`, EXIT.noProcess);
  }
  const { startTime } = stat.value;
  const sampler = new Sampler(access);
  const run = () => record(sampler, pid, startTime, options);
  try {
    if (options.grant === undefined) return await run();
    const { withGrant } = await import('./grant.ts');
    await withGrant(access, options.grant, { pid, startTime: String(startTime) }, run, () =>
      sampler.rightsChanged(),
    );
  } finally {
    sampler.close();
  }
}

async function record(
  sampler: Sampler,
  pid: number,
  startTime: bigint,
  options: RecordOptions,
): Promise<void> {
  const first = await sampler.sample(pid, startTime);
  // Before a file is made: a process that cannot be read leaves none.
  if (first.state !== 'ok' && first.state !== 'stale') {
    throw new CliError(`process ${pid} cannot be recorded: ${first.detail}`, EXIT.failed);
  }
  const path = options.output ?? defaultName(first.value, options.redact === true);
  const recorder = await create(path, options);
  const status = new Status(path, recorder);
  try {
    const end = await samples(options, recorder, status, () => sampler.sample(pid, startTime));
    await recorder.close();
    status.end(end);
  } catch (error) {
    await recorder.abandon();
    const kept = `it holds the ${plural(recorder.samples, 'sample')} until then`;
    throw new CliError(`${path} cannot be written any more: ${messageOf(error)}; ${kept}`, EXIT.failed);
  }
}

/** Records until it ends; says why it did. */
function samples(
  { interval, duration }: RecordOptions,
  recorder: Recorder,
  status: Status,
  sample: () => Promise<Reading<Sample>>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let skipped = 0;
    let failed: string | null = null;
    let ended: string | null = null;
    let busy = false;
    const end = (why: string) => {
      ended ??= why;
      schedule.stop();
      clearTimeout(timer);
      for (const signal of SIGNALS) process.off(signal, onSignal);
      if (!busy) resolve(ended);
    };
    // A second one ends it at once; the file is whole to its last sample also then.
    const onSignal = (signal: NodeJS.Signals) => {
      if (ended !== null) process.exit(signal === 'SIGINT' ? 130 : 143);
      end('');
    };
    const timer = duration === undefined ? undefined : setTimeout(() => end(''), duration * 1000);
    const take = async (timing: () => SampleTiming): Promise<void> => {
      const reading = await sample();
      const left = timing().skipped;
      if (left > skipped) await recorder.event('skipped', left - skipped);
      skipped = left;
      if (reading.state === 'ok' || reading.state === 'stale') {
        failed = null;
        await recorder.add(reading.value);
        status.update();
      } else if (reading.state === 'denied') {
        // Once, until it works again.
        if (failed !== reading.detail) await recorder.event('failed', null, reading.detail);
        failed = reading.detail;
      } else {
        await recorder.event('gone', null, reading.detail);
        end('The process ended. ');
      }
    };
    const schedule = new Schedule(interval * 1000, async timing => {
      busy = true;
      try {
        await take(timing);
      } catch (error) {
        end('');
        reject(error);
      } finally {
        busy = false;
      }
      if (ended !== null) resolve(ended);
    });
    for (const signal of SIGNALS) process.on(signal, onSignal);
    schedule.start();
  });
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

async function create(path: string, { interval, redact, force }: RecordOptions): Promise<Recorder> {
  try {
    return await Recorder.create(path, {
      periodMs: interval * 1000,
      redact: redact === true,
      replace: force === true,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CliError(`${path} is there already; --force writes over it`, EXIT.failed);
    }
    throw new CliError(`the file cannot be made: ${messageOf(error)}`, EXIT.failed);
  }
}

function defaultName({ target, takenAt }: Sample, redacted: boolean): string {
  const word = (target.name ?? target.comm).replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 40) || 'process';
  return `${redacted ? 'session' : word}-${takenAt.slice(0, 19).replaceAll(':', '-')}Z.pinscope`;
}

/** One line on standard error: rewritten on a terminal, only at the end in a log. */
class Status {
  private readonly tty = process.stderr.isTTY === true;

  constructor(
    private readonly path: string,
    private readonly recorder: Recorder,
  ) {
    if (this.tty) process.stderr.write(`recording to ${printable(path)}; Ctrl-C ends\n`);
  }

  update(): void {
    if (this.tty) process.stderr.write(`\r\x1b[K${this.counted()}`);
  }

  end(why: string): void {
    process.stderr.write(`${this.tty ? '\r\x1b[K' : ''}${why}${this.counted()} in ${printable(this.path)}\n`);
  }

  private counted(): string {
    return `${plural(this.recorder.samples, 'sample')}, ${formatBytes(this.recorder.bytes)}`;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
