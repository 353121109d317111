import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GpuTraceReader, isTraced, parseTraceLine, parseTraceStates, TRACE_EVENTS } from './gpu-trace.ts';

const recorded = (name: string) => readFileSync(`test/fixtures/qemu-7.2/trace/${name}`, 'utf8');
const create = (id: number, size: number) =>
  `virtio_gpu_cmd_res_create_blob res 0x${id.toString(16)}, size ${size}\n`;
const scanout = (id: number, resource: number, w = 16, h = 16) =>
  `virtio_gpu_cmd_set_scanout_blob id ${id}, res 0x${resource.toString(16)}, w ${w}, h ${h}, x 0, y 0\n`;
const off = (id: number) => `virtio_gpu_cmd_set_scanout id ${id}, res 0x0, w 0, h 0, x 0, y 0\n`;
const unref = (id: number) => `virtio_gpu_cmd_res_unref res 0x${id.toString(16)}\n`;
const reset = 'virtio_gpu_features virgl 0\n';

function read(text: string, { fromStart = false, maxOutputs = 1 } = {}) {
  const reader = new GpuTraceReader({ fromStart, maxOutputs });
  reader.feed(text);
  return reader.state();
}
const shown = (text: string, options = {}) =>
  read(text, options).buffers.map(({ resourceId, sizeBytes, scanout }) => [resourceId, sizeBytes, scanout]);

describe('recorded of QEMU 7.2', () => {
  /** Before the reset of record-trace.ts, and after. */
  const parts = (name: string) => {
    const text = recorded(name);
    const at = text.search(/^.*virtio_gpu_features/m) === 0 ? text.indexOf(' res 0x0,') : -1;
    return [text.slice(0, text.indexOf('\n', at) + 1), text] as const;
  };
  test.each(['stderr.txt', 'file.txt', 'run-time.txt'])('%s', name => {
    const [before, all] = parts(name);
    const refused = name === 'stderr.txt' ? [] : [[5, 68157440, null]];
    expect(shown(before)).toEqual([[1, 8294400, null], [2, 8294400, null], [4, 65536, null], ...refused]);
    expect(read(before)).toMatchObject({ whole: true, sinceMs: null });
    expect(shown(all)).toEqual([[1, 8294400, 0]]);
  });
  test('with times, and other events between', () => {
    const { whole, sinceMs, buffers } = read(recorded('stamped.txt'));
    expect(whole).toBe(true);
    expect(buffers).toHaveLength(1);
    const [{ atMs, beforeMs } = { atMs: null, beforeMs: null }] = buffers;
    expect(new Date(atMs ?? 0).toISOString().slice(0, 10)).toBe(
      /^(\d{4}-\d\d-\d\d)T.* warning/m.exec(recorded('stamped.txt'))?.[1],
    );
    expect(sinceMs ?? 0).toBeLessThan(atMs ?? 0);
    expect(beforeMs ?? 0).toBeGreaterThan(atMs ?? 0);
  });
  test('states of events', () => {
    const states = parseTraceStates(JSON.parse(recorded('get-state.json')));
    for (const event of TRACE_EVENTS) expect(states?.get(event), event).toBe(true);
    expect(parseTraceStates({})).toBeNull();
    expect(parseTraceStates([{ name: 1, state: 'enabled' }])).toBeNull();
  });
});

describe('a line', () => {
  test.each([
    ['virtio_gpu_cmd_res_unref res 0xffffffff', { resourceId: 0xffffffff, atMs: null }],
    ['12@1700000000.000250:virtio_gpu_cmd_res_unref res 0x2\r', { resourceId: 2, atMs: 1700000000000.25 }],
    [
      'virtio_gpu_cmd_set_scanout id -1, res 0x1, w -1, h 2, x 0, y 0',
      { scanout: { id: 0xffffffff, width: 0xffffffff, height: 2 } },
    ],
    ['virtio_gpu_cmd_res_create_blob res 0x1, size -1', { resourceId: 1, sizeBytes: null }],
    ['virtio_gpu_cmd_res_create_blob res 0x1, size 9007199254740993', { sizeBytes: null }],
  ])('%s', (line, expected) => {
    expect(parseTraceLine(line)).toMatchObject(expected);
  });
  test('another event, a longer name, another program', () => {
    for (const line of [
      'virtio_gpu_cmd_res_flush res 0x1, w 1, h 1, x 0, y 0',
      'my_virtio_gpu_cmd_res_unref res 0x1',
      'virtio_gpu_fence_resp fence 0x1',
      '',
    ])
      expect(parseTraceLine(line)).toBeNull();
  });
  test('cut or mixed with another one: damaged', () => {
    for (const line of [
      'virtio_gpu_cmd_res_unref ',
      'virtio_gpu_cmd_res_create_blob res 0x1, size 1x',
      'virtio_gpu_cmd_res_unref res 0x1 hello',
      'virtio_gpu_cmd_res_unref res 0x123456789',
    ])
      expect(parseTraceLine(line), line).toBe('damaged');
  });
});

