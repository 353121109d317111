import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fieldTable } from './help.ts';
import { parseFilter } from './parser.ts';

const text = readFileSync(new URL('../../docs/FILTER.md', import.meta.url), 'utf8');

test('docs/FILTER.md has the fields that there are, and no others', () => {
  const inDocs = text.split('\n').filter(line => line.startsWith('| '));
  expect(inDocs.slice(inDocs.findIndex(line => line.startsWith('| Field '))).join('\n')).toBe(
    fieldTable().join('\n'),
  );
});

test('every filter that docs/FILTER.md shows is understood', () => {
  const shown = [...text.matchAll(/^ {4}(?!pinscope )(.+?)(?: {2,}.*)?$/gm)].map(([, filter = '']) => filter);
  expect(shown.length).toBeGreaterThan(8);
  for (const filter of shown) expect(() => parseFilter(filter), filter).not.toThrow();
});
