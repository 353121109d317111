import type { SamplerEvent, SamplerService, ToSampler } from '../../model/contract.ts';
import { decodeMessage, WireError } from '../../model/wire.ts';
import { Calls } from './calls.ts';
import { Listeners, type Transport, type TransportState } from './transport.ts';

/** What transports have in common, whatever carries their messages: state, listeners, calls, and the wire format. */
export abstract class CarriedTransport implements Transport {
  #state: TransportState = { state: 'waiting' };
  readonly #calls = new Calls();
  readonly #events = new Listeners<SamplerEvent>();
  readonly #states = new Listeners<TransportState>();

  /** What sends a call now; `null`: there is nobody to ask. */
  protected abstract sender(): ((call: ToSampler) => void) | null;
  /** Closes what carries, if there is anything. */
  protected abstract release(): void;
  /** A sentence for a message that could not be read. */
  protected abstract unreadable(detail: string): string;

  get state(): TransportState {
    return this.#state;
  }

  /** It is over: what there is to do stands in the sentence. */
  fail(detail: string): void {
    this.drop(detail);
    this.enter({ state: 'closed', detail });
  }

  close(): void {
    this.fail('the page closed it');
  }

  call<M extends keyof SamplerService>(
    method: M,
    ...args: Parameters<SamplerService[M]>
  ): ReturnType<SamplerService[M]> {
    return this.#calls.call(this.sender(), method, args);
  }

  onEvent(listener: (event: SamplerEvent) => void): () => void {
    return this.#events.add(listener);
  }

  onState(listener: (state: TransportState) => void): () => void {
    return this.#states.add(listener);
  }

  /** A message came. One that is damaged ends the transport. */
  protected receive(data: unknown): void {
    let event: SamplerEvent | null;
    try {
      if (!(data instanceof ArrayBuffer)) throw new WireError('a message is no buffer');
      event = this.#calls.receive(decodeMessage(data));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.fail(this.unreadable(error.message));
      return;
    }
    if (event !== null) this.#events.tell(event);
  }

  /** Lets go of what carries, and of the calls that wait. */
  protected drop(detail: string): void {
    this.release();
    this.#calls.drop(detail);
  }

  protected enter(state: TransportState): void {
    this.#state = state;
    this.#states.tell(state);
  }
}
