/**
 * A sampler for the page in a browser: a worker that speaks the contract over a MessagePort and sends a synthetic sample every
 * second or so, as a utility process does. The page reads each sample from a message anew, with all its columns.
 */
import {
  CONTRACT_VERSION,
  type FromSampler,
  type SamplerEvent,
  type ToSampler,
} from '../../model/contract.ts';
import type { ProcessList } from '../../model/process-list.ts';
import type { Sample } from '../../model/run-columns.ts';
import { encodeMessage } from '../../model/wire.ts';
import { type SyntheticSize, syntheticSample } from '../synthetic-sample.ts';

/** As the DOM has it; Node's type lacks the listener. */
interface Port {
  postMessage(message: ArrayBuffer): void;
  onmessage: ((event: { readonly data: ToSampler }) => void) | null;
}
interface Scope {
  postMessage(data: number): void;
  onmessage: ((event: { readonly data: BenchSample; readonly ports: readonly Port[] }) => void) | null;
}
const scope = globalThis as unknown as Scope;
/** A sample every `periodMs`, and one when it is watched or goes on after a pause. */
export interface BenchSample extends SyntheticSize {
  readonly periodMs: number;
}

function serve(port: Port, sample: Sample, periodMs: number): void {
  const send = (message: FromSampler) => {
    const buffer = encodeMessage(message);
    port.postMessage(buffer);
  };
  const tell = (event: SamplerEvent) => send({ kind: 'event', event });
  const { target, resources } = sample;
  const list: ProcessList = {
    schema: 'pinscope.processes/1',
    takenAt: sample.takenAt,
    hiddenProcesses: 0,
    processes: [
      {
        pid: target.pid,
        startTime: target.startTime,
        comm: target.comm,
        uid: 0,
        user: 'root',
        kind: 'qemu',
        name: 'synthetic',
        buffers: resources.length,
        bufferBytes: resources.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0),
        oldest: null,
      },
    ],
  };
  let taken = 0;
  let paused = false;
  const sampleNow = () => {
    if (paused) return;
    taken++;
    const takenAt = new Date(Date.parse(sample.takenAt) + taken * periodMs).toISOString();
    tell({
      type: 'sample',
      sample: { ...sample, takenAt },
      timing: { wallMs: 0, cpuMs: 0, taken, skipped: 0 },
    });
    // When it was on its way: for the page, beside what it is told.
    scope.postMessage(Date.now());
  };
  let timer: ReturnType<typeof setInterval> | undefined;
  port.onmessage = ({ data }) => {
    let value: unknown;
    if (data.method === 'listProcesses') value = list;
    if (data.method === 'setPaused') [paused] = data.args;
    send({ kind: 'answer', id: data.id, value });
    if (data.method === 'setPaused' && !paused) sampleNow();
    if (data.method === 'watch') {
      clearInterval(timer);
      if (data.args[0] !== null) {
        sampleNow();
        timer = setInterval(sampleNow, periodMs);
      }
    }
  };
  tell({
    type: 'hello',
    contract: CONTRACT_VERSION,
    samplerPid: 1,
    privilege: { state: 'root' },
    periodMs,
  });
}

scope.onmessage = ({ data, ports: [port] }) => {
  if (port !== undefined) serve(port, syntheticSample(data), data.periodMs);
};
