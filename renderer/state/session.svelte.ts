import type { SamplerEvent, SamplerHostState, SampleTiming, TargetId } from '../../model/contract.ts';
import type { ProcessList } from '../../model/process-list.ts';
import type { Sample } from '../../model/run-columns.ts';
import type { ReplayTransport } from '../transport/replay.ts';
import { type Transport, TransportClosed, type TransportState } from '../transport/transport.ts';
import type { Clock } from './clock.svelte.ts';
import { inOrder, type Mode, type RecordingReason, sameTarget, targetOf, worthWatching } from './mode.ts';
import { Replay } from './replay.svelte.ts';
import type { Selection } from './selection.svelte.ts';

/** A sample as it came. */
export interface Arrived {
  readonly sample: Sample;
  readonly timing: SampleTiming | null;
  /** On the page's clock, milliseconds. */
  readonly at: number;
}

/**
 * Told of live samples as they are shown, and of all samples of a session file as it is read.
 * @param source `live`, or a name of its own for each recording that was opened
 * @param periodMs time between two samples
 */
export type SampleListener = (sample: Sample, source: string, periodMs: number) => void;

export interface Progress {
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

/** So long the old process's data stays when another is chosen: a quick answer replaces it without a flicker. */
const KEEP_OLD_MS = 50;

/** Processes, the one that is watched, and what was read of it. The views read it; only it talks to samplers. */
export class Session {
  #mode = $state.raw<Mode>({ kind: 'starting' });
  #processes = $state.raw<ProcessList | null>(null);
  #data = $state.raw<Arrived | null>(null);
  #failure = $state.raw<string | null>(null);
  #progress = $state.raw<Progress | null>(null);
  #periodMs = $state.raw(1000);
  #connection = $state.raw<TransportState>({ state: 'waiting' });
  #host = $state.raw<SamplerHostState | null>(null);

  readonly #live: Transport | null;
  readonly #openReplay: () => Promise<ReplayTransport>;
  readonly #selection: Selection;
  readonly #clock: Clock;
  readonly #isRecording: () => boolean;
  /** What the sampler was told last. */
  #samplerPaused = false;
  #replay = $state.raw<Replay | null>(null);
  /** The process that was watched before a recording was opened. */
  #before = $state.raw<TargetId | null>(null);
  #wanted = $state.raw<number | null>(null);
  /** Whether it is known what the start asked for. */
  #opened = false;
  /** Recordings that were opened. */
  #opens = 0;
  readonly #sampleListeners = new Set<SampleListener>();