describe('what lives', () => {
  test('a log that began in the middle is whole from the next reset on', () => {
    expect(read(create(1, 4096))).toMatchObject({ whole: false, sinceMs: null });
    expect(read(create(1, 4096), { fromStart: true }).whole).toBe(true);
    expect(read(create(1, 4096) + reset + create(1, 8192))).toMatchObject({
      whole: true,
      buffers: [{ resourceId: 1, sizeBytes: 8192 }],
    });
  });
  test('a damaged line: from there on nothing is known', () => {
    const text = `${reset}${create(1, 4096)}virtio_gpu_cmd_res_create_blob res 0x2, si\n${create(3, 4096)}`;
    expect(read(text)).toMatchObject({ whole: false, buffers: [{ resourceId: 3 }] });
  });
  test('an id made twice: both may live, and what was shown is not known', () => {
    const text = reset + create(1, 4096) + create(2, 4096) + scanout(0, 2) + create(1, 4096);
    expect(shown(text)).toEqual([
      [1, 4096, 'unknown'],
      [2, 4096, 'unknown'],
      [1, 4096, 'unknown'],
    ]);
    expect(shown(text + scanout(0, 1)).map(row => row[2])).toEqual([0, null, 0]);
    expect(shown(text + unref(1))).toEqual([[2, 4096, 'unknown']]);
  });
  test('a refusal takes the buffer of the line before it, and no other', () => {
    const refusal = 'qemu: warning: virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: Invalid argument\n';
    expect(shown(reset + create(1, 4096) + create(2, 4096) + refusal)).toEqual([[1, 4096, null]]);
    expect(shown(reset + create(1, 4096) + unref(7) + refusal)).toEqual([[1, 4096, null]]);
    expect(shown(reset + create(1, 4096) + refusal + refusal)).toEqual([]);
  });
  test('what goes while somebody looks stays listed until he is done', () => {
    const reader = new GpuTraceReader({ fromStart: false, maxOutputs: 1 });
    reader.feed(reset + create(1, 4096) + create(2, 4096));
    reader.hold();
    reader.feed(unref(1) + create(1, 8192) + reset + create(3, 4096));
    const listed = () => reader.state().buffers.map(({ resourceId, sizeBytes }) => [resourceId, sizeBytes]);
    expect(listed()).toEqual([
      [1, 4096],
      [2, 4096],
      [1, 8192],
      [3, 4096],
    ]);
    reader.release();
    expect(listed()).toEqual([[3, 4096]]);
  });
  test('a log of libvirt: the last run', () => {
    const start = '2026-03-04 05:06:07.891+0000: starting up libvirt version: 9.0.0, qemu version: 7.2.22\n';
    expect(read(reset + create(1, 4096) + start + create(2, 4096))).toMatchObject({
      whole: false,
      buffers: [{ resourceId: 2 }],
    });
    expect(read(create(1, 4096) + start + create(2, 4096), { fromStart: true })).toMatchObject({
      whole: true,
      buffers: [{ resourceId: 2 }],
    });
  });
});

