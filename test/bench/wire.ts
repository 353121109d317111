import type { FromSampler } from '../../model/contract.ts';
import recorded from '../../model/recorded-snapshot.json' with { type: 'json' };
import { fromSnapshot } from '../../model/run-columns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { decodeMessage, encodeMessage } from '../../model/wire.ts';
import { alternate, type Bench } from './result.ts';
import { timed } from './timed.ts';

/** Some page runs a buffer: as 1 MiB has in folios of 256 KiB. */
const RUNS = 4;

/** The recorded snapshot with so many buffers, each the beginning of its framebuffer. */
function sampleOf(buffers: number): FromSampler {
  const snapshot = recorded as unknown as Snapshot;
  const framebuffer = snapshot.resources.find(({ pages }) => pages !== null);
  if (!framebuffer?.pages) throw new Error('the recording has no pages');
  const pages = { ...framebuffer.pages, runs: framebuffer.pages.runs.slice(0, RUNS) };
  const resources = Array.from({ length: buffers }, (_, inode) => ({ ...framebuffer, inode, pages }));
  const sample = fromSnapshot({ ...snapshot, resources });
  return { kind: 'event', event: { type: 'sample', sample, timing: null } };
}

/** A sample's way from one process to the other, without the sending: encoded, copied and decoded, against a structured clone. */
const wire = (buffers: number): Bench => ({
  name: `wire-${buffers}-buffers`,
  async run() {
    const message = sampleOf(buffers);
    const { value, baseline, ratio } = await alternate(
      7,
      () => timed(async () => structuredClone(message)),
      () => timed(async () => decodeMessage(structuredClone(encodeMessage(message)))),
    );
    const encoded = encodeMessage(message);
    const encode = await timed(async () => encodeMessage(message));
    return {
      name: this.name,
      unit: 'ms',
      value,
      baseline,
      ratio,
      details: { bytes: encoded.byteLength, encodeMs: encode.clock },
    };
  },
});

export const wire64 = wire(64);
export const wire10000 = wire(10_000);
