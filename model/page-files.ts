/** How the built page is served, by the window's own scheme and by `pinscope serve`: which files, with which headers. */

/** What a page consists of; a file of another extension is none of it. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
  // The bundled session.
  '.pinscope': 'application/octet-stream',
};

/**
 * No inline script or style, nothing from elsewhere, no frames, no forms.
 * @param connect what the page may connect to beside its own origin
 */
const policy = (connect: readonly string[]): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    ["connect-src 'self'", ...connect].join(' '),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    'trusted-types svelte-trusted-html',
  ].join('; ');

/**
 * Headers of a file of the page; `null` for an extension that no file of a page has.
 * @param extension with its dot, as path.extname gives it
 * @param connect sources of the policy that the page may connect to beside its own origin, e.g. `ws://127.0.0.1:8080`
 */
export function pageHeaders(
  extension: string,
  connect: readonly string[] = [],
): Readonly<Record<string, string>> | null {
  const type = Object.hasOwn(TYPES, extension) ? TYPES[extension] : undefined;
  if (type === undefined) return null;
  return {
    'content-type': type,
    'content-security-policy': policy(connect),
    'x-content-type-options': 'nosniff',
    'cross-origin-opener-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
  };
}
