import { join } from 'node:path';
import { MessageChannelMain, type MessagePortMain, type UtilityProcess, utilityProcess } from 'electron';
import type { SamplerHostState } from '../model/contract.ts';

/** A sampler that crashes more often than this within {@link WINDOW_MS} would crash again. */
const MAX_RESTARTS = 5;
const WINDOW_MS = 60_000;
const RESTART_AFTER_MS = 500;

/** Variables that would make Node in the utility process load something, or open a debugger. */
const UNWANTED = ['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'ELECTRON_RUN_AS_NODE', 'LD_PRELOAD'];

/** Keeps the sampler's utility process alive and hands ports to it. */
export class SamplerHost {
  private child: UtilityProcess | undefined;
  private current: SamplerHostState = { state: 'running', restarts: 0 };
  private readonly deaths: number[] = [];
  private restarts = 0;
  private stopping = false;
  private readonly listeners = new Set<(state: SamplerHostState) => void>();

  get state(): SamplerHostState {
    return this.current;
  }

  /** Every change; `running` means that {@link connect} reaches a new process. */
  onState(listener: (state: SamplerHostState) => void): void {
    this.listeners.add(listener);
  }

  start(): void {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !UNWANTED.includes(name)));
    const child = utilityProcess.fork(join(__dirname, 'sampler.cjs'), [], {
      serviceName: 'Pinscope sampler',
      stdio: 'inherit',
      env: env as Record<string, string>,
    });
    this.child = child;
    child.once('spawn', () => {
      process.stderr.write(`pinscope: sampler runs as process ${child.pid}\n`);
      this.tell({ state: 'running', restarts: this.restarts });
    });
    child.once('exit', code => this.ended(code));
  }

  stop(): void {
    this.stopping = true;
    this.child?.kill();
  }

  /** A port whose other end the sampler serves; `null` while there is no sampler. */
  connect(): MessagePortMain | null {
    if (!this.child?.pid) return null;
    const { port1, port2 } = new MessageChannelMain();
    this.child.postMessage('window', [port1]);
    return port2;
  }

  private ended(code: number): void {
    this.child = undefined;
    if (this.stopping) return;
    const detail = `the sampler ended with ${code}`;
    process.stderr.write(`pinscope: ${detail}\n`);
    const now = Date.now();
    this.deaths.push(now);
    const recent = this.deaths.filter(time => now - time < WINDOW_MS).length;
    if (recent > MAX_RESTARTS) {
      this.tell({ state: 'failed', restarts: this.restarts, detail });
      return;
    }
    this.restarts++;
    this.tell({ state: 'restarting', restarts: this.restarts, detail });
    setTimeout(() => {
      if (!this.stopping) this.start();
    }, RESTART_AFTER_MS);
  }

  private tell(state: SamplerHostState): void {
    this.current = state;
    for (const listener of this.listeners) listener(state);
  }
}
