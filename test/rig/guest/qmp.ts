/**
 * One QMP command on a socket: connect, negotiate, ask, disconnect. A QMP socket serves one client at a time, so a
 * test must not keep one that Pinscope is to use.
 */
import { connect } from 'node:net';

/** QEMU answered the command with an error. */
export class QmpError extends Error {
  override name = 'QmpError';
}

interface QmpMessage {
  readonly QMP?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
}

/**
 * @returns the command's `return` value
 * @throws QmpError with QEMU's description; Error when there is no answer after `timeoutMs`
 */
export function qmpCommand(
  socketPath: string,
  execute: string,
  args: Readonly<Record<string, unknown>> = {},
  timeoutMs = 10_000,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const requests = [{ execute: 'qmp_capabilities' }, { execute, arguments: args }];
    let received = '';
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.destroy();
      settle();
    };
    const timer = setTimeout(() => finish(() => reject(new Error(`QMP ${execute}: no answer`))), timeoutMs);
    const take = (message: QmpMessage) => {
      const { error } = message;
      if (error !== undefined) return finish(() => reject(new QmpError(`${execute}: ${error.desc}`)));
      const answers = 'return' in message;
      // Anything else than the greeting and answers is an event.
      if (!answers && !('QMP' in message)) return;
      const next = requests.shift();
      if (next === undefined) finish(() => resolve(message.return));
      else socket.write(`${JSON.stringify(next)}\n`);
    };
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      const lines = (received + text).split('\n');
      received = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') take(JSON.parse(line) as QmpMessage);
    });
    socket.on('error', error => finish(() => reject(error)));
    socket.on('close', () => finish(() => reject(new Error(`QMP ${execute}: QEMU closed the connection`))));
  });
}
