import { createDeflateRaw, createInflateRaw, constants as zlib } from 'node:zlib';
import type { Inflate, Inflated } from '../model/session-file/decode.ts';
import { HEAD_BYTES } from '../model/session-file/frame.ts';
import type { Deflater } from '../model/session-file/writer.ts';

/** A frame of more text than this is not one of ours: a recorded hour has less. */
const MOST_TEXT = 2 ** 28;
/** How much is inflated at a time where bytes are damaged: what is lost with them. */
const CAREFUL_BYTES = 256;

/** Compresses a frame's text by zlib. */
export function deflater(): Deflater {
  const stream = createDeflateRaw({ level: 6 });
  let parts: Buffer[] = [];
  let failed: Error | null = null;
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('error', error => {
    failed = error;
  });
  const take = (): Uint8Array => {
    const bytes = Buffer.concat(parts);
    parts = [];
    return bytes;
  };
  return {
    add: text =>
      new Promise((resolve, reject) => {
        stream.write(Buffer.from(text, 'latin1'));
        stream.flush(zlib.Z_SYNC_FLUSH, () => (failed === null ? resolve(take()) : reject(failed)));
      }),
    end: () =>
      new Promise((resolve, reject) => {
        stream.once('error', reject);
        stream.once('end', () => resolve(take()));
        stream.end();
      }),
  };
}

/** Inflates a frame's gzip member, by zlib. */
export const inflate: Inflate = async member => {
  const data = member.subarray(HEAD_BYTES);
  const quick = await inflated([data]);
  if (quick.trouble === null) return quick;
  // Again in small pieces: what comes out before the damage counts.
  const pieces = Array.from({ length: Math.ceil(data.length / CAREFUL_BYTES) }, (_, i) =>
    data.subarray(i * CAREFUL_BYTES, (i + 1) * CAREFUL_BYTES),
  );
  return inflated(pieces);
};

function inflated(pieces: readonly Uint8Array[]): Promise<Inflated> {
  return new Promise(resolve => {
    const stream = createInflateRaw();
    const parts: string[] = [];
    let length = 0;
    let done = false;
    const finish = (ended: boolean, trouble: string | null) => {
      if (done) return;
      done = true;
      stream.destroy();
      resolve({ text: parts.join(''), ended, trouble });
    };
    stream.on('data', (part: Buffer) => {
      length += part.length;
      parts.push(part.toString('latin1'));
      if (length > MOST_TEXT) finish(false, 'it is too large to be a frame');
    });
    // Z_BUF_ERROR: it wants more bytes and there are none; what there was came out.
    stream.on('error', (error: NodeJS.ErrnoException) =>
      finish(false, error.code === 'Z_BUF_ERROR' ? null : `it cannot be inflated (${error.message})`),
    );
    stream.on('end', () => finish(true, null));
    const feed = async () => {
      for (const piece of pieces) {
        if (done) return;
        await new Promise<void>(written => stream.write(piece, () => written()));
      }
      if (!done) stream.end();
    };
    void feed();
  });
}
