import type {
  PrivilegeLevel,
  PrivilegeState,
  SamplerEvent,
  SamplerService,
  SampleTiming,
  TargetId,
} from '../model/contract.ts';
import { CONTRACT_VERSION } from '../model/contract.ts';
import type { ProcessList } from '../model/process-list.ts';
import type { RecordingState, SessionListing } from '../model/recordings.ts';
import type { Sample } from '../model/run-columns.ts';
import type { HostAccess } from './access.ts';
import type { Rights } from './privilege.ts';
import { listProcesses } from './process-list.ts';
import { Recordings } from './recordings.ts';
import { Sampler } from './sampler.ts';
import { Schedule } from './schedule.ts';

const SAMPLE_MS = 1000;
/** Looking through all processes costs a readlink an open file of the host; beside a target it is news of second rank. */
const LIST_MS = 2000;
const LIST_BESIDE_TARGET_MS = 10_000;
/** A scan shorter than this needs no progress. */
const PROGRESS_AFTER_MS = 500;

/**
 * One window's view of the host: what it watches, at what pace. Shells differ only in how the calls come and the events go
 * (a MessagePort, a WebSocket).
 */
export class SamplerSession implements SamplerService {
  private readonly sampler: Sampler;
  private readonly recordings: Recordings;
  /** Samples left out, as the recording has been told. */
  private skipped = 0;
  private readonly samples = new Schedule(SAMPLE_MS, timing => this.takeSample(timing));
  private target: TargetId | null = null;
  private paused = false;
  private closed = false;
  private listTimer: NodeJS.Timeout | undefined;
  private readonly unsubscribe: () => void;

  constructor(
    private readonly host: HostAccess,
    private readonly privilege: Rights,
    private readonly emit: (event: SamplerEvent) => void,
  ) {
    this.sampler = new Sampler(host);
    this.recordings = new Recordings(SAMPLE_MS, recording => {
      if (!this.closed) emit({ type: 'recording', recording });
    });
    emit({
      type: 'hello',
      contract: CONTRACT_VERSION,
      samplerPid: process.pid,
      privilege: privilege.state,
      periodMs: SAMPLE_MS,
    });
    this.unsubscribe = privilege.onChange(state => {
      this.sampler.rightsChanged();
      emit({ type: 'privilege', privilege: state });
      void this.recordings.event('rights', null, state.state);
    });
    void this.refreshList();
  }

  async listProcesses(): Promise<ProcessList> {
    return listProcesses(this.host);
  }

  async watch(target: TargetId | null): Promise<void> {
    // A session file is of one process.
    const ended = sameTarget(this.target, target) ? undefined : this.recordings.stop();
    this.target = target;
    this.pace();
    this.planList();
    await ended;
  }

  async setPaused(paused: boolean): Promise<void> {
    if (paused !== this.paused) void this.recordings.event(paused ? 'paused' : 'continued');
    this.paused = paused;
    this.pace();
  }

  grant(level: PrivilegeLevel, target: TargetId | null, install: boolean): Promise<PrivilegeState> {
    return this.privilege.grant(level, target, install);
  }

  revoke(): Promise<PrivilegeState> {
    return this.privilege.revoke();
  }

  async record(on: boolean): Promise<RecordingState> {
    if (on && this.target === null)
      throw new Error('nothing is watched that could be recorded: choose a process first');
    if (on) await this.recordings.start();
    else await this.recordings.stop();
    return this.recordings.state;
  }

  listSessions(): Promise<SessionListing> {
    return this.recordings.list();
  }

  readSession(name: string, offset: number, bytes: number): Promise<Uint8Array> {
    return this.recordings.read(name, offset, bytes);
  }

  /** Ends everything, a recording too; no event comes after it. */
  close(): void {
    void this.recordings.stop();
    this.closed = true;
    this.target = null;
    this.samples.stop();
    clearTimeout(this.listTimer);
    this.unsubscribe();
    this.sampler.close();
  }

  private pace(): void {
    this.samples.stop();
    if (this.target && !this.paused && !this.closed) this.samples.start();
  }

  private async takeSample(timing: () => SampleTiming): Promise<void> {
    const { target } = this;
    if (!target) return;
    // A window that went to another process meanwhile is not told of this one.
    const current = () => this.target === target && !this.paused && !this.closed;
    const started = performance.now();
    const fail = (gone: boolean, detail: string) => {
      if (gone) this.samples.stop();
      this.emit({ type: 'failed', target, gone, detail });
      void this.recordings.event(gone ? 'gone' : 'failed', null, detail);
      if (gone) void this.recordings.stop();
    };
    try {
      const reading = await this.sampler.sample(target.pid, BigInt(target.startTime), progress => {
        if (current() && performance.now() - started > PROGRESS_AFTER_MS)
          this.emit({ type: 'progress', ...progress });
      });
      if (!current()) return;
      switch (reading.state) {
        case 'ok':
        case 'stale':
          await this.arrived(reading.value, timing());
          break;
        case 'denied':
          fail(false, `${reading.detail}; needs ${reading.grant}`);
          break;
        case 'absent':
        case 'raced':
          fail(true, reading.detail);
      }
    } catch (error) {
      if (current())
        fail(false, `the sampler failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  private async arrived(sample: Sample, timing: SampleTiming): Promise<void> {
    this.emit({ type: 'sample', sample, timing });
    if (timing.skipped > this.skipped) await this.recordings.event('skipped', timing.skipped - this.skipped);
    this.skipped = timing.skipped;
    await this.recordings.take(sample);
  }

  private planList(): void {
    clearTimeout(this.listTimer);
    if (this.closed) return;
    const wait = this.target ? LIST_BESIDE_TARGET_MS : LIST_MS;
    this.listTimer = setTimeout(() => void this.refreshList(), wait);
  }

  private async refreshList(): Promise<void> {
    try {
      const list = await listProcesses(this.host);
      if (!this.closed) this.emit({ type: 'processes', list });
    } finally {
      this.planList();
    }
  }
}

const sameTarget = (a: TargetId | null, b: TargetId | null): boolean =>
  a?.pid === b?.pid && a?.startTime === b?.startTime;
