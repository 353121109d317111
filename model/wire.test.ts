import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { someResource, someRun, someSnapshot } from '../test/snapshots.ts';
import type { FromSampler, SamplerEvent } from './contract.ts';
import recorded from './recorded-snapshot.json' with { type: 'json' };
import { fromPageRuns, fromSnapshot, type RunColumns, type Sample, toSnapshot } from './run-columns.ts';
import type { PageRun, Snapshot } from './snapshot.ts';
import { decodeMessage, encodeMessage, WireError } from './wire.ts';

const sampleOf = (snapshot: Snapshot): FromSampler => ({
  kind: 'event',
  event: { type: 'sample', sample: fromSnapshot(snapshot), timing: null },
});
const back = (message: FromSampler) => decodeMessage(encodeMessage(message));

function sampleIn(message: FromSampler): Sample {
  if (message.kind !== 'event' || message.event.type !== 'sample') throw new Error('no sample');
  return message.event.sample;
}
const resourcesOf = (message: FromSampler) => sampleIn(message).resources;
const snapshotOf = (message: FromSampler) => toSnapshot(sampleIn(message));

/** Throws where a column is not within `buffer`, not of its length, or names what is not there. */
function checkColumns(message: FromSampler, buffer: ArrayBuffer): void {
  if (message.kind !== 'event' || message.event.type !== 'sample') return;
  for (const { pages } of message.event.sample.resources) {
    if (pages === null) continue;
    const { length, names, index, pfn, count, folioBytes, gpa, ramInode, ramOffset } = pages.runs;
    const { node, zone, migratetype, backing } = pages.runs;
    const wide = [index, pfn, count, folioBytes, gpa, ramInode, ramOffset];
    for (const column of [...wide, node, zone, migratetype, backing]) {
      expect(column.length).toBe(length);
      expect(column.buffer).toBe(buffer);
      expect(column.byteOffset % column.BYTES_PER_ELEMENT).toBe(0);
    }
    for (const index of [...zone, ...migratetype]) expect(index).toBeLessThan(names.length);
    for (const value of backing) expect(value).toBeLessThan(3);
  }
}

const events: readonly SamplerEvent[] = [
  { type: 'hello', contract: 1, samplerPid: 7, privilege: { state: 'root' }, periodMs: 1000 },
  {
    type: 'processes',
    list: {
      schema: 'pinscope.processes/1',
      takenAt: '2026-03-04T05:06:07.000Z',
      hiddenProcesses: 0,
      processes: [],
    },
  },
  { type: 'progress', what: 'pages \ud800 日本 \0', done: 1, total: 2 },
  { type: 'failed', target: { pid: 1, startTime: '2' }, gone: true, detail: 'it ended' },
  { type: 'privilege', privilege: { state: 'asking', level: 'pages' } },
];

describe('a message comes back as it was', () => {
  test.each(events)('event $type', event => {
    expect(back({ kind: 'event', event })).toEqual({ kind: 'event', event });
  });

  test('answers, also of nothing, and errors', () => {
    const messages: FromSampler[] = [
      { kind: 'answer', id: 3, value: { a: [1, null, 'x'] } },
      { kind: 'answer', id: 4, value: undefined },
      { kind: 'error', id: -1, message: 'refused' },
    ];
    for (const message of messages) expect(back(message)).toStrictEqual(message);
  });

  test.each([0, 1, 7, 8, 1000])('an answer of %i bytes', length => {
    const value = Uint8Array.from({ length }, (_, i) => i % 256);
    const encoded = encodeMessage({ kind: 'answer', id: 4, value });
    expect(decodeMessage(encoded)).toEqual({ kind: 'answer', id: 4, value });
    expect(() => decodeMessage(encoded.slice(0, -8))).toThrow(WireError);
  });

  test('the recorded snapshot, whose runs are views of the one buffer', () => {
    const snapshot = recorded as unknown as Snapshot;
    const buffer = encodeMessage(sampleOf(snapshot));
    const message = decodeMessage(buffer);
    checkColumns(message, buffer);
    expect(snapshotOf(message)).toEqual(snapshot);
  });

  const run = fc.record({
    index: fc.nat(),
    pfn: fc.nat(),
    count: fc.nat(),
    folioBytes: fc.nat(),
    node: fc.option(fc.nat({ max: 1023 })),
    zone: fc.option(fc.string()),
    migratetype: fc.option(fc.string({ unit: 'binary' })),
    gpa: fc.option(fc.nat().map(n => `0x${n.toString(16)}`)),
    ramInode: fc.option(fc.nat()),
    ramOffset: fc.option(fc.nat()),
    backing: fc.constantFrom('connected' as const, 'disconnected' as const, 'unknown' as const),
  });
  const pages = fc.option(fc.array(run, { maxLength: 9 }));

  test('any runs of any number of buffers, also none and unread ones', () => {
    fc.assert(
      fc.property(fc.array(pages, { maxLength: 6 }), lists => {
        const resources = lists.map((runs: PageRun[] | null, inode) => {
          const some = someResource({ inode });
          return { ...some, pages: runs && some.pages && { ...some.pages, runs } };
        });
        const snapshot = someSnapshot({ resources });
        const buffer = encodeMessage(sampleOf(snapshot));
        const message = decodeMessage(buffer);
        checkColumns(message, buffer);
        expect(snapshotOf(message)).toEqual(snapshot);
      }),
      { numRuns: 500 },
    );
  });

  test('unknown values and minus zero', () => {
    const runs: RunColumns = {
      ...fromPageRuns([someRun(), someRun()]),
      gpa: Float64Array.of(Number.NaN, -0),
      ramOffset: Float64Array.of(2 ** 53 - 1, Number.NaN),
    };
    const message = sampleOf(someSnapshot());
    const resources = resourcesOf(message).map(resource => ({
      ...resource,
      pages: resource.pages && { ...resource.pages, runs },
    }));
    const { event } = message as { event: SamplerEvent & { type: 'sample' } };
    const [resource] = resourcesOf(
      back({ kind: 'event', event: { ...event, sample: { ...event.sample, resources } } }),
    );
    const { gpa, ramOffset } = resource?.pages?.runs ?? {};
    expect([...(gpa ?? [])].map(value => Object.is(value, -0))).toEqual([false, true]);
    expect(gpa?.[0]).toBeNaN();
    expect([...(ramOffset ?? [])]).toEqual([2 ** 53 - 1, Number.NaN]);
  });

  test('columns of different lengths are refused where they are made', () => {
    const message = sampleOf(someSnapshot());
    const resource = resourcesOf(message)[0];
    const broken = { ...resource?.pages?.runs, pfn: new Float64Array(2) };
    Object.assign(resource?.pages ?? {}, { runs: broken });
    expect(() => encodeMessage(message)).toThrow(RangeError);
  });
});

