import { expect, test } from 'vitest';
import { fromSnapshot, toSnapshot } from '../model/run-columns.ts';
import { expectPrintable } from '../test/printed.ts';
import { CliError, EXIT } from './exit.ts';
import { filterOf } from './filter.ts';
import { recording } from './recording.ts';
import { coloursFor } from './text/colours.ts';
import { snapshotText } from './text/snapshot.ts';

const sample = fromSnapshot(recording);
const text = (filter: string) => {
  const { sample: left, result } = filterOf(filter)(sample);
  const options = { runs: 12, resource: null, filter: result };
  const printed = snapshotText(toSnapshot(left), coloursFor({}), options);
  expectPrintable(printed);
  return printed;
};

test('the recording, filtered, says how many of how many are shown', () => {
  const printed = text('pages == 900 && backing != disconnected');
  expect(printed).toContain(
    'filter   pages == 900 && backing != disconnected\n         1 of 8 dma-bufs shown; 6 findings about others left out\n\n',
  );
  expect(printed).toContain('\ndma-buf 8 of udmabuf\n');
  expect(printed).not.toContain('dma-buf 7');
  expect(text('backing == disconnected')).toContain(
    '1 of 8 dma-bufs shown; 4 findings about others left out\n',
  );
});

test('a filter that nothing fits is no process without dma-bufs', () => {
  const printed = text('size > 1TiB');
  expect(printed).toContain('0 of 8 dma-bufs shown');
  expect(printed).not.toContain('holds no dma-buf');
});

test('JSON has the filter, and what it could not decide', () => {
  const untraced = { ...sample, resources: sample.resources.map(each => ({ ...each, virtio: null })) };
  const { json } = filterOf('resource == 3')(untraced);
  expect(json).toEqual({ text: 'resource == 3', shown: 0, of: 8, undecided: 8 });
  expect(filterOf('resource == 3')(sample).json).toMatchObject({ shown: 1, undecided: 0 });
  expect(filterOf('')(sample).json).toEqual({ text: '', shown: 8, of: 8, undecided: 0 });
});

test('a text that is no filter is wrong usage, and shown', () => {
  try {
    filterOf('zone == DMA32 && nod = 1');
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    expect([error.code, error.message, ...error.below]).toEqual([
      EXIT.usage,
      '--filter: A single “=” means nothing here. Did you mean ==?',
      '  zone == DMA32 && nod = 1',
      '                       ^',
    ]);
    return;
  }
  throw new Error('it was understood');
});
