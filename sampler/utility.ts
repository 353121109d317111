/**
 * Entry of the sampler in the window's utility process: the only process of the window that loads the addon. The shell hands
 * over a MessagePort a window; everything else is the same as in the terminal program.
 */
import { encodeMessage } from '../model/wire.ts';
import { openHost } from './access.ts';
import { Privilege } from './privilege.ts';
import { type ServedSession, serveSession } from './serve.ts';

/** Electron's MessagePortMain, as far as it is used here. */
interface Port {
  on(event: 'message', listener: (event: { readonly data: unknown }) => void): void;
  on(event: 'close', listener: () => void): void;
  start(): void;
  postMessage(message: unknown): void;
}
interface ParentPort {
  on(event: 'message', listener: (event: { readonly ports: readonly Port[] }) => void): void;
}

const parent = (process as unknown as { parentPort?: ParentPort }).parentPort;
if (!parent) throw new Error('sampler: this program is started by the window, in a utility process');

const host = openHost();
const privilege = new Privilege(host, 'pkexec');

parent.on('message', ({ ports: [port] }) => {
  if (!port) return;
  const session: ServedSession = serveSession(host, privilege, {
    // Electron copies a buffer here: its ports transfer none.
    send: message => port.postMessage(encodeMessage(message)),
  });
  port.on('message', ({ data }) => session.receive(data));
  port.on('close', () => session.close());
  port.start();
});
