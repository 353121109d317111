import recorded from '../model/recorded-snapshot.json' with { type: 'json' };
import type { Snapshot } from '../model/snapshot.ts';
import { printable } from '../model/text.ts';
import { asCalled } from './own-name.ts';
import { colours } from './text/colours.ts';
import { snapshotText } from './text/snapshot.ts';
import { WIDTH } from './text/table.ts';
import { wrap } from './text/width.ts';

/** The bundled snapshot of a real QEMU on a real kernel; `npm run test:rig -- record-snapshot` makes it anew. */
export const recording = recorded as unknown as Snapshot;

/**
 * The recording for a person, labelled so that nobody takes it for this machine.
 * @param program how to call this program
 */
export function recordingText(program: string): string {
  const { host, takenAt, findings, resources } = recording;
  const [largest] = [...resources].sort((a, b) => (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0));
  const worst = findings.find(finding => finding.resource !== null);
  const label = `a real QEMU with a blob framebuffer on Linux ${host.kernel.release}, taken ${takenAt}`;
  return [
    ...wrap(printable(`RECORDING, not this machine: ${label}.`), WIDTH).map(colours.warn),
    'Nothing that we can see here uses udmabuf now.',
    `For a live process: ${program} snapshot --pid PID`,
    '',
    snapshotText(asCalled(recording), colours, {
      runs: 12,
      resource: worst?.resource ?? largest?.inode ?? null,
    }),
  ].join('\n');
}
