import { app, session } from 'electron';
import { PAGE_ORIGIN } from './page.ts';

/** What a page may ask for: to put text on the clipboard, by a key or a click. */
const ALLOWED = 'clipboard-sanitized-write';

/** Refuses every permission, device and embedding that Chromium could ask for, but {@link ALLOWED} to our own page. */
export function lockDownPermissions(): void {
  const own = (url: string) => url === PAGE_ORIGIN || url.startsWith(`${PAGE_ORIGIN}/`);
  const { defaultSession } = session;
  defaultSession.setPermissionRequestHandler((contents, permission, answer) =>
    answer(permission === ALLOWED && own(contents.getURL())),
  );
  defaultSession.setPermissionCheckHandler(
    (_contents, permission, origin) => permission === ALLOWED && own(origin),
  );
  defaultSession.setDevicePermissionHandler(() => false);
  app.on('web-contents-created', (_event, contents) => {
    contents.on('will-navigate', event => event.preventDefault());
    contents.on('will-redirect', event => event.preventDefault());
    contents.on('will-attach-webview', event => event.preventDefault());
    contents.setWindowOpenHandler(() => ({ action: 'deny' }));
  });
}
