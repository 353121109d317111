import { expect, test } from 'vitest';
import css from './tokens.css?raw';

/** Colours by token of one block of tokens.css. */
function colours(selector: string): Map<string, string> {
  const start = css.indexOf(`${selector} {`);
  const block = css.slice(start, css.indexOf('}', start));
  return new Map(
    [...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

/** WCAG 2.1, relative luminance. */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5]
    .map(at => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
    .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

const light = colours(':root');
const dark = colours(':root[data-theme="dark"]');
const SURFACES = ['surface', 'surface-raised', 'surface-hover', 'surface-selected'];
const TEXTS = ['text', 'text-muted', 'accent', 'ok', 'info', 'warning', 'error'];
const PAIRS: [string, string][] = [
  ...SURFACES.flatMap(surface => TEXTS.map((text): [string, string] => [text, surface])),
  ['button-text', 'button'],
  ['warning', 'warning-surface'],
  ['recording', 'recording-surface'],
  ...['warning-surface', 'error-surface', 'recording-surface'].map((surface): [string, string] => [
    'text',
    surface,
  ]),
];

test.each([
  ['light', light],
  ['dark', dark],
])('every text can be read on every surface, %s', (_, theme) => {
  const bad = PAIRS.map(([text, surface]) => {
    const [a, b] = [theme.get(text), theme.get(surface)];
    if (a === undefined || b === undefined) return `${text} or ${surface} is missing`;
    const ratio = contrast(a, b);
    return ratio < 4.5 ? `${text} on ${surface}: ${ratio.toFixed(2)}` : null;
  });
  expect(bad.filter(line => line !== null)).toEqual([]);
});

test.each([
  ['light', light],
  ['dark', dark],
])('the focus ring, the edges of buttons, bars and lines of charts are seen, %s', (_, theme) => {
  const series = [...theme.keys()].filter(name => /^(bar|series-\d)$/.test(name));
  expect(series).toHaveLength(7);
  for (const line of ['focus', 'line-strong', ...series]) {
    for (const surface of ['surface', 'surface-raised']) {
      const ratio = contrast(theme.get(line) ?? '', theme.get(surface) ?? '');
      expect(ratio, `${line} on ${surface}`).toBeGreaterThanOrEqual(3);
    }
  }
});

test.each([
  ['light', light],
  ['dark', dark],
])('held pages are seen on memory that is not held, and PFNs on their cells, %s', (_, theme) => {
  const free = theme.get('map-free') ?? '';
  const cells = [...theme.keys()].filter(name => /^map-(category|ramp|unknown|disconnected)/.test(name));
  expect(cells).toHaveLength(16);
  for (const cell of cells) {
    const colour = theme.get(cell) ?? '';
    expect(contrast(colour, free), cell).toBeGreaterThanOrEqual(3);
    const inks = ['map-ink-light', 'map-ink-dark'].map(ink => contrast(theme.get(ink) ?? '', colour));
    expect(Math.max(...inks), `a PFN on ${cell}`).toBeGreaterThanOrEqual(4.5);
  }
});

test('both themes set the same colours', () => {
  expect([...dark.keys()].sort()).toEqual([...light.keys()].sort());
});
