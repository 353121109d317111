import { type RecordingState, SESSION_PIECE_BYTES, type SessionListed } from '../../model/recordings.ts';
import type { Transport } from '../transport/transport.ts';

/** A file larger than this is not opened in a page: it would be read into its memory. */
export const MOST_SESSION_BYTES = 1024 * 2 ** 20;

/** What the sampler records, and what it has recorded. */
export class Recordings {
  #state = $state.raw<RecordingState>({ state: 'off', last: null });
  #listed = $state.raw<readonly SessionListed[] | null>(null);
  #folder = $state.raw<string | null>(null);
  #error = $state.raw<string | null>(null);
  readonly #transport: Transport | null;

  constructor(transport: Transport | null) {
    this.#transport = transport;
    transport?.onEvent(event => {
      if (event.type === 'recording') this.#state = event.recording;
    });
    transport?.onState(({ state }) => {
      // The file ended with the sampler; it is whole to its last sample.
      if (state !== 'open') this.#state = { state: 'off', last: null };
    });
  }

  get state(): RecordingState {
    return this.#state;
  }
  get on(): boolean {
    return this.#state.state === 'on' || this.#state.state === 'waiting';
  }
  /** The newest first; `null`: not known. */
  get listed(): readonly SessionListed[] | null {
    return this.#listed;
  }
  get folder(): string | null {
    return this.#folder;
  }
  /** Why the last call failed. */
  get error(): string | null {
    return this.#error;
  }
  /** Whether there is a sampler that could record. */
  get possible(): boolean {
    return this.#transport !== null;
  }

  /** Takes the failure off the screen. */
  dismiss(): void {
    if (this.#state.state === 'failed') this.#state = { state: 'off', last: null };
    this.#error = null;
  }

  async toggle(): Promise<void> {
    await this.#ask(async transport => {
      this.#state = await transport.call('record', !this.on);
    });
  }

  async list(): Promise<void> {
    await this.#ask(async transport => {
      const { folder, sessions } = await transport.call('listSessions');
      this.#folder = folder;
      this.#listed = sessions;
    });
  }

  /** A whole recording of the sampler's folder. Rejects with a sentence. */
  async read(name: string): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    if (this.#transport === null) throw new Error('this page has no sampler that could read recordings');
    for (;;) {
      const piece = await this.#transport.call('readSession', name, length, SESSION_PIECE_BYTES);
      if (piece.length === 0) break;
      pieces.push(piece);
      length += piece.length;
      if (length > MOST_SESSION_BYTES) throw new Error('it is larger than 1 GiB; pinscope show reads it');
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  async #ask(what: (transport: Transport) => Promise<void>): Promise<void> {
    this.#error = null;
    if (this.#transport === null) return;
    try {
      await what(this.#transport);
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
    }
  }
}
