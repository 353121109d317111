import { describe, expect, test } from 'vitest';
import { browserShell, pidOf } from './browser-shell.ts';

/** A browser's window as far as the shell looks at it. */
function tab(url: string, storage: Map<string, string> | null = new Map()) {
  const location = new URL(url);
  const listeners: (() => void)[] = [];
  let reloads = 0;
  const sessionStorage = {
    getItem: (key: string) => storage?.get(key) ?? null,
    setItem: (key: string, value: string) => storage?.set(key, value),
  };
  const asked: string[] = [];
  const window = {
    location: Object.assign(location, { reload: () => reloads++ }),
    history: {
      replaceState: (_state: null, _title: string, to: string) => {
        location.href = new URL(to, location).href;
      },
    },
    addEventListener: (_type: 'hashchange', listener: () => void) => listeners.push(listener),
    fetch: async (_url: string, { headers }: { headers: Record<string, string> }) => {
      asked.push(headers.authorization ?? '');
      return new Response('no', { status: 401 });
    },
    get sessionStorage() {
      if (storage === null) throw new Error('forbidden');
      return sessionStorage;
    },
  };
  return {
    window: window as unknown as Window,
    location,
    asked,
    storage,
    hashTo(hash: string) {
      location.hash = hash;
      for (const listener of listeners) listener();
      return reloads;
    },
  };
}
const address = 'http://127.0.0.1:8080/';

describe('the token', () => {
  test('leaves the address, and is what the server is asked with', async () => {
    const { window, location, asked } = tab(`${address}?pid=7#abc`);
    const { api, transport } = browserShell(window);
    expect(location.href).toBe(`${address}?pid=7`);
    void api.startup();
    await new Promise(resolve => transport.onState(resolve));
    expect(asked).toEqual(['Bearer abc']);
  });

  test('is kept for the tab, whose page may be loaded again', async () => {
    const { storage } = tab(address);
    browserShell(tab(`${address}#abc`, storage).window);
    const again = tab(address, storage);
    const { api, transport } = browserShell(again.window);
    void api.startup();
    await new Promise(resolve => transport.onState(resolve));
    expect(again.asked).toEqual(['Bearer abc']);
  });

  test('is that of this load alone where nothing may be kept', async () => {
    const { window, asked } = tab(`${address}#abc`, null);
    const { api, transport } = browserShell(window);
    void api.startup();
    await new Promise(resolve => transport.onState(resolve));
    expect(asked).toEqual(['Bearer abc']);
  });

  test('is missing: that is said, and nobody is asked', async () => {
    for (const storage of [new Map<string, string>(), null]) {
      const { window, asked } = tab(address, storage);
      const { api, transport } = browserShell(window);
      await expect(api.startup()).rejects.toThrow(/open the address that pinscope serve has printed/);
      expect(transport.state).toMatchObject({ state: 'closed', detail: expect.stringContaining('no token') });
      expect(asked).toEqual([]);
    }
  });

  test('another one in the same tab loads the page again', () => {
    const { window, hashTo } = tab(`${address}#abc`);
    browserShell(window);
    expect(hashTo('')).toBe(0);
    expect(hashTo('#def')).toBe(1);
  });
});

test('?pid=N', () => {
  expect(['?pid=12', '?x=1&pid=4194304', '?pid=012', '?pid=', '?pid=-1', '?pid=1e3', ''].map(pidOf)).toEqual([
    12,
    4194304,
    null,
    null,
    null,
    null,
    null,
  ]);
});
