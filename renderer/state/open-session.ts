import { ReplayTransport } from '../transport/replay.ts';
import { MOST_SESSION_BYTES, type Recordings } from './recordings.svelte.ts';
import type { Session } from './session.svelte.ts';

/** Opens a file that the user chose or dropped. */
export function openSessionFile(session: Session, file: File): Promise<void> {
  return session.openFile(file.name, async () => {
    if (file.size > MOST_SESSION_BYTES) throw new Error('it is larger than 1 GiB; pinscope show reads it');
    return ReplayTransport.open(new Uint8Array(await file.arrayBuffer()), file.name);
  });
}

/** Opens a recording of the sampler's folder. */
export function openRecorded(session: Session, recordings: Recordings, name: string): Promise<void> {
  return session.openFile(name, async () => ReplayTransport.open(await recordings.read(name), name));
}
