import type { SamplerEvent, SamplerService } from '../../model/contract.ts';
import type { ProcessList } from '../../model/process-list.ts';
import type { Sample } from '../../model/run-columns.ts';
import { SessionFile } from '../../model/session-file/reader.ts';
import { inflate } from './inflate.ts';
import { Listeners, type Transport, type TransportState } from './transport.ts';

/** Where a replay is, and whether it moves by itself. */
export interface Playback {
  /** Number of the shown sample, from 0; `null`: none was asked for yet. */
  readonly number: number | null;
  /** When it was taken, milliseconds since 1970. */
  readonly time: number;
  readonly playing: boolean;
  /** Seconds of the recording in a second. */
  readonly speed: number;
}

/** Samples are not shown more often than this, milliseconds: at higher speeds some are left out. */
const LEAST_WAIT_MS = 100;
/** A hole in the recording is not waited for any longer. */
const MOST_WAIT_MS = 1000;

/** The bundled session: a real QEMU on a real kernel, loaded when it is wanted. */
export async function loadRecording(): Promise<ReplayTransport> {
  const response = await fetch(new URL('recorded.pinscope', document.baseURI));
  if (!response.ok) throw new Error(`recorded.pinscope: ${response.status} ${response.statusText}`);
  return ReplayTransport.open(new Uint8Array(await response.arrayBuffer()), null);
}

/**
 * A transport that answers from a session file, moved by hand or by a clock. It asks nobody for rights and its process cannot change. What
 * is missing in the file is stepped over: never another sample's numbers under its time.
 */
export class ReplayTransport implements Transport {
  readonly state: TransportState = { state: 'open' };
  readonly #events = new Listeners<SamplerEvent>();
  readonly #moves = new Listeners<Playback>();
  #playback: Playback = { number: null, time: 0, playing: false, speed: 1 };
  #sample: Sample | null = null;
  /** Of the newest move: an older one that ends later shows nothing. */
  #move = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param name of the file; `null` for the bundled one */
  constructor(
    readonly file: SessionFile,
    readonly name: string | null,
  ) {}

  /** @throws SessionFileError with a sentence, for bytes that are no session */
  static async open(bytes: Uint8Array, name: string | null): Promise<ReplayTransport> {
    return new ReplayTransport(await SessionFile.open(bytes, inflate), name);
  }

  get playback(): Playback {
    return this.#playback;
  }

  call<M extends keyof SamplerService>(
    method: M,
    ...args: Parameters<SamplerService[M]>
  ): ReturnType<SamplerService[M]> {
    return this.#answer(method, args) as unknown as ReturnType<SamplerService[M]>;
  }

  onEvent(listener: (event: SamplerEvent) => void): () => void {
    return this.#events.add(listener);
  }

  onState(): () => void {
    return () => {};
  }

  /** Told of every change of {@link playback}. */
  onMove(listener: (playback: Playback) => void): () => void {
    return this.#moves.add(listener);
  }

  close(): void {
    this.pause();
  }

  /** Shows sample `n`, or the nearest that is whole: first looked for in the direction of `step`. */
  async seek(n: number, step: 1 | -1 = 1): Promise<void> {
    const move = ++this.#move;
    const number = await this.file.whole(n, step);
    const sample = await this.file.sample(number);
    if (move !== this.#move || sample === null) return;
    this.#sample = sample;
    this.#enter({ ...this.#playback, number, time: Date.parse(sample.takenAt) });
    this.#events.tell({ type: 'sample', sample, timing: null });
  }

  /** Shows the last sample that was taken at `time` or before, milliseconds since 1970. */
  async seekTime(time: number): Promise<void> {
    const move = ++this.#move;
    const number = await this.file.numberAt(time);
    if (move === this.#move) await this.seek(number, -1);
  }

  /** From the end it begins anew. */
  play(): void {
    if (this.#playback.playing) return;
    const { number } = this.#playback;
    this.#enter({ ...this.#playback, playing: true });
    if (number !== null && number >= this.file.count - 1) void this.seek(0).then(() => this.#wait());
    else this.#wait();
  }

  pause(): void {
    clearTimeout(this.#timer);
    if (this.#playback.playing) this.#enter({ ...this.#playback, playing: false });
  }

  setSpeed(speed: number): void {
    this.#enter({ ...this.#playback, speed });
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const { speed } = this.#playback;
    const period = this.file.header.periodMs;
    const ahead = Math.max(1, Math.round((LEAST_WAIT_MS * speed) / period));
    const wait = Math.min(MOST_WAIT_MS, Math.max(LEAST_WAIT_MS, (ahead * period) / speed));
    this.#timer = setTimeout(() => void this.#advance(ahead), wait);
  }

  async #advance(by: number): Promise<void> {
    const last = this.file.count - 1;
    const next = Math.min(last, (this.#playback.number ?? 0) + by);
    await this.seek(next);
    if (!this.#playback.playing) return;
    if ((this.#playback.number ?? 0) >= last) this.pause();
    else this.#wait();
  }

  #enter(playback: Playback): void {
    this.#playback = playback;
    this.#moves.tell(playback);
  }

  async #answer(method: keyof SamplerService, args: readonly unknown[]): Promise<unknown> {
    switch (method) {
      case 'listProcesses':
        return this.#processes(await this.#shown());
      case 'watch':
        if (args[0] !== null) await this.seek(this.#playback.number ?? this.file.header.openAt ?? 0);
        return undefined;
      case 'setPaused':
        if (args[0] === true) this.pause();
        else this.play();
        return undefined;
      case 'grant':
      case 'revoke':
        throw new Error('A recording needs no rights: attach to a process of this machine first.');
      case 'record':
      case 'listSessions':
      case 'readSession':
        throw new Error('This is a recording: only a process of this machine can be recorded.');
    }
  }

  async #shown(): Promise<Sample> {
    if (this.#sample !== null) return this.#sample;
    const sample = await this.file.sample(await this.file.whole(this.file.header.openAt ?? 0, 1));
    if (sample === null) throw new Error('This session is damaged: no sample of it is whole.');
    return sample;
  }

  #processes({ target, takenAt, resources }: Sample): ProcessList {
    const held = resources.filter(({ exporter }) => exporter === 'udmabuf');
    const known = held.flatMap(({ sizeBytes }) => (sizeBytes === null ? [] : [sizeBytes]));
    const created = held.flatMap(({ createdAt }) => (createdAt === null ? [] : [createdAt]));
    return {
      schema: 'pinscope.processes/1',
      takenAt,
      hiddenProcesses: 0,
      processes: [
        {
          pid: target.pid,
          startTime: target.startTime,
          comm: target.comm,
          uid: target.uid < 0 ? null : target.uid,
          user: target.user,
          kind: target.kind,
          name: target.name,
          buffers: held.length,
          bufferBytes: known.length === held.length ? known.reduce((sum, bytes) => sum + bytes, 0) : null,
          oldest: created.sort()[0] ?? null,
        },
      ],
    };
  }
}
