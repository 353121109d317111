import {
  BROWSER_SHELL,
  type SamplerEvent,
  type SamplerService,
  type Startup,
  type ToSampler,
} from '../../model/contract.ts';
import { decodeMessage, WireError } from '../../model/wire.ts';
import { Calls } from './calls.ts';
import { Listeners, type Transport, type TransportState } from './transport.ts';

/** What a browser gives its page, as far as it is used here. */
export interface Browser {
  /** The page's: `http://127.0.0.1:8080`. */
  readonly origin: string;
  fetch(url: string, options: RequestInit): Promise<Response>;
  socket(url: string, protocols: string[]): WebSocket;
}

/** The first wait before it is tried again, and the longest. */
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [500, 15_000] as const;

/**
 * The transport over a WebSocket of `pinscope serve`. A connection that is lost is made again, with growing waits; a refused token
 * is the end. Before each attempt the server is asked by a request: a WebSocket that is refused tells a page no reason.
 */
export class SocketTransport implements Transport {
  #socket: WebSocket | null = null;
  #state: TransportState = { state: 'waiting' };
  #waitMs: number = FIRST_WAIT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #started: ((startup: Startup) => void) | null = null;
  readonly #calls = new Calls();
  readonly #events = new Listeners<SamplerEvent>();
  readonly #states = new Listeners<TransportState>();
  readonly #browser: Browser;
  readonly #token: string;

  constructor(browser: Browser, token: string) {
    this.#browser = browser;
    this.#token = token;
  }

  get state(): TransportState {
    return this.#state;
  }

  /** To be called once. Resolves when the server has told the start, however long that takes. */
  start(): Promise<Startup> {
    return new Promise(resolve => {
      this.#started = resolve;
      void this.#attempt();
    });
  }

  /** It is over: what there is to do stands in the sentence. */
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
    const socket = this.#socket;
    const open = socket !== null && this.#state.state === 'open';
    const send = (call: ToSampler) => socket?.send(JSON.stringify(call));
    return this.#calls.call(open ? send : null, method, args);
  }

  onEvent(listener: (event: SamplerEvent) => void): () => void {
    return this.#events.add(listener);
  }

  onState(listener: (state: TransportState) => void): () => void {
    return this.#states.add(listener);
  }

  async #attempt(): Promise<void> {
    let response: Response;
    let text: string;
    try {
      response = await this.#browser.fetch(`${this.#browser.origin}${BROWSER_SHELL.startup}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#token}` },
      });
      text = await response.text();
    } catch {
      this.#lose('the server does not answer: pinscope serve has ended, or the way to its machine is cut');
      return;
    }
    if (this.#state.state === 'closed') return;
    if (response.ok) {
      this.#started?.(JSON.parse(text) as Startup);
      this.#started = null;
      this.#open();
    } else if (response.status === 503) {
      this.#lose(text);
    } else {
      this.fail(text);
    }
  }

  #open(): void {
    const { origin } = this.#browser;
    const socket = this.#browser.socket(`${origin.replace(/^http/, 'ws')}${BROWSER_SHELL.socket}`, [
      BROWSER_SHELL.protocol,
      `${BROWSER_SHELL.tokenProtocol}${this.#token}`,
    ]);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    const ours = () => this.#socket === socket;
    socket.onopen = () => {
      if (ours()) this.#enter({ state: 'open' });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (ours()) this.#receive(data);
    };
    socket.onclose = ({ reason }: CloseEvent) => {
      if (ours()) this.#lose(reason === '' ? 'the connection to the server was lost' : reason);
    };
  }

  #receive(data: unknown): void {
    // It lives: the next loss is a new one.
    this.#waitMs = FIRST_WAIT_MS;
    let event: SamplerEvent | null;
    try {
      if (!(data instanceof ArrayBuffer)) throw new WireError('a message is no buffer');
      event = this.#calls.receive(decodeMessage(data));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.fail(`What pinscope serve said could not be read: ${error.message}. Load this page again.`);
      return;
    }
    if (event !== null) this.#events.tell(event);
  }

  /** Gone, and to be tried again. */
  #lose(detail: string): void {
    if (this.#state.state === 'closed') return;
    this.#drop(detail);
    this.#enter({ state: 'lost', detail });
    // Pages that lost one server do not all come back in one moment.
    this.#timer = setTimeout(() => void this.#attempt(), this.#waitMs * (0.75 + Math.random() / 4));
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }

  #drop(detail: string): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#calls.drop(detail);
  }

  #enter(state: TransportState): void {
    this.#state = state;
    this.#states.tell(state);
  }
}
