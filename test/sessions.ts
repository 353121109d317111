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

/**
 * A copy that is damaged at two places: bytes in its first frame, past the first samples, and its end, which is cut off. What lies
 * before the cut is overwritten, so that it is never by chance the end of a line.
 */
export function damagedCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const middle = Math.floor(copy.length * 0.4);
  copy.fill(0, middle, middle + 40);
  const end = copy.length - 100;
  copy.fill(0xff, end - 20, end);
  return copy.subarray(0, end);
}
