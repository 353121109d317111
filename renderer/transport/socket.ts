import { BROWSER_SHELL, type Startup, type ToSampler } from '../../model/contract.ts';
import { CarriedTransport } from './carried.ts';

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
export class SocketTransport extends CarriedTransport {
  #socket: WebSocket | null = null;
  #waitMs: number = FIRST_WAIT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #started: ((startup: Startup) => void) | null = null;
  readonly #browser: Browser;
  readonly #token: string;

  constructor(browser: Browser, token: string) {
    super();
    this.#browser = browser;
    this.#token = token;
  }

  /** To be called once. Resolves when the server has told the start, however long that takes. */
  start(): Promise<Startup> {
    return new Promise(resolve => {
      this.#started = resolve;
      void this.#attempt();
    });
  }

  protected sender(): ((call: ToSampler) => void) | null {
    const socket = this.#socket;
    if (socket === null || this.state.state !== 'open') return null;
    return call => socket.send(JSON.stringify(call));
  }

  protected release(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  protected unreadable(detail: string): string {
    return `What pinscope serve said could not be read: ${detail}. Load this page again.`;
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
    if (this.state.state === 'closed') return;
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
      if (ours()) this.enter({ state: 'open' });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (!ours()) return;
      // It lives: the next loss is a new one.
      this.#waitMs = FIRST_WAIT_MS;
      this.receive(data);
    };
    socket.onclose = ({ reason }: CloseEvent) => {
      if (ours()) this.#lose(reason === '' ? 'the connection to the server was lost' : reason);
    };
  }

  /** Gone, and to be tried again. */
  #lose(detail: string): void {
    if (this.state.state === 'closed') return;
    this.drop(detail);
    this.enter({ state: 'lost', detail });
    // Pages that lost one server do not all come back in one moment.
    this.#timer = setTimeout(() => void this.#attempt(), this.#waitMs * (0.75 + Math.random() / 4));
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }
}
