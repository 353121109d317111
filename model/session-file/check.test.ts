import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { isSnapshot } from './check.ts';

// Recorded by `node dist/rig/rig.js record-snapshot`.
const recorded = readFileSync(new URL('../recorded-snapshot.json', import.meta.url), 'utf8');

type Path = readonly (string | number)[];

/** Every value of a document that has no members, and every list; of a list, its first three elements. */
function* places(value: unknown, path: Path = []): Generator<Path> {
  if (Array.isArray(value)) {
    yield path;
    for (const [i, each] of value.slice(0, 3).entries()) yield* places(each, [...path, i]);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, each] of Object.entries(value)) yield* places(each, [...path, key]);
  } else yield path;
}

function withValue(path: Path, value: unknown): unknown {
  const document = JSON.parse(recorded) as unknown;
  let at = document as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as typeof at;
  at[path.at(-1) ?? ''] = value;
  return document;
}

test('a recorded snapshot is one', () => {
  expect(isSnapshot(JSON.parse(recorded))).toBe(true);
});

test('a member of another type anywhere: no snapshot', () => {
  const all = [...places(JSON.parse(recorded))];
  expect(all.length).toBeGreaterThan(300);
  const letThrough = all.filter(path => isSnapshot(withValue(path, { neither: 'text nor number' })));
  expect(letThrough).toEqual([]);
});

test('members that newer programs write are let through', () => {
  expect(isSnapshot(withValue(['target', 'member of a later version'], { any: [1] }))).toBe(true);
});
