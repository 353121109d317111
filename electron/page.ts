import { extname, join, normalize, sep } from 'node:path';
import { protocol } from 'electron';
import { pageHeaders } from '../model/page-files.ts';
import { type PageFile, serveScheme } from './runtime.ts';

const SCHEME = 'pinscope';
/** The page's origin: what the gate accepts, and nothing else. */
export const PAGE_ORIGIN = `${SCHEME}://app`;
export const PAGE_URL = `${PAGE_ORIGIN}/index.html`;

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
  const headers = pageHeaders(extname(path));
  if (!path.startsWith(folder + sep) || headers === null) return null;
  return { path, headers };
}
