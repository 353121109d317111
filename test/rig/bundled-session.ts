import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromSnapshot } from '../../model/run-columns.ts';
import { SessionWriter } from '../../model/session-file/writer.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { deflater } from '../../sampler/session-bytes.ts';
import { projectRoot } from './host.ts';

/** A line that `guest/record-session.ts` wrote. */
type Recorded = { readonly snapshot: Snapshot } | { readonly skipped: number };

/**
 * Makes the session that the window opens where nothing uses udmabuf.
 * @param text lines of `guest/record-session.ts`
 * @returns the file
 */
export async function makeBundledSession(text: string): Promise<string> {
  const lines = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Recorded);
  const snapshots = lines.flatMap(line => ('snapshot' in line ? [line.snapshot] : []));
  const [first] = snapshots;
  const wrong = snapshots.findIndex(({ findings }) => findings.some(({ severity }) => severity === 'error'));
  if (first === undefined || wrong < 0) throw new Error('nothing goes wrong in this recording');
  const parts: Uint8Array[] = [];
  const writer = new SessionWriter({
    header: {
      createdAt: first.takenAt,
      periodMs: 1000,
      redacted: false,
      title: 'A guest gives pages of its framebuffer to the balloon while they are shown.',
      openAt: wrong,
    },
    deflater,
    write: async bytes => {
      parts.push(bytes);
    },
  });
  let at = first.takenAt;
  for (const line of lines) {
    if ('snapshot' in line) {
      at = line.snapshot.takenAt;
      await writer.add(fromSnapshot(line.snapshot));
    } else {
      await writer.event({ at, kind: 'skipped', count: line.skipped, detail: null });
    }
  }
  await writer.end();
  const file = join(projectRoot(), 'renderer/public/recorded.pinscope');
  writeFileSync(file, Buffer.concat(parts));
  return file;
}
