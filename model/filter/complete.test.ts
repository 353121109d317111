import { expect, test } from 'vitest';
import { someResource, someRun, someSnapshot } from '../../test/snapshots.ts';
import { fromSnapshot } from '../run-columns.ts';
import { complete } from './complete.ts';
import { FIELDS } from './fields.ts';
import { parseFilter } from './parser.ts';

const pages = someResource().pages;
if (pages === null) throw new Error('no pages');
const sample = fromSnapshot(
  someSnapshot({
    resources: [
      someResource({ inode: 1, name: 'a cursor' }),
      someResource({
        inode: 2,
        pages: { ...pages, runs: [someRun({ zone: 'Movable' }), someRun({ zone: null })] },
      }),
      someResource({ inode: 3, pages: null }),
      someResource({ inode: 4 }),
    ],
    findings: [
      {
        rule: 'disconnected',
        severity: 'error',
        resource: 1,
        title: '',
        explanation: '',
        remedy: '',
        evidence: [],
        reference: '',
      },
    ],
  }),
);

/** `|` marks the caret. What is offered, and the text after the first of it is taken. */
function at(marked: string) {
  const caret = marked.indexOf('|');
  const text = marked.replace('|', '');
  const { from, to, candidates } = complete(text, caret, sample);
  const offered = candidates.map(one => one.text);
  return { offered, taken: `${text.slice(0, from)}${offered[0] ?? ''}${text.slice(to)}` };
}

test('fields, then operators, then values that occur, then what joins', () => {
  expect(at('|').offered).toEqual(FIELDS.map(({ id }) => id));
  expect(at('mig|')).toEqual({ offered: ['migratetype'], taken: 'migratetype' });
  expect(at('zo|ne == DMA').taken).toBe('zone == DMA');
  expect(at('zone |').offered).toEqual(['==', '!=', '~', '!~']);
  expect(at('age |').offered).toEqual(['==', '!=', '<', '<=', '>', '>=']);
  expect(at('zone !|')).toEqual({ offered: ['!=', '!~'], taken: 'zone !=' });
  expect(at('zone =|').taken).toBe('zone ==');
  expect(at('zone == |').offered).toEqual(['Normal', 'Movable', 'unknown', 'none']);
  expect(at('zone == mo|').taken).toBe('zone == Movable');
  expect(at('zone ~ |').offered).toEqual(['Normal', 'Movable']);
  expect(at('zone == Movable |').offered).toEqual(['&&', '||']);
  expect(at('(zone == Movable |').offered).toEqual(['&&', '||', ')']);
  expect(at('zone == Movable && |').offered).toContain('node');
  expect(at('!|').offered).toContain('node');
  expect(at('(|').offered).toContain('node');
});

test('values are written as they are parsed again', () => {
  expect(at('folio == |').offered).toEqual(['2MiB', 'unknown', 'none']);
  expect(at('severity >= |').offered).toEqual(['none', 'info', 'warning', 'error']);
  expect(at('rule == |').offered).toEqual(['disconnected', 'unknown', 'none']);
  expect(at('name == |').offered).toEqual(['"a cursor"', 'unknown', 'none']);
  expect(at('name == "a|').taken).toBe('name == "a cursor"');
  expect(at('backing == |').offered).toEqual(['connected', 'disconnected', 'unknown', 'none']);
  for (const { id } of FIELDS) {
    for (const text of at(`${id} == |`).offered) expect(() => parseFilter(`${id} == ${text}`)).not.toThrow();
  }
});

test('an address or an age is not listed, and without a sample only fixed words are', () => {
  expect(at('pfn == |').offered).toEqual(['unknown', 'none']);
  expect(at('age > |').offered).toEqual([]);
  expect(complete('mapped == ', 10, null).candidates.map(({ text }) => text)).toEqual([
    'no',
    'yes',
    'unknown',
    'none',
  ]);
});

test('any caret in any text gives a part of that text', () => {
  for (const text of [
    'zone == "a b" && (x || ',
    'name ~ "abc',
    '" \\q',
    '&',
    'a & b',
    '((((',
    ')))',
    'x'.repeat(5000),
  ]) {
    for (let caret = 0; caret <= Math.min(text.length, 40); caret++) {
      const { from, to } = complete(text, caret, sample);
      expect(from).toBeLessThanOrEqual(caret);
      expect(to).toBeGreaterThanOrEqual(caret);
    }
  }
});
