import type { FromSampler, SamplerEvent, SamplerService, ToSampler } from '../../model/contract.ts';
import { Listeners, type Transport, TransportClosed, type TransportState } from './transport.ts';

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** The transport over MessagePorts: one at a time, replaced by the next when the sampler was restarted. */
export class PortTransport implements Transport {
  #port: MessagePort | null = null;
  #state: TransportState = { state: 'waiting' };
  /** Ids never come back, so that an answer from before a restart belongs to nobody. */
  #nextId = 1;
  readonly #pending = new Map<number, Pending>();
  readonly #events = new Listeners<SamplerEvent>();
  readonly #states = new Listeners<TransportState>();

  get state(): TransportState {
    return this.#state;
  }

  /** Takes a new sampler's port. Calls to the one before are rejected. */
  connect(port: MessagePort): void {
    this.#drop('the sampler was restarted');
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<FromSampler>) => this.#receive(port, data);
    // Chromium tells of a closed port since 122; before that only the shell does.
    port.addEventListener('close', () => {
      if (this.#port === port) this.disconnect('its port was closed');
    });
    this.#enter({ state: 'open' });
    // Last, because it delivers what already waits.
    port.start();
  }

  /** The sampler is gone and another one comes. */
  disconnect(detail: string): void {
    this.#drop(detail);
    this.#enter({ state: 'waiting' });
  }

  /** The sampler is gone for good. */
  fail(detail: string): void {
    this.#drop(detail);
    this.#enter({ state: 'closed', detail });
  }

  close(): void {
    this.fail('the page closed it');
  }

  call<M extends keyof SamplerService>(
    method: M,
    ...args: Parameters<SamplerService[M]>
  ): ReturnType<SamplerService[M]> {
    const answer = new Promise<never>((resolve, reject) => {
      if (this.#port === null) {
        reject(new TransportClosed(`${method}: there is no sampler to ask`));
        return;
      }
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      this.#port.postMessage({ kind: 'call', id, method, args } as ToSampler);
    });
    // Which method's answer an id stands for is known to the contract, not to the compiler.
    return answer as unknown as ReturnType<SamplerService[M]>;
  }

  onEvent(listener: (event: SamplerEvent) => void): () => void {
    return this.#events.add(listener);
  }

  onState(listener: (state: TransportState) => void): () => void {
    return this.#states.add(listener);
  }

  #receive(port: MessagePort, message: FromSampler): void {
    if (port !== this.#port) return;
    if (message.kind === 'event') {
      this.#events.tell(message.event);
      return;
    }
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    this.#pending.delete(message.id);
    if (message.kind === 'answer') pending.resolve(message.value as never);
    else pending.reject(new Error(message.message));
  }

  #drop(detail: string): void {
    if (this.#port !== null) {
      this.#port.onmessage = null;
      this.#port.close();
      this.#port = null;
    }
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(new TransportClosed(`no answer: ${detail}`));
  }

  #enter(state: TransportState): void {
    this.#state = state;
    this.#states.tell(state);
  }
}
