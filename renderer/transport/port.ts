import type { ToSampler } from '../../model/contract.ts';
import { CarriedTransport } from './carried.ts';

/** The transport over MessagePorts: one at a time, replaced by the next when the sampler was restarted. */
export class PortTransport extends CarriedTransport {
  #port: MessagePort | null = null;

  /** Takes a new sampler's port. Calls to the one before are rejected. */
  connect(port: MessagePort): void {
    this.drop('the sampler was restarted');
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#port === port) this.receive(data);
    };
    // Chromium tells of a closed port since 122; before that only the shell does.
    port.addEventListener('close', () => {
      if (this.#port === port) this.disconnect('its port was closed');
    });
    this.enter({ state: 'open' });
    // Last, because it delivers what already waits.
    port.start();
  }

  /** The sampler is gone and another one comes. */
  disconnect(detail: string): void {
    this.drop(detail);
    this.enter({ state: 'waiting' });
  }

  protected sender(): ((call: ToSampler) => void) | null {
    const port = this.#port;
    return port && (call => port.postMessage(call));
  }

  protected release(): void {
    if (this.#port === null) return;
    this.#port.onmessage = null;
    this.#port.close();
    this.#port = null;
  }

  protected unreadable(detail: string): string {
    return `What the sampler said could not be read: ${detail}. Close the window and start Pinscope again.`;
  }
}
