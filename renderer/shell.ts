import { SAMPLER_PORT_MESSAGE, type ShellApi } from '../model/contract.ts';
import { browserShell, isServed } from './browser-shell.ts';
import { PortTransport } from './transport/port.ts';
import type { Transport } from './transport/transport.ts';

declare global {
  interface Window {
    /** What the desktop shell's preload gives; missing in a page that no shell opened. */
    readonly pinscope?: ShellApi;
  }
}

/** What opened this page, and the way to its sampler. */
export interface Shell {
  readonly kind: 'window' | 'browser';
  readonly api: ShellApi;
  readonly transport: Transport;
}

/**
 * The shell of this page; `null`: none, so there is only the recording. To be called before the page is idle: a port that
 * comes without a listener is lost.
 */
export function findShell(window: Window): Shell | null {
  const api = window.pinscope;
  if (api !== undefined) return { kind: 'window', api, transport: windowTransport(window, api) };
  return isServed(window.document) ? { kind: 'browser', ...browserShell(window) } : null;
}

/** Connected to every sampler's port that the shell hands over, the first and those after restarts. */
function windowTransport(window: Window, api: ShellApi): Transport {
  const transport = new PortTransport();
  window.addEventListener('message', ({ data, ports, source }: MessageEvent<unknown>) => {
    // Only the page's own preload posts from this window; a frame could not forge it.
    if (source !== window || data !== SAMPLER_PORT_MESSAGE) return;
    const [port] = ports;
    if (port !== undefined) transport.connect(port);
  });
  api.onSampler(host => {
    if (host.state === 'restarting') transport.disconnect(host.detail);
    if (host.state === 'failed') transport.fail(host.detail);
  });
  return transport;
}
