import { createHash } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { toSnapshot } from '../model/run-columns.ts';
import { damageText } from '../model/session-file/damage-text.ts';
import { SessionFileError } from '../model/session-file/decode.ts';
import { exportRedacted } from '../model/session-file/export.ts';
import { SessionFile } from '../model/session-file/reader.ts';
import { deflater, inflate } from '../sampler/session-bytes.ts';
import { only } from './commands.ts';
import { CliError, EXIT } from './exit.ts';
import { asCalled } from './own-name.ts';

interface ShowOptions {
  readonly at?: string;
  readonly resource?: number;
  readonly runs: number;
  readonly info?: true;
  readonly redact?: true;
  readonly output?: string;
  readonly force?: true;
  readonly json?: true;
}

export async function runShow(path: string, options: ShowOptions): Promise<void> {
  if ((options.redact === undefined) !== (options.output === undefined)) {
    throw new CliError('a redacted copy needs both: --redact --output FILE', EXIT.usage);
  }
  const file = await openSession(path);
  if (options.output !== undefined) return copyRedacted(file, options.output, options.force === true);
  if (options.info) return showInfo(file, path, options);
  const number = options.at === undefined ? (file.header.openAt ?? 0) : await numberOf(file, options.at);
  const sample = await file.sample(Math.min(number, file.count - 1));
  if (sample === null) {
    const why = (await file.whyMissing(number)) ?? 'it is not there';
    const nearest = await file.whole(number, 1);
    throw new CliError(
      `sample ${number + 1} of ${path} is missing: ${why}. The nearest whole one: --at "#${nearest + 1}"`,
      EXIT.failed,
    );
  }
  const { resource } = options;
  if (resource !== undefined && !sample.resources.some(({ inode }) => inode === resource)) {
    throw new CliError(`there is no dma-buf ${resource} in sample ${number + 1}`, EXIT.noProcess);
  }
  const snapshot = asCalled(toSnapshot(sample));
  if (options.json) {
    process.stdout.write(`${JSON.stringify(only(snapshot, resource), null, 2)}\n`);
    return;
  }
  const { sessionHeading } = await import('./text/session.ts');
  const { snapshotText } = await import('./text/snapshot.ts');
  const { colours } = await import('./text/colours.ts');
  process.stdout.write(sessionHeading(file, path, number, snapshot.takenAt, colours));
  process.stdout.write(snapshotText(snapshot, colours, { runs: options.runs, resource: resource ?? null }));
}

/** A session file; one that cannot be read is told in a sentence. */
export async function openSession(path: string): Promise<SessionFile> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new CliError(`${path} cannot be read: ${messageOf(error)}`, EXIT.failed);
  }
  try {
    return await SessionFile.open(bytes, inflate);
  } catch (error) {
    if (error instanceof SessionFileError) throw new CliError(`${path}: ${error.message}`, EXIT.failed);
    throw error;
  }
}

async function showInfo(file: SessionFile, path: string, { json }: ShowOptions): Promise<void> {
  const gaps: { readonly from: string; readonly to: string }[] = [];
  let last: string | null = null;
  const examined = await file.examine((_number, { takenAt }) => {
    const before = last;
    last = takenAt;
    if (before !== null && Date.parse(takenAt) - Date.parse(before) > 2.5 * file.header.periodMs) {
      gaps.push({ from: before, to: takenAt });
    }
  });
  const info = {
    ...file.header,
    from: new Date(file.from).toISOString(),
    to: new Date(file.to).toISOString(),
    bytes: file.size,
    samples: { count: file.count, whole: examined.whole },
    complete: examined.complete,
    unknownLines: examined.unknownLines,
    gaps,
    events: examined.events.map(({ before, ...event }) => ({ ...event, sample: before + 1 })),
    damage: examined.damage.map(damage => ({
      ...damage,
      sample: damage.sample + 1,
      text: damageText(damage),
    })),
  };
  if (json) {
    process.stdout.write(`${JSON.stringify(info, null, 2)}\n`);
    return;
  }
  const { sessionInfoText } = await import('./text/session.ts');
  const { colours } = await import('./text/colours.ts');
  process.stdout.write(sessionInfoText(info, path, colours));
}

/** `#41` counts from 1, as everything that is shown; a time of day is that of the day on which the session begins, or the next. */
async function numberOf(file: SessionFile, at: string): Promise<number> {
  const told = /^#(\d{1,9})$/.exec(at)?.[1];
  if (told !== undefined) {
    const number = Number(told) - 1;
    if (number < 0 || number >= file.count) {
      throw new CliError(`there is no sample ${at}: the file has #1 to #${file.count}`, EXIT.usage);
    }
    return number;
  }
  const [, hours, minutes, seconds = '00'] = /^(\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?$/.exec(at) ?? [];
  let time: number;
  if (hours !== undefined) {
    const day = new Date(file.from).toISOString().slice(0, 10);
    time = Date.parse(`${day}T${hours}:${minutes}:${seconds}Z`);
    // A session that runs over midnight.
    if (time < Math.floor(file.from / 1000) * 1000 && time + 86_400_000 <= file.to) time += 86_400_000;
  } else {
    // Without a zone it would be read as this machine's.
    time = /^\d{4}-\d\d-\d\dT[\d:.]+$/.test(at) ? Date.parse(`${at}Z`) : Date.parse(at);
  }
  if (Number.isNaN(time)) {
    throw new CliError(`${at} is neither a sample like #41 nor a time like 17:33:24`, EXIT.usage);
  }
  // To the second that was given: a sample is taken some milliseconds into it.
  return file.numberAt(/\.\d/.test(at) ? time : time + 999);
}

/** Beside the file at first: what is there is replaced only by a whole copy. */
async function copyRedacted(file: SessionFile, path: string, force: boolean): Promise<void> {
  if (!force && (await stat(path).catch(() => null)) !== null) {
    throw new CliError(`${path} is there already; --force writes over it`, EXIT.failed);
  }
  const part = `${path}.${createHash('sha256').update(`${process.pid}`).digest('hex').slice(0, 8)}.part`;
  try {
    const handle = await open(part, 'wx', 0o600);
    try {
      await exportRedacted(file, deflater, bytes => handle.appendFile(bytes));
    } finally {
      await handle.close();
    }
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw new CliError(`${path} cannot be written: ${messageOf(error)}`, EXIT.failed);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
