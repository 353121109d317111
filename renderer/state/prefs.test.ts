import { expect, test } from 'vitest';
import { Prefs, type PrefsStore, parsePrefs } from './prefs.svelte.ts';

const DEFAULTS = parsePrefs(null);

test.each([
  ['nothing', null],
  ['no JSON', '{'],
  ['no object', '"dark"'],
  ['null', 'null'],
  ['another version', '{"version":2,"theme":"dark"}'],
  ['no version', '{"theme":"dark"}'],
])('%s gives the defaults', (_, text) => {
  expect(parsePrefs(text)).toEqual(DEFAULTS);
});

test('each damaged field has its default, the others stay', () => {
  expect(parsePrefs('{"version":1,"theme":"pink","detailShare":0.3}')).toEqual({
    ...DEFAULTS,
    detailShare: 0.3,
  });
  expect(parsePrefs('{"version":1,"theme":"light","detailShare":"0.3"}')).toEqual({
    ...DEFAULTS,
    theme: 'light',
  });
  expect(parsePrefs('{"version":1,"detailShare":9}').detailShare).toBe(0.85);
});

test('columns that were hidden stay hidden, each in its table', () => {
  let saved: string | null = null;
  const store: PrefsStore = {
    getItem: () => saved,
    setItem: (_, text) => {
      saved = text;
    },
  };
  const prefs = new Prefs(store);
  prefs.showColumn('runs', 'gpa', false);
  prefs.showColumn('runs', 'node', false);
  prefs.showColumn('resources', 'age', false);
  prefs.showColumn('runs', 'gpa', true);
  const next = new Prefs(store);
  expect([next.hiddenColumns('runs'), next.hiddenColumns('resources'), next.hiddenColumns('zones')]).toEqual([
    ['node'],
    ['age'],
    [],
  ]);
  next.showAllColumns('runs');
  expect(new Prefs(store).hiddenColumns('runs')).toEqual([]);
  const damaged = '{"version":1,"hiddenColumns":{"runs":["a",1,null],"x":3,"__proto__":["y"]}}';
  expect(parsePrefs(damaged).hiddenColumns).toEqual({ runs: ['a'], ['__proto__']: ['y'] });
  expect(parsePrefs('{"version":1,"hiddenColumns":"runs"}').hiddenColumns).toEqual({});
});

const media = (matches: boolean) =>
  ({ matches, addEventListener: () => {}, removeEventListener: () => {} }) as unknown as MediaQueryList;

test('the theme follows the desktop until the user says otherwise, and is remembered', () => {
  let saved: string | null = null;
  const store: PrefsStore = {
    getItem: () => saved,
    setItem: (_, text) => {
      saved = text;
    },
  };
  const prefs = new Prefs(store);
  prefs.followSystem(media(true));
  expect(prefs.theme).toBe('dark');
  prefs.switchTheme();
  expect(prefs.theme).toBe('light');
  const next = new Prefs(store);
  next.followSystem(media(true));
  expect(next.theme).toBe('light');
  next.switchTheme();
  next.followSystem(media(false));
  expect([next.themeChoice, next.theme]).toEqual(['dark', 'dark']);
  // The desktop is light now: the third choice after light is to follow it.
  next.switchTheme();
  next.switchTheme();
  expect([next.themeChoice, next.theme]).toEqual(['system', 'light']);
});

test('a store that refuses loses nothing but the memory', () => {
  const prefs = new Prefs({
    getItem: () => null,
    setItem: () => {
      throw new Error('QuotaExceededError');
    },
  });
  prefs.detailShare = 0.4;
  expect(prefs.detailShare).toBe(0.4);
});
