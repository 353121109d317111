import type { Paint } from '../../model/map/classes.ts';

/** Colours of the map, read from the tokens of the theme. */
export interface Palette {
  readonly surface: string;
  readonly free: string;
  readonly hatch: string;
  readonly faint: string;
  readonly line: string;
  readonly lineStrong: string;
  readonly text: string;
  readonly muted: string;
  readonly focus: string;
  readonly error: string;
  readonly warning: string;
  readonly disconnected: string;
  readonly unknown: string;
  readonly categories: readonly string[];
  readonly ramp: readonly string[];
  readonly inks: readonly [string, string];
  readonly font: string;
}

/** @param style computed style of the root element */
export function paletteOf(style: Pick<CSSStyleDeclaration, 'getPropertyValue'>): Palette {
  // The bundle writes #ffffff as #fff.
  const token = (name: string): string =>
    style
      .getPropertyValue(`--${name}`)
      .trim()
      .replace(/^#(.)(.)(.)$/, '#$1$1$2$2$3$3');
  const tokens = (name: string, first: number, count: number): string[] =>
    Array.from({ length: count }, (_, i) => token(`${name}-${i + first}`));
  return {
    surface: token('surface'),
    free: token('map-free'),
    hatch: token('map-hatch'),
    faint: token('map-faint'),
    line: token('line'),
    lineStrong: token('line-strong'),
    text: token('text'),
    muted: token('text-muted'),
    focus: token('focus'),
    error: token('error'),
    warning: token('warning'),
    disconnected: token('map-disconnected'),
    unknown: token('map-unknown'),
    categories: tokens('map-category', 1, 8),
    ramp: tokens('map-ramp', 1, 6),
    inks: [token('map-ink-light'), token('map-ink-dark')],
    font: token('font-data'),
  };
}

/** The colour of a class. */
export function colourOf(palette: Palette, paint: Paint): string {
  switch (paint.kind) {
    case 'category':
      return palette.categories[paint.step % palette.categories.length] ?? palette.unknown;
    case 'ramp':
      return palette.ramp[paint.step] ?? palette.unknown;
    case 'unknown':
      return palette.unknown;
    case 'disconnected':
      return palette.disconnected;
  }
}

/** `#rrggbb` as one pixel of an ImageData on a little-endian machine, opaque. */
export function pixel(colour: string): number {
  const rgb = Number.parseInt(colour.slice(1), 16);
  return ((0xff << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

/** `share` of one colour over another, as pixels. */
export function mixed(colour: number, under: number, share: number): number {
  let out = 0xff00_0000;
  for (const shift of [0, 8, 16]) {
    const [a, b] = [(colour >>> shift) & 0xff, (under >>> shift) & 0xff];
    out |= Math.round(a * share + b * (1 - share)) << shift;
  }
  return out >>> 0;
}

/** The ink that is read on a colour: light or dark, by luminance (WCAG 2.1). */
export function inkOn(palette: Palette, colour: string): string {
  const luminance = (hex: string): number => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5]
      .map(at => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
      .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string): number => {
    const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const [light, dark] = palette.inks;
  return contrast(light, colour) >= contrast(dark, colour) ? light : dark;
}
