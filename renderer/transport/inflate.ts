import type { Inflate, Inflated } from '../../model/session-file/decode.ts';
import type { Deflater } from '../../model/session-file/writer.ts';

/** A frame of more text than this is not one of ours: a recorded hour has less. */
const MOST_TEXT = 2 ** 28;
/** How much is inflated at a time where bytes are damaged: what is lost with them. Each piece waits for a timer. */
const CAREFUL = { bytes: 256, pieces: 512 } as const;

/** Inflates a frame's gzip member by the browser's own DecompressionStream (Chromium 80). */
export const inflate: Inflate = async member => {
  const quick = await inflated(member, Math.max(1, member.length));
  return quick.ended
    ? quick
    : inflated(member, Math.max(CAREFUL.bytes, Math.ceil(member.length / CAREFUL.pieces)));
};

async function inflated(member: Uint8Array, step: number): Promise<Inflated> {
  const { readable, writable } = new DecompressionStream('gzip');
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const latin1 = new TextDecoder('latin1');
  const parts: string[] = [];
  let length = 0;
  let ended = false;
  let trouble: string | null = null;
  const reading = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      parts.push(latin1.decode(value));
      if (length > MOST_TEXT) throw new Error('it is too large to be a frame');
    }
    ended = true;
  })();
  // Told below; until then nobody waits for it.
  reading.catch(() => {});
  let fed = false;
  try {
    for (let at = 0; at < member.length; at += step) {
      await writer.write(member.slice(at, at + step));
      // An error throws away what was inflated and not read yet: let it be read first.
      await turn();
    }
    fed = true;
    await writer.close();
    await reading;
  } catch (error) {
    await turn();
    // All of it went in, and only the end is missing: it is still being written, or its writer was killed.
    if (!fed || length > MOST_TEXT)
      trouble = `it cannot be inflated (${error instanceof Error ? error.message : String(error)})`;
    await reader.cancel().catch(() => {});
    await writer.abort().catch(() => {});
  }
  return { text: parts.join(''), ended, trouble };
}

/** After everything that is ready to run: a timer's turn comes after all promises. */
const turn = (): Promise<void> => new Promise(resolve => void setTimeout(resolve));

/**
 * Compresses a frame by the browser's own CompressionStream (`deflate-raw`: Chromium 103). It cannot be flushed, so a frame's bytes come all at
 * its end: for copies, where nothing is lost with the process.
 */
export function deflater(): Deflater {
  const { readable, writable } = new CompressionStream('deflate-raw');
  const writer = writable.getWriter();
  const bytes = new Response(readable).arrayBuffer();
  const encoder = new TextEncoder();
  return {
    async add(text) {
      await writer.write(encoder.encode(text));
      return new Uint8Array(0);
    },
    async end() {
      await writer.close();
      return new Uint8Array(await bytes);
    },
  };
}
