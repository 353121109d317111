import { fromSnapshot } from '../model/run-columns.ts';
import { type Deflater, joined, SessionWriter } from '../model/session-file/writer.ts';
import type { Snapshot } from '../model/snapshot.ts';

/** A session file of these snapshots. */
export async function sessionOf(
  deflater: () => Deflater,
  ...snapshots: readonly Snapshot[]
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const writer = new SessionWriter({
    header: {
      createdAt: '2026-03-04T05:06:07.000Z',
      periodMs: 1000,
      redacted: false,
      title: null,
      openAt: null,
    },
    deflater,
    write: async bytes => void parts.push(bytes),
  });
  for (const snapshot of snapshots) await writer.add(fromSnapshot(snapshot));
  await writer.end();
  return joined(parts);
}
