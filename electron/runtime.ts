/**
 * What runtimes older than the pinned Electron need differently, an entry each, with the version that made it unnecessary.
 * Types are those of the pinned version; tests run on Electron 22.
 */
import { readFile } from 'node:fs/promises';
import { protocol } from 'electron';

/**
 * One line to show when this is not the Electron that users get, else null. npm start knows more about it, and has told it on
 * stderr (build/start.mjs).
 */
export function runtimeNotice(): { readonly text: string; readonly told: boolean } | null {
  const running = process.versions.electron ?? 'unknown';
  if (running === PINSCOPE_ELECTRON) return null;
  const text = process.env.PINSCOPE_RUNTIME_NOTICE;
  if (text) return { text, told: true };
  return {
    text: `running on Electron ${running} instead of ${PINSCOPE_ELECTRON}: for tests, not for daily use`,
    told: false,
  };
}

/** How npm start says that the terminal program is called; a package has none beside the window. */
export function ownProgram(): { readonly program?: string } {
  const program = process.env.PINSCOPE_PROGRAM;
  return program ? { program } : {};
}

/** A file of the page, with the headers it is served with. */
export interface PageFile {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface OldProtocol {
  registerBufferProtocol(
    scheme: string,
    handler: (
      request: { readonly url: string; readonly method: string },
      respond: (response: {
        statusCode: number;
        mimeType?: string;
        headers?: Record<string, string>;
        data: Buffer;
      }) => void,
    ) => void,
  ): void;
}

/**
 * Serves `scheme`: each GET is answered with the file that `find` names, with 404 where it names none.
 * protocol.handle came with Electron 25.
 */
export function serveScheme(scheme: string, find: (url: string) => PageFile | null): void {
  if (typeof protocol.handle === 'function') {
    protocol.handle(scheme, async request => {
      const file = request.method === 'GET' ? find(request.url) : null;
      if (!file) return new Response('not found', { status: 404 });
      return new Response(await readFile(file.path), { headers: file.headers });
    });
    return;
  }
  (protocol as unknown as OldProtocol).registerBufferProtocol(scheme, ({ url, method }, respond) => {
    const file = method === 'GET' ? find(url) : null;
    const none = () => respond({ statusCode: 404, mimeType: 'text/plain', data: Buffer.from('not found') });
    if (!file) return none();
    readFile(file.path).then(
      data =>
        respond({
          statusCode: 200,
          mimeType: file.headers['content-type']?.split(';')[0] ?? 'application/octet-stream',
          headers: { ...file.headers },
          data,
        }),
      none,
    );
  });
}
