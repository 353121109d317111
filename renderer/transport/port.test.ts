import { afterEach, describe, expect, test } from 'vitest';
import type { FromSampler, SamplerEvent, ToSampler } from '../../model/contract.ts';
import { encodeMessage } from '../../model/wire.ts';
import { PortTransport } from './port.ts';
import { TransportClosed } from './transport.ts';

const after = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms));

/** The other end of a real port: keeps calls until the test answers them. */
class Sampler {
  readonly calls: ToSampler[] = [];
  readonly #channel = new MessageChannel();

  constructor(transport: PortTransport) {
    this.#channel.port2.onmessage = ({ data }: MessageEvent<ToSampler>) => {
      this.calls.push(data);
    };
    transport.connect(this.#channel.port1);
  }

  send(message: FromSampler): void {
    this.#channel.port2.postMessage(encodeMessage(message));
  }

  /** What no sampler would send. */
  sendRaw(data: unknown): void {
    this.#channel.port2.postMessage(data);
  }

  close(): void {
    this.#channel.port2.close();
  }

  async nextCall(): Promise<ToSampler> {
    for (let i = 0; i < 200 && this.calls.length === 0; i++) await after(1);
    const call = this.calls.shift();
    if (call === undefined) throw new Error('no call came');
    return call;
  }
}

const open: Sampler[] = [];
afterEach(() => {
  for (const sampler of open.splice(0)) sampler.close();
});
function connected(transport = new PortTransport()): { transport: PortTransport; sampler: Sampler } {
  const sampler = new Sampler(transport);
  open.push(sampler);
  return { transport, sampler };
}
const settled = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    value => ({ value }),
    error => error,
  );

describe('calls', () => {
  test('get the answer of their id, in whatever order answers come', async () => {
    const { transport, sampler } = connected();
    const first = transport.call('setPaused', true);
    const second = transport.call('listProcesses');
    const [one, two] = [await sampler.nextCall(), await sampler.nextCall()];
    expect([one.method, one.args, two.method, two.args]).toEqual(['setPaused', [true], 'listProcesses', []]);
    sampler.send({ kind: 'answer', id: two.id, value: { processes: [] } });
    sampler.send({ kind: 'answer', id: one.id, value: undefined });
    expect(await second).toEqual({ processes: [] });
    expect(await first).toBeUndefined();
  });

  test('reject with the sampler’s sentence', async () => {
    const { transport, sampler } = connected();
    const asked = settled(transport.call('revoke'));
    const { id } = await sampler.nextCall();
    sampler.send({ kind: 'error', id, message: 'there is no broker to end' });
    const error = await asked;
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(TransportClosed);
    expect((error as Error).message).toBe('there is no broker to end');
  });

  test('reject where there is no sampler yet', async () => {
    expect(await settled(new PortTransport().call('listProcesses'))).toBeInstanceOf(TransportClosed);
  });

  test.each(['disconnect', 'fail'] as const)('that wait reject on %s', async how => {
    const { transport, sampler } = connected();
    const asked = settled(transport.call('listProcesses'));
    await sampler.nextCall();
    transport[how]('it crashed');
    expect(await asked).toBeInstanceOf(TransportClosed);
    expect(transport.state.state).toBe(how === 'fail' ? 'closed' : 'waiting');
  });

  test('of before a restart take no answer of after it', async () => {
    const { transport, sampler: before } = connected();
    const old = settled(transport.call('listProcesses'));
    const { id: oldId } = await before.nextCall();
    const { sampler: now } = connected(transport);
    expect(await old).toBeInstanceOf(TransportClosed);
    const asked = transport.call('listProcesses');
    const { id } = await now.nextCall();
    expect(id).not.toBe(oldId);
    before.send({ kind: 'answer', id, value: 'from the dead' });
    now.send({ kind: 'answer', id: oldId, value: 'to the dead' });
    now.send({ kind: 'answer', id, value: 'right' });
    expect(await asked).toBe('right');
  });
});

test('events come in order, also to listeners after one that throws', async () => {
  const transport = new PortTransport();
  const seen: number[] = [];
  const errors: unknown[] = [];
  const before = globalThis.reportError;
  globalThis.reportError = error => errors.push(error);
  transport.onEvent(() => {
    throw new Error('a bad view');
  });
  const end = transport.onEvent(event => seen.push(event.type === 'progress' ? event.done : -1));
  const { sampler } = connected(transport);
  const progress = (done: number): SamplerEvent => ({ type: 'progress', what: 'pages', done, total: 9 });
  for (const done of [1, 2, 3]) sampler.send({ kind: 'event', event: progress(done) });
  for (let i = 0; i < 200 && seen.length < 3; i++) await after(1);
  end();
  sampler.send({ kind: 'event', event: progress(4) });
  for (let i = 0; i < 200 && errors.length < 4; i++) await after(1);
  globalThis.reportError = before;
  expect(seen).toEqual([1, 2, 3]);
  expect(errors).toHaveLength(4);
});

test('a port that the other side closes leaves the transport waiting', async () => {
  const { transport, sampler } = connected();
  const states: string[] = [];
  transport.onState(({ state }) => states.push(state));
  sampler.close();
  for (let i = 0; i < 200 && states.length === 0; i++) await after(1);
  expect(states).toEqual(['waiting']);
});

test.each([
  ['an object', { kind: 'event', event: { type: 'progress', what: '', done: 1, total: 2 } }],
  ['bytes', new ArrayBuffer(64)],
])('%s instead of a message closes the transport, and says so', async (_, data) => {
  const { transport, sampler } = connected();
  const asked = settled(transport.call('listProcesses'));
  sampler.sendRaw(data);
  expect(await asked).toBeInstanceOf(TransportClosed);
  expect(transport.state).toMatchObject({
    state: 'closed',
    detail: expect.stringMatching(/^What the sampler said could not be read: a message/),
  });
});
