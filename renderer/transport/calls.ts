import type { FromSampler, SamplerEvent, SamplerService, ToSampler } from '../../model/contract.ts';
import { TransportClosed } from './transport.ts';

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** Calls that wait for their answers, whatever carries them. */
export class Calls {
  /** Ids never come back, so that an answer from before a restart belongs to nobody. */
  #nextId = 1;
  readonly #pending = new Map<number, Pending>();

  /** Sends a call and gives the answer that {@link receive} will hear. @param send `null`: there is nobody to ask */
  call<M extends keyof SamplerService>(
    send: ((call: ToSampler) => void) | null,
    method: M,
    args: Parameters<SamplerService[M]>,
  ): ReturnType<SamplerService[M]> {
    const answer = new Promise<never>((resolve, reject) => {
      if (send === null) {
        reject(new TransportClosed(`${method}: there is no sampler to ask`));
        return;
      }
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      send({ kind: 'call', id, method, args } as ToSampler);
    });
    // Which method's answer an id stands for is known to the contract, not to the compiler.
    return answer as unknown as ReturnType<SamplerService[M]>;
  }

  /** Gives an answer to its call; an event is returned. */
  receive(message: FromSampler): SamplerEvent | null {
    if (message.kind === 'event') return message.event;
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.kind === 'answer') pending?.resolve(message.value as never);
    else pending?.reject(new Error(message.message));
    return null;
  }

  /** The other side is gone: nothing that waits will be answered. */
  drop(detail: string): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(new TransportClosed(`no answer: ${detail}`));
  }
}