  /**
   * @param live `null` where no sampler can ever be reached: a page without a shell
   * @param isRecording whether the sampler writes what it samples to a file
   */
  constructor(
    live: Transport | null,
    openReplay: () => Promise<ReplayTransport>,
    selection: Selection,
    clock: Clock,
    isRecording: () => boolean = () => false,
  ) {
    this.#isRecording = isRecording;
    this.#live = live;
    this.#openReplay = openReplay;
    this.#selection = selection;
    this.#clock = clock;
    live?.onEvent(event => this.#onEvent(event));
    live?.onState(state => this.#onConnection(state));
  }

  get mode(): Mode {
    return this.#mode;
  }
  /** Live processes of this machine; `null`: not known yet. */
  get processes(): ProcessList | null {
    return this.#processes;
  }
  get data(): Arrived | null {
    return this.#data;
  }
  get sample(): Sample | null {
    return this.#data?.sample ?? null;
  }
  /** Why the newest sample or call failed; `null` after one that did not. */
  get failure(): string | null {
    return this.#failure;
  }
  get progress(): Progress | null {
    return this.#progress;
  }
  /** `--pid N` that the list does not have yet: attached to as soon as it does. */
  get wanted(): number | null {
    return this.#wanted;
  }
  get connection(): TransportState {
    return this.#connection;
  }
  get host(): SamplerHostState | null {
    return this.#host;
  }
  get target(): TargetId | null {
    return targetOf(this.#mode);
  }

  /** The session file that is shown; `null` while live data is, or none. */
  get replay(): Replay | null {
    return this.#mode.kind === 'recording' ? this.#replay : null;
  }
  /** The process to go back to from a recording. */
  get before(): TargetId | null {
    return this.#mode.kind === 'recording' ? this.#before : null;
  }

  /** Milliseconds since the shown data came; `null` without data, and for a recording, whose date says it. */
  get ageMs(): number | null {
    if (this.#data === null || this.#mode.kind === 'recording') return null;
    return Math.max(0, this.#clock.now - this.#data.at);
  }

  /** Samples should come and do not: what is shown may be wrong by now. */
  get stale(): boolean {
    if (this.#mode.kind !== 'live') return false;
    if (this.#failure !== null || this.#connection.state !== 'open') return true;
    return (this.ageMs ?? 0) > Math.max(3000, 3 * this.#periodMs);
  }

  /** A process to offer while the recording is shown. */
  get offered() {
    if (this.#mode.kind !== 'recording' || this.#processes === null) return null;
    return (
      worthWatching(this.#processes) ?? inOrder(this.#processes).find(({ kind }) => kind === 'qemu') ?? null
    );
  }

  /** Tells of samples in the order in which they were taken. Returns what ends it. */
  onSample(listener: SampleListener): () => void {
    this.#sampleListeners.add(listener);
    return () => void this.#sampleListeners.delete(listener);
  }

  /** What a start or a second start asked for. */
  open(pid: number | null): void {
    this.#opened = true;
    if (pid !== null) this.#wanted = pid;
    if (this.#live === null) void this.openRecording({ why: 'no-shell' });
    else this.#decide();
  }

  /** The sampler process as the shell sees it. */
  onHost(host: SamplerHostState): void {
    this.#host = host;
    if (host.state === 'failed' && this.#mode.kind === 'starting') {
      void this.openRecording({ why: 'no-sampler', detail: host.detail });
    }
  }

  attach(target: TargetId): void {
    this.#wanted = null;
    const before = this.target;
    this.#replay?.close();
    this.#replay = null;
    this.#mode = { kind: 'live', target };
    this.#failure = null;
    this.#progress = null;
    if (before === null || !sameTarget(before, target)) {
      this.#selection.select(null);
      const old = this.#data;
      setTimeout(() => {
        if (this.#data === old) this.#data = null;
      }, KEEP_OLD_MS);
    }
    if (this.#samplerPaused) this.#pause(false);
    this.#watch();
  }

  /** Opens the example that comes with the program. */
  openRecording(why: RecordingReason = { why: 'asked' }): Promise<void> {
    return this.#show(why, this.#openReplay, 'The recording could not be loaded');
  }

  /** Opens a session file. What is wrong with it is {@link failure}; nothing of another session stays on the screen then. */
  openFile(name: string, open: () => Promise<ReplayTransport>): Promise<void> {
    return this.#show({ why: 'file', name }, open, `${name} cannot be opened`);
  }

  /** Back to the process that was watched before the recording. */
  backToLive(): void {
    if (this.before !== null) this.attach(this.before);
  }

  togglePaused(): void {
    if (this.#mode.kind === 'live') {
      this.#mode = { kind: 'paused', target: this.#mode.target };
      this.#pause(true);
    } else if (this.#mode.kind === 'paused') {
      this.#mode = { kind: 'live', target: this.#mode.target };
      this.#pause(false);
    } else {
      this.replay?.toggle();
    }
  }

  /** Asks for the processes now. */
  refreshProcesses(): void {
    this.#live
      ?.call('listProcesses')
      .then(list => this.#onProcesses(list))
      .catch(error => this.#onCallFailed(error));
  }

  async #show(why: RecordingReason, open: () => Promise<ReplayTransport>, trouble: string): Promise<void> {
    const watched = this.target;
    const mode: Mode = { kind: 'recording', why };
    this.#mode = mode;
    this.#failure = null;
    this.#progress = null;
    if (watched !== null) {
      this.#before = watched;
      // What is being recorded goes on being sampled.
      if (!this.#isRecording()) this.#ask('watch', null);
    }
    this.#replay?.close();
    this.#replay = null;
    let opened: ReplayTransport;
    try {
      opened = await open();
    } catch (error) {
      if (this.#mode === mode) {
        this.#data = null;
        this.#failure = `${trouble}: ${messageOf(error)}`;
      }
      return;
    }
    // Something else may have been chosen while the recording was loaded.
    if (this.#mode !== mode) return;
    this.#selection.select(null);
    const source = `recording ${++this.#opens}`;
    const { periodMs } = opened.file.header;
    this.#replay = new Replay(opened, each => this.#tell(each, source, periodMs));
    opened.onEvent(event => {
      if (this.#mode === mode && event.type === 'sample') this.#take(event.sample, event.timing);
    });
    await opened.seek(opened.file.header.openAt ?? 0);
  }

  #onConnection(state: TransportState): void {
    this.#connection = state;
    if (state.state !== 'open') this.#progress = null;
    if (state.state === 'closed' && this.#mode.kind === 'starting') {
      void this.openRecording({ why: 'no-sampler', detail: state.detail });
    }
  }

  #onEvent(event: SamplerEvent): void {
    switch (event.type) {
      case 'hello':
        this.#periodMs = event.periodMs;
        this.#resume();
        break;
      case 'processes':
        this.#onProcesses(event.list);
        break;
      case 'sample':
        if (this.#isOfTarget(event.sample.target)) {
          // Taken before the pause reached the sampler: the pause stands, unless there is nothing to look at yet.
          if (this.#mode.kind === 'paused' && this.#data !== null) break;
          this.#take(event.sample, event.timing);
        }
        break;
      case 'progress':
        if (this.target !== null) this.#progress = event;
        break;
      case 'failed':
        if (!this.#isOfTarget(event.target)) break;
        this.#progress = null;
        if (event.gone) this.#mode = { kind: 'gone', target: event.target, detail: event.detail };
        else this.#failure = event.detail;
        break;
      case 'privilege':
        break;
    }
  }

  /** A sampler that just started knows nothing of what this window watches. */
  #resume(): void {
    const mode = this.#mode;
    if (mode.kind === 'live' || mode.kind === 'paused') {
      this.#watch();
      this.#samplerPaused = false;
      if (mode.kind === 'paused') this.#pause(true);
    }
    this.refreshProcesses();
  }

  #pause(paused: boolean): void {
    this.#samplerPaused = paused;
    this.#ask('setPaused', paused);
  }

  #watch(): void {
    if (this.target !== null) this.#ask('watch', this.target);
  }

  #onProcesses(list: ProcessList): void {
    this.#processes = list;
    this.#decide();
  }

  /** What to show, where the user has not said it. */
  #decide(): void {
    const list = this.#processes;
    if (list === null || !this.#opened) return;
    const wanted = list.processes.find(({ pid }) => pid === this.#wanted);
    if (wanted !== undefined) {
      this.attach({ pid: wanted.pid, startTime: wanted.startTime });
    } else if (this.#mode.kind === 'starting') {
      const found = this.#wanted === null ? worthWatching(list) : null;
      if (found !== null) this.attach({ pid: found.pid, startTime: found.startTime });
      else void this.openRecording({ why: 'nothing-here' });
    }
  }

  #take(sample: Sample, timing: SampleTiming | null): void {
    this.#selection.observe(sample);
    this.#data = { sample, timing, at: performance.now() };
    if (this.#mode.kind !== 'recording') this.#tell(sample, 'live', this.#periodMs);
    this.#failure = null;
    this.#progress = null;
    this.#clock.tick();
  }

  #tell(sample: Sample, source: string, periodMs: number): void {
    for (const listener of this.#sampleListeners) listener(sample, source, periodMs);
  }

  #isOfTarget(target: TargetId): boolean {
    return this.target !== null && sameTarget(this.target, target);
  }

  #ask(method: 'watch', target: TargetId | null): void;
  #ask(method: 'setPaused', paused: boolean): void;
  #ask(method: 'watch' | 'setPaused', argument: never): void {
    this.#live?.call(method, argument).catch(error => this.#onCallFailed(error));
  }

  #onCallFailed(error: unknown): void {
    // After the next hello it is asked again.
    if (error instanceof TransportClosed) return;
    this.#failure = messageOf(error);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
