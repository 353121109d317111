import type { PrivilegeLevel, PrivilegeState, TargetId } from '../../model/contract.ts';
import { type Transport, TransportClosed } from '../transport/transport.ts';

/** How far the user's rights reach, and the way to more. */
export class Privilege {
  #state = $state.raw<PrivilegeState | null>(null);
  #error = $state.raw<string | null>(null);
  readonly #transport: Transport | null;

  readonly #askable: boolean;

  /** @param askable whether this page can ask at all: who sits before a browser may be elsewhere */
  constructor(transport: Transport | null, askable = true) {
    this.#askable = askable;
    this.#transport = transport;
    transport?.onEvent(event => {
      if (event.type === 'hello' || event.type === 'privilege') this.#state = event.privilege;
    });
  }

  /** `null`: there is no sampler that could tell. */
  get state(): PrivilegeState | null {
    return this.#state;
  }

  /** Why the last call failed, which is no refusal. */
  get error(): string | null {
    return this.#error;
  }

  /** Whether asking for more makes sense now. */
  get canAsk(): boolean {
    const state = this.#state;
    if (!this.#askable) return false;
    return state?.state === 'ungranted' || (state?.state === 'granted' && state.level === 'pages');
  }

  /** @param install the user saw the plan and said yes to it */
  async grant(level: PrivilegeLevel, target: TargetId | null, install: boolean): Promise<void> {
    await this.#call(transport => transport.call('grant', level, target, install));
  }

  async revoke(): Promise<void> {
    await this.#call(transport => transport.call('revoke'));
  }

  async #call(ask: (transport: Transport) => Promise<PrivilegeState>): Promise<void> {
    this.#error = null;
    if (this.#transport === null) {
      this.#error = 'This page has no sampler, so nothing can be granted.';
      return;
    }
    try {
      this.#state = await ask(this.#transport);
    } catch (error) {
      if (error instanceof TransportClosed) {
        this.#error = 'The sampler ended before the answer came. Ask again.';
      } else {
        this.#error = error instanceof Error ? error.message : String(error);
      }
    }
  }
}
