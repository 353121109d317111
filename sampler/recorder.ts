import { type FileHandle, open } from 'node:fs/promises';
import type { Sample } from '../model/run-columns.ts';
import { fromSnapshot, toSnapshot } from '../model/run-columns.ts';
import type { SessionEvent } from '../model/session-file/line.ts';
import { Redactor } from '../model/session-file/redact.ts';
import { SessionWriter } from '../model/session-file/writer.ts';
import { deflater } from './session-bytes.ts';

export interface RecorderOptions {
  /** Milliseconds from sample to sample. */
  readonly periodMs: number;
  /** Takes names and paths out before they reach the file. */
  readonly redact: boolean;
  /** Writes over a file that is there. */
  readonly replace: boolean;
}

/** Writes one session file. Every sample is handed to the kernel whole before {@link add} answers, so that ending this process loses none. */
export class Recorder {
  private readonly writer: SessionWriter;
  private readonly redactor: Redactor | null;

  private constructor(
    private readonly handle: FileHandle,
    { periodMs, redact }: RecorderOptions,
  ) {
    this.redactor = redact ? new Redactor() : null;
    this.writer = new SessionWriter({
      header: { createdAt: new Date().toISOString(), periodMs, redacted: redact, title: null, openAt: null },
      deflater,
      // Like writeFile, it goes on after a short write.
      write: bytes => handle.appendFile(bytes),
    });
  }

  /**
   * Makes the file, readable by its owner alone.
   * @throws NodeJS.ErrnoException, `EEXIST` where it is there and not to be replaced
   */
  static async create(path: string, options: RecorderOptions): Promise<Recorder> {
    return new Recorder(await open(path, options.replace ? 'w' : 'wx', 0o600), options);
  }

  get samples(): number {
    return this.writer.samples;
  }
  get bytes(): number {
    return this.writer.bytes;
  }

  /** Rejects where it cannot be written; nothing may be added after that but {@link abandon}. */
  async add(sample: Sample): Promise<void> {
    const { redactor } = this;
    await this.writer.add(redactor === null ? sample : fromSnapshot(redactor.snapshot(toSnapshot(sample))));
  }

  async event(
    kind: SessionEvent['kind'],
    count: number | null = null,
    detail: string | null = null,
  ): Promise<void> {
    const event = { at: new Date().toISOString(), kind, count, detail };
    await this.writer.event(this.redactor === null ? event : this.redactor.event(event));
  }

  async close(): Promise<void> {
    try {
      await this.writer.end();
      await this.handle.datasync();
    } finally {
      await this.handle.close();
    }
  }

  /** Closes what cannot be written to any more. What was written is a session that ends there. */
  async abandon(): Promise<void> {
    await this.handle.close().catch(() => {});
  }
}