describe('scanouts', () => {
  const two = reset + create(1, 4096) + create(2, 4096);
  const of = (text: string, maxOutputs = 1) => shown(text, { maxOutputs }).map(row => row[2]);
  test.each([
    ['shown', scanout(0, 1), [0, null]],
    ['flipped', scanout(0, 1) + scanout(0, 2), [null, 0]],
    ['switched off', scanout(0, 1) + off(0), [null, null]],
    ['a scanout that the device does not have', scanout(1, 1), [null, null]],
    ['too small, so that QEMU refuses it', scanout(0, 1) + scanout(0, 2, 15), ['unknown', 'unknown']],
    ['larger than the buffer', scanout(0, 2, 64, 17), ['unknown', 'unknown']],
    ['a resource that is not there', scanout(0, 1) + scanout(0, 9), ['unknown', 'unknown']],
  ])('%s', (_, text, expected) => {
    expect(of(two + text)).toEqual(expected);
  });
  test('unreferenced while shown', () => {
    expect(of(two + scanout(0, 1) + unref(1))).toEqual([null]);
  });
  test('a resource that is no blob is shown instead', () => {
    const plain = 'virtio_gpu_cmd_res_create_2d res 0x7, fmt 0x2, w 640, h 480\n';
    const set = 'virtio_gpu_cmd_set_scanout id 0, res 0x7, w 640, h 480, x 0, y 0\n';
    expect(of(two + plain + scanout(0, 1) + set)).toEqual([null, null]);
  });
  test('a second output', () => {
    expect(of(two + scanout(1, 1), 2)).toEqual([1, null]);
  });
  test('not whole: known only of outputs that were set since', () => {
    const text = create(1, 4096) + create(2, 4096);
    expect(of(text)).toEqual(['unknown', 'unknown']);
    expect(of(text + scanout(0, 1))).toEqual([0, null]);
    expect(of(text + scanout(0, 1), 2)).toEqual([0, 'unknown']);
  });
});

test('any pieces: nothing is thrown, and cuts make no difference', () => {
  const stamped = recorded('stamped.txt');
  const lines = [
    ...stamped.split('\n').map(line => `${line}\n`),
    reset,
    create(1, 4096),
    unref(1),
    scanout(0, 1),
    off(0),
    '\n',
    'virtio_gpu_',
  ];
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...lines), fc.string({ unit: 'binary', maxLength: 40 })), {
        maxLength: 40,
      }),
      fc.infiniteStream(fc.integer({ min: 1, max: 60 })),
      (pieces, cuts) => {
        const text = pieces.join('');
        const reader = new GpuTraceReader({ fromStart: false, maxOutputs: 2 });
        for (let at = 0; at < text.length; ) {
          const length = cuts.next().value as number;
          reader.feed(text.slice(at, at + length));
          at += length;
        }
        expect(reader.state()).toEqual(read(text, { maxOutputs: 2 }));
      },
    ),
  );
});

test('patterns of -trace', () => {
  expect(isTraced('virtio_gpu_cmd_set_scanout', ['virtio_gpu_*'])).toBe(true);
  expect(isTraced('virtio_gpu_cmd_set_scanout', ['virtio_gpu_*', '-virtio_gpu_cmd_set_scanou?'])).toBe(false);
  expect(isTraced('virtio_gpu_cmd_set_scanout_blob', ['virtio_gpu_cmd_set_scanout'])).toBe(false);
  expect(isTraced('virtio_gpu_features', ['virtio.gpu*', 'virtio_gpu_cmd_*'])).toBe(false);
});

test('a pattern of -trace fits as a shell’s does, however it is made', () => {
  const event = 'virtio_gpu_cmd_res_unref';
  const piece = fc.oneof(
    fc.constantFrom('*', '?', 'virtio_', 'gpu', '_', 'cmd_res', '_unref', '.', '(', '[a-z]'),
    fc.nat(event.length - 1).map(at => event.slice(at, at + 3)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), pieces => {
      const glob = pieces.join('').replace(/^-/, '');
      const shell = glob
        .replace(/[.+^${}()|[\]\\]/g, '\\$&')
        .replaceAll('*', '.*')
        .replaceAll('?', '.');
      expect(isTraced(event, [glob])).toBe(new RegExp(`^${shell}$`).test(event));
    }),
    { numRuns: 2000 },
  );
  expect(isTraced(event, [`${'*?'.repeat(12)}z`])).toBe(false);
  expect(isTraced(event, [`${'*?'.repeat(5000)}z`])).toBe(false);
});
