import { BROWSER_SHELL, type ShellApi } from '../model/contract.ts';
import { type Browser, SocketTransport } from './transport/socket.ts';

/** Where the token of this tab stays when the page is loaded again. */
const TOKEN_KEY = 'pinscope.token';

/** Whether `pinscope serve` gave this page: it says so, and no other server does. */
export function isServed(document: Document): boolean {
  const { name, content } = BROWSER_SHELL.meta;
  return document.querySelector(`meta[name="${name}"]`)?.getAttribute('content') === content;
}

/**
 * What the browser gives instead of the desktop shell. There is no menu, no second start, and a sampler that restarts is a server
 * that does, which the transport tells.
 */
export function browserShell(window: Window): {
  readonly api: ShellApi;
  readonly transport: SocketTransport;
} {
  const token = takeToken(window);
  const browser: Browser = {
    origin: window.location.origin,
    fetch: (url, options) => window.fetch(url, options),
    socket: (url, protocols) => new WebSocket(url, protocols),
  };
  const transport = new SocketTransport(browser, token ?? '');
  const never = () => () => {};
  const api: ShellApi = {
    async startup() {
      if (token === null) {
        const detail = 'this page has no token: open the address that pinscope serve has printed';
        transport.fail(detail);
        throw new Error(detail);
      }
      const startup = await transport.start();
      const pid = pidOf(window.location.search);
      return pid === null ? startup : { ...startup, open: { pid } };
    },
    onCommand: never,
    onSampler: never,
    onOpen: never,
  };
  return { api, transport };
}

/**
 * The token of the URL's fragment, which then leaves the address bar and the history; else that of this tab before it was loaded
 * again. A new address in the same tab differs in its fragment alone, which loads nothing: then we do.
 */
function takeToken(window: Window): string | null {
  const { location, history } = window;
  const given = location.hash.slice(1);
  if (given !== '') history.replaceState(null, '', `${location.pathname}${location.search}`);
  window.addEventListener('hashchange', () => {
    if (location.hash.length > 1) location.reload();
  });
  try {
    if (given !== '') window.sessionStorage.setItem(TOKEN_KEY, given);
    return given === '' ? window.sessionStorage.getItem(TOKEN_KEY) : given;
  } catch {
    // Without storage the token is that of this load alone.
    return given === '' ? null : given;
  }
}

/** `?pid=N`: the process to open on, as --pid. */
export function pidOf(search: string): number | null {
  const text = new URLSearchParams(search).get('pid') ?? '';
  return /^[1-9]\d{0,6}$/.test(text) ? Number(text) : null;
}
