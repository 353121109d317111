import type { SamplerEvent, SamplerService } from '../../model/contract.ts';

/** Whether calls can be answered now. */
export type TransportState =
  /** No sampler yet, or a new one is on its way. */
  | { readonly state: 'waiting' }
  /** It went away, and is being tried again. */
  | { readonly state: 'lost'; readonly detail: string }
  | { readonly state: 'open' }
  | { readonly state: 'closed'; readonly detail: string };

/** The other side went away before it answered. What was asked must be asked again after the next `hello`. */
export class TransportClosed extends Error {
  override readonly name = 'TransportClosed';
}

/**
 * The one way from the page to a sampler, whatever carries it. A transport outlives its sampler: after a restart it is
 * open again and the first event is another `hello`.
 */
export interface Transport {
  readonly state: TransportState;
  /** Rejects with {@link TransportClosed} while there is no sampler, or with the sampler's own sentence. */
  call<M extends keyof SamplerService>(
    method: M,
    ...args: Parameters<SamplerService[M]>
  ): ReturnType<SamplerService[M]>;
  /** Events in the order they were sent. Returns what ends it. */
  onEvent(listener: (event: SamplerEvent) => void): () => void;
  /** Changes of `state`. Returns what ends it. */
  onState(listener: (state: TransportState) => void): () => void;
  close(): void;
}

/** Listeners of one kind; one that throws does not keep the others from hearing. */
export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>();

  add(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
