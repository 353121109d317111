import type { SamplerEvent, SamplerService } from '../../model/contract.ts';
import { decodeMessage, WireError } from '../../model/wire.ts';
import { Calls } from './calls.ts';
import { Listeners, type Transport, type TransportState } from './transport.ts';

/** The transport over MessagePorts: one at a time, replaced by the next when the sampler was restarted. */
export class PortTransport implements Transport {
  #port: MessagePort | null = null;
  #state: TransportState = { state: 'waiting' };
  readonly #calls = new Calls();
  readonly #events = new Listeners<SamplerEvent>();
  readonly #states = new Listeners<TransportState>();

  get state(): TransportState {
    return this.#state;
  }

  /** Takes a new sampler's port. Calls to the one before are rejected. */
  connect(port: MessagePort): void {
    this.#drop('the sampler was restarted');
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<unknown>) => this.#receive(port, data);
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
    const port = this.#port;
    return this.#calls.call(port && (call => port.postMessage(call)), method, args);
  }

  onEvent(listener: (event: SamplerEvent) => void): () => void {
    return this.#events.add(listener);
  }

  onState(listener: (state: TransportState) => void): () => void {
    return this.#states.add(listener);
  }

  #receive(port: MessagePort, data: unknown): void {
    if (port !== this.#port) return;
    let event: SamplerEvent | null;
    try {
      if (!(data instanceof ArrayBuffer)) throw new WireError('a message is no buffer');
      event = this.#calls.receive(decodeMessage(data));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.fail(
        `What the sampler said could not be read: ${error.message}. Close the window and start Pinscope again.`,
      );
      return;
    }
    if (event !== null) this.#events.tell(event);
  }

  #drop(detail: string): void {
    if (this.#port !== null) {
      this.#port.onmessage = null;
      this.#port.close();
      this.#port = null;
    }
    this.#calls.drop(detail);
  }

  #enter(state: TransportState): void {
    this.#state = state;
    this.#states.tell(state);
  }
}
