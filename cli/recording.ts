import type { Snapshot } from '../model/snapshot.ts';
import recorded from './recorded-snapshot.json' with { type: 'json' };

/** The bundled snapshot of a real QEMU on a real kernel; `npm run test:rig -- record` makes it anew. */
export function recording(): { snapshot: Snapshot; label: string } {
  const snapshot = recorded as unknown as Snapshot;
  return {
    snapshot,
    label: `a real QEMU with a blob framebuffer on Linux ${snapshot.host.kernel.release}, taken ${snapshot.takenAt}`,
  };
}
