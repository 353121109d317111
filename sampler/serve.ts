import { parseCall } from '../model/calls.ts';
import type { FromSampler, SamplerService, ToSampler } from '../model/contract.ts';
import type { HostAccess } from './access.ts';
import type { Rights } from './privilege.ts';
import { SamplerSession } from './session.ts';

/** A two-way channel to one window. */
export interface Channel {
  send(message: FromSampler): void;
}

export interface ServedSession {
  /** A message came. One that is no call of the contract is answered where it has an id, and done nothing with. */
  receive(message: unknown): void;
  close(): void;
}

/** A session behind a channel: calls become method calls, results and events become messages. */
export function serveSession(host: HostAccess, privilege: Rights, channel: Channel): ServedSession {
  const session = new SamplerSession(host, privilege, event => channel.send({ kind: 'event', event }));
  return {
    receive(message) {
      const call = parseCall(message);
      if (!call) {
        channel.send({
          kind: 'error',
          id: idOf(message),
          message: 'refused: this is no call of the contract',
        });
        return;
      }
      run(session, call).then(
        value => channel.send({ kind: 'answer', id: call.id, value }),
        (error: unknown) =>
          channel.send({
            kind: 'error',
            id: call.id,
            message: error instanceof Error ? error.message : String(error),
          }),
      );
    },
    close: () => session.close(),
  };
}

/** -1 where the message names none. */
function idOf(message: unknown): number {
  const id = typeof message === 'object' && message !== null && 'id' in message ? message.id : undefined;
  return typeof id === 'number' ? id : -1;
}

function run(service: SamplerService, call: ToSampler): Promise<unknown> {
  switch (call.method) {
    case 'listProcesses':
      return service.listProcesses();
    case 'watch':
      return service.watch(...call.args);
    case 'setPaused':
      return service.setPaused(...call.args);
    case 'grant':
      return service.grant(...call.args);
    case 'revoke':
      return service.revoke();
    case 'record':
      return service.record(...call.args);
    case 'listSessions':
      return service.listSessions();
    case 'readSession':
      return service.readSession(...call.args);
  }
}
