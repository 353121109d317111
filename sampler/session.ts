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
import type { HostAccess } from './access.ts';
import type { Privilege } from './privilege.ts';
import { listProcesses } from './process-list.ts';
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
  private readonly samples = new Schedule(SAMPLE_MS, timing => this.takeSample(timing));
  private target: TargetId | null = null;
  private paused = false;
  private closed = false;
  private listTimer: NodeJS.Timeout | undefined;
  private readonly unsubscribe: () => void;

  constructor(
    private readonly host: HostAccess,
    private readonly privilege: Privilege,
    private readonly emit: (event: SamplerEvent) => void,
  ) {
    this.sampler = new Sampler(host);
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
    });
    void this.refreshList();
  }

  async listProcesses(): Promise<ProcessList> {
    return listProcesses(this.host);
  }

  async watch(target: TargetId | null): Promise<void> {
    this.target = target;
    this.pace();
    this.planList();
  }

  async setPaused(paused: boolean): Promise<void> {
    this.paused = paused;
    this.pace();
  }

  grant(level: PrivilegeLevel, target: TargetId | null, install: boolean): Promise<PrivilegeState> {
    return this.privilege.grant(level, target, install);
  }

  revoke(): Promise<PrivilegeState> {
    return this.privilege.revoke();
  }

  /** Ends everything; no event comes after it. */
  close(): void {
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
          this.emit({ type: 'sample', sample: reading.value, timing: timing() });
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