describe('bytes that are no message are a WireError', () => {
  const snapshot = someSnapshot({
    resources: [someResource(), someResource({ inode: 8, pages: null }), someResource({ inode: 9 })],
  });
  const whole = encodeMessage(sampleOf(snapshot));

  test('any byte that changed', () => {
    const byte = fc.tuple(fc.nat({ max: whole.byteLength - 1 }), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(byte, ([at, flip]) => {
        const bytes = new Uint8Array(whole.slice(0));
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        expect(() => decodeMessage(bytes.buffer)).toThrow(WireError);
      }),
      { numRuns: 2000 },
    );
  });

  test('every beginning, and more behind the end', () => {
    for (let end = 0; end < whole.byteLength; end++)
      expect(() => decodeMessage(whole.slice(0, end))).toThrow(WireError);
    const longer = new Uint8Array(whole.byteLength + 8);
    longer.set(new Uint8Array(whole));
    expect(() => decodeMessage(longer.buffer)).toThrow(WireError);
  });

  test('any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        expect(() => decodeMessage(bytes.slice().buffer)).toThrow(WireError);
      }),
      { numRuns: 2000 },
    );
  });

  /** The same buffer with sums that fit: what a sender of another mind could send. */
  function sealed(buffer: ArrayBuffer): ArrayBuffer {
    const words = new Uint32Array(buffer);
    let [first, second] = [words[1] ?? 0, words.length - 4];
    for (const word of words.subarray(4)) {
      first = (first + word) >>> 0;
      second = (second + first) >>> 0;
    }
    words.set([first, second], 2);
    return buffer;
  }

  test('sums that fit make no index and no length pass', () => {
    expect(sealed(whole.slice(0))).toEqual(whole);
    const edit = fc.tuple(fc.nat({ max: whole.byteLength - 1 }), fc.nat({ max: 255 }));
    let kept = 0;
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), edits => {
        const bytes = new Uint8Array(whole.slice(0));
        for (const [at, value] of edits) bytes[at] = value;
        const buffer = sealed(bytes.buffer);
        let message: FromSampler;
        try {
          message = decodeMessage(buffer);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
          return;
        }
        kept++;
        checkColumns(message, buffer);
      }),
      { numRuns: 4000 },
    );
    expect(kept).toBeGreaterThan(0);
  });

  /** A message of this JSON and these bytes of columns. */
  function made(json: string, columns = 0): ArrayBuffer {
    const text = new TextEncoder().encode(json);
    const jsonEnd = 16 + Math.ceil(text.length / 8) * 8;
    const bytes = new Uint8Array(jsonEnd + columns).fill(0x20, 16, jsonEnd);
    bytes.set(text, 16);
    new Uint32Array(bytes.buffer).set([0x31575350, text.length]);
    return sealed(bytes.buffer);
  }
  const sample = (runs: unknown) =>
    JSON.stringify({
      kind: 'event',
      event: { type: 'sample', sample: { resources: [{ pages: { runs } }] } },
    });

  test('made by hand, a message passes', () => {
    expect(decodeMessage(made(sample({ length: 1, names: ['DMA'] }), 72)).kind).toBe('event');
  });

  test.each([
    ['no JSON', '{"kind":'],
    ['no object', 'null'],
    ['no kind', '{"id":1}'],
    ['no id', '{"kind":"answer"}'],
    ['an id that is no number', '{"kind":"error","id":"1","message":""}'],
    ['no message', '{"kind":"error","id":1}'],
    ['an event of no type', '{"kind":"event","event":{"type":"toString"}}'],
    ['no resources', '{"kind":"event","event":{"type":"sample","sample":{}}}'],
    ['a resource of no pages', '{"kind":"event","event":{"type":"sample","sample":{"resources":[{}]}}}'],
    ['a length below 0', sample({ length: -1, names: [] })],
    ['a length of no whole number', sample({ length: 0.5, names: [] })],
    ['a length past the end', sample({ length: 2 ** 52, names: [] })],
    ['names that are no texts', sample({ length: 0, names: [1] })],
    ['no names', sample({ length: 0 })],
    ['a name that is not there', sample({ length: 1, names: [] })],
    ['more columns than runs', sample({ length: 0, names: [] })],
    ['columns without pages', '{"kind":"answer","id":1}'],
  ])('%s', (_, json) => {
    expect(() => decodeMessage(made(json, 72))).toThrow(WireError);
  });

  test('text that is no UTF-8', () => {
    const buffer = made('{"kind":"error","id":1,"message":"x"}');
    const bytes = new Uint8Array(buffer);
    bytes[bytes.indexOf(0x78)] = 0xff;
    expect(() => decodeMessage(sealed(buffer))).toThrow(/no JSON/);
  });
});
