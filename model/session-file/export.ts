import { fromSnapshot, toSnapshot } from '../run-columns.ts';
import type { SessionFile } from './reader.ts';
import { Redactor } from './redact.ts';
import { type Deflater, SessionWriter } from './writer.ts';

/**
 * A copy of what is whole in a session, with names and paths taken out ({@link Redactor}). Samples that are missing in the original
 * are a gap in time in the copy.
 * @param write as in SessionWriterOptions
 */
export async function exportRedacted(
  file: SessionFile,
  deflater: () => Deflater,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const redactor = new Redactor();
  const { header } = file;
  // The title may name what only a sample tells to be a name.
  const first = await file.sample(0);
  if (first !== null) redactor.snapshot(toSnapshot(first));
  const { damage } = await file.examine();
  const title = header.title === null ? null : redactor.text(header.title);
  const writer = new SessionWriter({
    header: { ...header, title, redacted: true, openAt: damage.length === 0 ? header.openAt : null },
    deflater,
    write,
  });
  for await (const entry of file.entries()) {
    if (entry.kind === 'event') await writer.event(redactor.event(entry.event));
    else await writer.add(fromSnapshot(redactor.snapshot(toSnapshot(entry.sample))));
  }
  await writer.end();
}
