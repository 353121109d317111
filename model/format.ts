import type { Virtio } from './snapshot.ts';

/* How quantities read to a person. Whole numbers stay exact; what is rounded says its unit. */

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes: `12 KiB`, `1 GiB` is exact; what has a decimal point is rounded: `7.91 MiB`, `23.5 GiB`, `1.00 GiB`. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  // 1023.95 would be shown as 1024.0, which is 1 of the next unit.
  while (value >= 1023.95 && (value >= 1024 || unit > 0) && unit < BINARY.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = Number.isInteger(value) ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${BINARY[unit]}`;
}

/**
 * A span of time in its two largest units: `0.4 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`; `?` for no number. A
 * clock that was set back gives `0.0 s`.
 */
export function formatSpan(milliseconds: number): string {
  if (!Number.isFinite(milliseconds)) return '?';
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** `1 page`, `2 pages`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** With a capital first letter, as a sentence begins; not for what is a command. */
export const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** What a dma-buf is to the guest: `resource 2, scanout 0`; an id as the guest counts. */
export function formatVirtio({ resourceId, scanout }: Virtio): string {
  const resource = resourceId === null ? 'one of several resources' : `resource ${resourceId}`;
  const shown =
    scanout === null ? 'no scanout' : scanout === 'unknown' ? 'scanout not known' : `scanout ${scanout}`;
  return `${resource}, ${shown}`;
}
