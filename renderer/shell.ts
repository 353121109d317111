import { SAMPLER_PORT_MESSAGE, type ShellApi } from '../model/contract.ts';
import type { PortTransport } from './transport/port.ts';

declare global {
  interface Window {
    /** What the desktop shell's preload gives; missing in a page that no shell opened. */
    readonly pinscope?: ShellApi;
  }
}

/**
 * Connects every sampler's port that the shell hands over, the first and those after restarts. To be called before the
 * page is idle: a message without a listener is lost.
 */
export function connectPorts(window: Window, transport: PortTransport): void {
  window.addEventListener('message', ({ data, ports, source }: MessageEvent<unknown>) => {
    // Only the page's own preload posts from this window; a frame could not forge it.
    if (source !== window || data !== SAMPLER_PORT_MESSAGE) return;
    const [port] = ports;
    if (port !== undefined) transport.connect(port);
  });
}
