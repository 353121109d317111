import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { BROWSER_SHELL } from '../../model/contract.ts';
import { pageHeaders } from '../../model/page-files.ts';

/** The built page by path (`/assets/index.js`), in memory: no request opens a file, whatever it names. */
export type Page = ReadonlyMap<string, { readonly body: Buffer; readonly extension: string }>;

/**
 * Reads the page that Vite has built, but for files of an extension that no page has; tells it that `pinscope serve` gives it.
 * Throws an Error when there is none.
 */
export function loadPage(folder: string): Page {
  const page = new Map<string, { body: Buffer; extension: string }>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const extension = extname(entry.name);
    if (!entry.isFile() || pageHeaders(extension) === null) continue;
    const path = join(entry.parentPath, entry.name);
    const name = `/${relative(folder, path).split(sep).join('/')}`;
    page.set(name, { body: readFileSync(path), extension });
  }
  const index = page.get('/index.html');
  if (index === undefined) throw new Error(`${folder} has no index.html`);
  const { name, content } = BROWSER_SHELL.meta;
  const html = index.body.toString();
  const told = html.replace('<head>', `<head>\n    <meta name="${name}" content="${content}" />`);
  if (told === html) throw new Error(`${join(folder, 'index.html')} has no <head>`);
  const body = Buffer.from(told);
  return page.set('/index.html', { body, extension: '.html' }).set('/', { body, extension: '.html' });
}
