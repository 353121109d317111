import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { CONTRACT_VERSION, SAMPLER_PORT_MESSAGE } from '../../model/contract.ts';
import type { Sample } from '../../model/run-columns.ts';

const COLUMNS = {
  Float64Array,
  Int32Array,
  Int16Array,
  Uint8Array,
} as const;
type ColumnType = keyof typeof COLUMNS;

/** A sample as one body: length of the JSON, the JSON with `{$column, at, length}` in place of typed arrays, and their bytes. */
export function encodeSample(sample: Sample): Buffer {
  const parts: Uint8Array[] = [];
  let at = 0;
  const text = JSON.stringify(sample, (_, value: unknown) => {
    if (!ArrayBuffer.isView(value)) return value;
    const $column = value.constructor.name as ColumnType;
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    const padded = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
    padded.set(bytes);
    parts.push(padded);
    const place = { $column, at, length: bytes.length / COLUMNS[$column].BYTES_PER_ELEMENT };
    at += padded.length;
    return place;
  });
  const json = Buffer.from(text);
  const head = Buffer.alloc(Math.ceil((8 + json.length) / 8) * 8, ' ');
  head.writeBigUInt64LE(BigInt(head.length - 8));
  json.copy(head, 8);
  return Buffer.concat([head, ...parts]);
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

/** The built page and samples by name, on the loopback address. */
export async function servePage(
  folder: string,
  samples: ReadonlyMap<string, Buffer>,
): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const sample = samples.get(path);
    try {
      const file = join(folder, normalize(path === '/' ? '/index.html' : path));
      const body = sample ?? readFileSync(file);
      response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return { server, url: `http://127.0.0.1:${address.port}/` };
}

/** What fake-shell.js needs to know of the contract; to be set before it runs. */
export const shellSettings = `window.fakeShell = ${JSON.stringify({
  message: SAMPLER_PORT_MESSAGE,
  contract: CONTRACT_VERSION,
})};`;
