import type { SamplerEvent, SamplerService } from '../../model/contract.ts';
import type { ProcessList } from '../../model/process-list.ts';
import { fromSnapshot, type Sample } from '../../model/run-columns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { Listeners, type Transport, type TransportState } from './transport.ts';

/** The bundled snapshot of a real QEMU on a real kernel; loaded when it is wanted. */
export async function loadRecording(): Promise<Snapshot> {
  const { default: recorded } = await import('../../model/recorded-snapshot.json');
  return recorded as unknown as Snapshot;
}

/** A transport that answers from one recorded snapshot. It asks nobody for rights and its process cannot change. */
export class ReplayTransport implements Transport {
  readonly state: TransportState = { state: 'open' };
  readonly #sample: Sample;
  readonly #events = new Listeners<SamplerEvent>();

  constructor(snapshot: Snapshot) {
    this.#sample = fromSnapshot(snapshot);
  }

  call<M extends keyof SamplerService>(
    method: M,
    ...args: Parameters<SamplerService[M]>
  ): ReturnType<SamplerService[M]> {
    return this.#answer(method, args) as unknown as ReturnType<SamplerService[M]>;
  }

  onEvent(listener: (event: SamplerEvent) => void): () => void {
    return this.#events.add(listener);
  }

  onState(): () => void {
    return () => {};
  }

  close(): void {}

  async #answer(method: keyof SamplerService, args: readonly unknown[]): Promise<unknown> {
    switch (method) {
      case 'listProcesses':
        return this.#processes();
      case 'watch':
        if (args[0] !== null) this.#events.tell({ type: 'sample', sample: this.#sample, timing: null });
        return undefined;
      case 'setPaused':
        return undefined;
      case 'grant':
      case 'revoke':
        throw new Error('A recording needs no rights: attach to a process of this machine first.');
      case 'record':
      case 'listSessions':
      case 'readSession':
        throw new Error('This is a recording: only a process of this machine can be recorded.');
    }
  }

  #processes(): ProcessList {
    const { target, takenAt, resources } = this.#sample;
    const held = resources.filter(({ exporter }) => exporter === 'udmabuf');
    const known = held.flatMap(({ sizeBytes }) => (sizeBytes === null ? [] : [sizeBytes]));
    const created = held.flatMap(({ createdAt }) => (createdAt === null ? [] : [createdAt]));
    return {
      schema: 'pinscope.processes/1',
      takenAt,
      hiddenProcesses: 0,
      processes: [
        {
          pid: target.pid,
          startTime: target.startTime,
          comm: target.comm,
          uid: target.uid < 0 ? null : target.uid,
          user: target.user,
          kind: target.kind,
          name: target.name,
          buffers: held.length,
          bufferBytes: known.length === held.length ? known.reduce((sum, bytes) => sum + bytes, 0) : null,
          oldest: created.sort()[0] ?? null,
        },
      ],
    };
  }
}
