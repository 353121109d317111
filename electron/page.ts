import { extname, join, normalize, sep } from 'node:path';
import { protocol } from 'electron';
import { type PageFile, serveScheme } from './runtime.ts';

const SCHEME = 'pinscope';
/** The page's origin: what the gate accepts, and nothing else. */
export const PAGE_ORIGIN = `${SCHEME}://app`;
export const PAGE_URL = `${PAGE_ORIGIN}/index.html`;

/** No inline script or style, nothing from elsewhere, no frames, no forms. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types svelte-trusted-html',
].join('; ');

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
};

/** Must be called before the app is ready. */
export function registerPageScheme(): void {
  protocol.registerSchemesAsPrivileged([
    { scheme: SCHEME, privileges: { standard: true, secure: true, supportFetchAPI: true } },
  ]);
}

/** Serves the built page, and no file outside its folder. */
export function servePage(folder = join(__dirname, '..', 'renderer')): void {
  serveScheme(SCHEME, url => findPageFile(folder, url));
}

/** The file of a URL of the page's origin; `null` for every other URL, and for names that lead out of `folder`. */
export function findPageFile(folder: string, url: string): PageFile | null {
  let parsed: URL;
  let name: string;
  try {
    parsed = new URL(url);
    name = decodeURIComponent(parsed.pathname);
  } catch {
    return null;
  }
  if (parsed.protocol !== `${SCHEME}:` || parsed.host !== 'app' || name.includes('\0')) return null;
  const path = normalize(join(folder, name));
  const type = TYPES[extname(path)];
  if (!path.startsWith(folder + sep) || type === undefined) return null;
  return {
    path,
    headers: {
      'content-type': type,
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
    },
  };
}
