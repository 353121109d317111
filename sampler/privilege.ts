import type { PrivilegeLevel, PrivilegeRefusal, PrivilegeState, TargetId } from '../model/contract.ts';
import type { HostAccess } from './access.ts';
import { install, installPlan, readInstallState } from './broker-install.ts';
import { type RunningBroker, startBroker } from './broker-process.ts';
import type { Elevation } from './elevation.ts';

/** Rights as a session sees them: how far they reach, and who is asked for more. */
export type Rights = Pick<Privilege, 'state' | 'onChange' | 'grant' | 'revoke'>;

/**
 * What this user may read beyond their own rights: asks for a broker, gives it to the host's files, takes it away again. One
 * broker at a time. Whoever keeps files open (the sampler: `rightsChanged`) listens to {@link onChange}.
 */
export class Privilege {
  private current: PrivilegeState;
  private running: RunningBroker | null = null;
  private asking: { readonly answer: Promise<PrivilegeState>; readonly stop: AbortController } | null = null;
  private readonly listeners = new Set<(state: PrivilegeState) => void>();

  /** @param how what asks the user: `pkexec` in the window, `sudo` in a terminal */
  constructor(
    private readonly host: HostAccess,
    private readonly how: Exclude<Elevation, 'root'>,
  ) {
    this.current = process.geteuid?.() === 0 ? { state: 'root' } : ungranted(null);
  }

  get state(): PrivilegeState {
    return this.current;
  }

  /** Called after each change, with the new state. Returns what ends it. */
  onChange(listener: (state: PrivilegeState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Asks the user. Never rejects: a refusal is a state. Rights that there are already stay until there are others; while the user is
   * being asked, that answer is everyone's.
   * @param target the process, at level `pages`
   * @param mayInstall whether the user said yes to the plan; without it nothing is installed
   */
  grant(level: PrivilegeLevel, target: TargetId | null, mayInstall: boolean): Promise<PrivilegeState> {
    if (this.current.state === 'root') return Promise.resolve(this.current);
    if (this.asking) return this.asking.answer;
    const stop = new AbortController();
    const before = this.current;
    const answer = this.ask(level, target, mayInstall, stop.signal)
      .catch((error: unknown): PrivilegeRefusal => {
        return { reason: 'failed', detail: error instanceof Error ? error.message : String(error) };
      })
      .then(result => {
        this.asking = null;
        if ('reason' in result) this.settle(this.running ? before : ungranted(result));
        else this.use(result, level, target);
        return this.current;
      });
    this.asking = { answer, stop };
    this.settle({ state: 'asking', level });
    return answer;
  }

  /** Ends the broker, and the asking. What it handed over is closed by those who listen. */
  async revoke(): Promise<PrivilegeState> {
    const { asking, running } = this;
    asking?.stop.abort();
    await asking?.answer;
    this.release();
    if (this.current.state !== 'root') this.settle(ungranted(null));
    await running?.ended;
    return this.current;
  }

  private async ask(
    level: PrivilegeLevel,
    target: TargetId | null,
    mayInstall: boolean,
    signal: AbortSignal,
  ): Promise<RunningBroker | PrivilegeRefusal> {
    const installed = readInstallState();
    if (installed.state !== 'installed') {
      if (!mayInstall) {
        return { reason: 'unavailable', detail: `The broker is not installed: ${installed.detail}` };
      }
      const refusal = await install(this.how);
      if (refusal) return refusal;
      const after = readInstallState();
      if (after.state !== 'installed') {
        return { reason: 'failed', detail: `It was installed, and still ${after.detail}` };
      }
    }
    const started: RunningBroker | PrivilegeRefusal = await startBroker(
      this.host.native,
      { how: this.how, level, target, signal },
      detail => {
        if (!('reason' in started)) this.lost(started, detail);
      },
    );
    return started;
  }

  private use(running: RunningBroker, level: PrivilegeLevel, target: TargetId | null): void {
    this.release();
    this.running = running;
    this.host.files.usePrivileged(running.broker);
    running.ended.then(detail => this.lost(running, detail));
    const { brokerPid } = running.broker.hello;
    this.settle({ state: 'granted', level, target: level === 'pages' ? target : null, brokerPid });
  }

  private lost(running: RunningBroker, detail: string): void {
    // Once, and not the end of one that was let go.
    if (this.running !== running) return;
    this.release();
    const refusal: PrivilegeRefusal = { reason: 'lost', detail: `The broker is gone: ${detail}` };
    if (this.current.state === 'granted') this.settle(ungranted(refusal));
  }

  private release(): void {
    this.host.files.usePrivileged(null);
    this.running?.broker.close();
    this.running = null;
  }

  private settle(state: PrivilegeState): void {
    this.current = state;
    for (const listener of this.listeners) listener(state);
  }
}

function ungranted(last: PrivilegeRefusal | null): PrivilegeState {
  try {
    const install = readInstallState().state === 'installed' ? null : installPlan();
    return { state: 'ungranted', last, install };
  } catch (error) {
    // Without the broker's own file there is nothing to install.
    const detail = error instanceof Error ? error.message : String(error);
    return { state: 'ungranted', last: last ?? { reason: 'unavailable', detail }, install: null };
  }
}
