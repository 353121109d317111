import { constants } from 'node:fs';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isSessionName, type RecordingState, type SessionListing } from '../model/recordings.ts';
import type { Sample } from '../model/run-columns.ts';
import type { SessionEvent } from '../model/session-file/line.ts';
import { Recorder } from './recorder.ts';

/** Where a user's recordings are, by the XDG Base Directory Specification. */
export function sessionsFolder(env: NodeJS.ProcessEnv = process.env): string {
  const data = env.XDG_DATA_HOME;
  // A relative one is to be ignored, says the specification.
  const base = data?.startsWith('/') ? data : join(homedir(), '.local', 'share');
  return join(base, 'pinscope', 'sessions');
}

const OFF: RecordingState = { state: 'off', last: null };

/**
 * Recordings of one window: at most one at a time, of one process. What goes wrong with the file is a state, never an error of the sample. A
 * page names no path: files are called by what is recorded, in a folder of the user's own.
 */
export class Recordings {
  private current: RecordingState = OFF;
  private recorder: Recorder | null = null;
  private since = '';
  /** Writes one after another, in the order of the calls. */
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly periodMs: number,
    private readonly onState: (state: RecordingState) => void,
    private readonly folder = sessionsFolder(),
  ) {}

  get state(): RecordingState {
    return this.current;
  }

  /** Recording begins with the next sample. */
  async start(): Promise<void> {
    await this.inTurn(async () => {
      if (this.current.state === 'off' || this.current.state === 'failed') this.enter({ state: 'waiting' });
    });
  }

  /** Closes the file, if there is one. */
  async stop(): Promise<void> {
    await this.inTurn(async () => {
      const { recorder } = this;
      this.recorder = null;
      if (recorder === null) {
        if (this.current.state === 'waiting') this.enter(OFF);
        return;
      }
      const name = this.current.state === 'on' ? this.current.name : '';
      try {
        await recorder.close();
        this.enter({ state: 'off', last: { name, bytes: recorder.bytes, samples: recorder.samples } });
      } catch (error) {
        this.fail(name, recorder.samples, error);
      }
    });
  }

  async take(sample: Sample): Promise<void> {
    await this.inTurn(async () => {
      if (this.current.state === 'waiting') await this.create(sample);
      await this.write(recorder => recorder.add(sample));
    });
  }

  async event(
    kind: SessionEvent['kind'],
    count: number | null = null,
    detail: string | null = null,
  ): Promise<void> {
    await this.inTurn(() => this.write(recorder => recorder.event(kind, count, detail)));
  }

  /** The newest first, a thousand at most. A folder that is not there has none. */
  async list(): Promise<SessionListing> {
    const names = await readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw new Error(`the folder of recordings cannot be read: ${sentenceOf(error)}`);
    });
    const found = await Promise.all(
      names.filter(isSessionName).map(async name => {
        const info = await stat(join(this.folder, name)).catch(() => null);
        return info?.isFile() ? [{ name, bytes: info.size, modifiedAt: info.mtime.toISOString() }] : [];
      }),
    );
    const sessions = found
      .flat()
      .sort((a, b) => b.modifiedAt.localeCompare(a.modifiedAt) || a.name.localeCompare(b.name));
    return { folder: this.folder, sessions: sessions.slice(0, 1000) };
  }

  /**
   * A piece of a file of the folder; shorter at its end, empty behind it.
   * @param name as {@link list} gives it
   */
  async read(name: string, offset: number, bytes: number): Promise<Uint8Array> {
    if (!isSessionName(name)) throw new Error('this is no name of a recording');
    let handle: Awaited<ReturnType<typeof open>>;
    try {
      handle = await open(
        join(this.folder, name),
        constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      );
    } catch (error) {
      throw new Error(`the recording cannot be opened: ${sentenceOf(error)}`);
    }
    try {
      if (!(await handle.stat()).isFile()) throw new Error('the recording cannot be opened: it is no file');
      const buffer = new Uint8Array(bytes);
      let length = 0;
      while (length < bytes) {
        const { bytesRead } = await handle.read(buffer, length, bytes - length, offset + length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.slice(0, length);
    } finally {
      await handle.close();
    }
  }

  private async create(sample: Sample): Promise<void> {
    const base = `${sample.takenAt.slice(0, 19).replaceAll(':', '-')}Z-${fileWord(sample.target.name ?? sample.target.comm)}`;
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      for (let attempt = 1; this.recorder === null; attempt++) {
        const name = `${base}${attempt === 1 ? '' : `-${attempt}`}.pinscope`;
        try {
          const options = { periodMs: this.periodMs, redact: false, replace: false };
          this.recorder = await Recorder.create(join(this.folder, name), options);
          this.since = sample.takenAt;
          this.current = { state: 'on', name, bytes: 0, samples: 0, since: this.since };
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt >= 100) throw error;
        }
      }
    } catch (error) {
      this.fail(null, 0, error);
    }
  }

  private async write(what: (recorder: Recorder) => Promise<void>): Promise<void> {
    const { recorder, current } = this;
    if (recorder === null || current.state !== 'on') return;
    try {
      await what(recorder);
      this.enter({ ...current, bytes: recorder.bytes, samples: recorder.samples });
    } catch (error) {
      this.recorder = null;
      await recorder.abandon();
      this.fail(current.name, recorder.samples, error);
    }
  }

  private fail(name: string | null, samples: number, error: unknown): void {
    this.enter({ state: 'failed', name, samples, detail: sentenceOf(error) });
  }

  private enter(state: RecordingState): void {
    this.current = state;
    this.onState(state);
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(work);
    return this.queue;
  }
}

/** At most 40 characters that need no quoting anywhere. */
const fileWord = (text: string): string => text.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 40) || 'process';

const SENTENCES: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'this user’s share of the disk is full',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOENT: 'it is not there',
  ELOOP: 'it is a link, and links are not followed',
};

/** What an error of the file system means, with its own words. */
function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const known = SENTENCES[(error as NodeJS.ErrnoException).code ?? ''];
  return known === undefined ? error.message : `${known} (${error.message})`;
}
