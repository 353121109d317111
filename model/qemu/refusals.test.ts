import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRefusals } from './refusals.ts';

const create = 'virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST';
const parse = (text: string) => parseRefusals(text, 'log');

describe('what QEMU prints', () => {
  // The second and third of QEMU 7.2 on a host without the device, the others as the source prints them.
  test.each([
    [`qemu-system-x86_64: warning: ${create}: Invalid argument`, 'EINVAL'],
    [
      'qemu-system-x86_64: -device virtio-gpu-pci,blob=on: warning: open /dev/udmabuf: No such file or directory',
      'ENOENT',
    ],
    [
      'qemu-system-x86_64: -device virtio-gpu-pci,blob=on: cannot enable blob resources without udmabuf',
      null,
    ],
    [`2026-03-04T05:06:07.123456Z qemu-system-x86_64: warning: ${create}: Cannot allocate memory`, 'ENOMEM'],
    [`a guest: qemu-system-x86_64: warning: ${create}: File descriptor in bad state`, 'EBADFD'],
    ['qemu-system-x86_64: warning: open /dev/udmabuf: Permission denied', 'EACCES'],
    [
      'qemu-system-x86_64: warning: virtio_gpu_remap_udmabuf: dmabuf mmap failed: Cannot allocate memory',
      'ENOMEM',
    ],
    ['qemu-system-x86_64: device_add: need rutabaga or udmabuf for blob resources', null],
    [`qemu-system-x86_64: warning: ${create}: Ungültiges Argument`, null],
  ])('%s', (line, errno) => {
    expect(parse(`before\n${line}\nafter\n`)).toEqual([{ source: 'log', line, errno, times: 1 }]);
  });
  test('other lines of QEMU are none', () => {
    expect(parse('qemu-system-x86_64: warning: host doesn’t support requested feature\n')).toEqual([]);
    expect(parse('VFIO_MAP_DMA failed: Cannot allocate memory\n')).toEqual([]);
  });
});

test('the same message is counted, whatever stands before it; the first to come is first', () => {
  const text = `1Z q: warning: ${create}: Invalid argument\r\n2Z q: warning: ${create}: Cannot allocate memory\n3Z q: warning: ${create}: Invalid argument\r\n`;
  expect(parse(text).map(({ line, errno, times }) => [line.slice(0, 2), errno, times])).toEqual([
    ['3Z', 'EINVAL', 2],
    ['2Z', 'ENOMEM', 1],
  ]);
});

test('of a log of libvirt the last run alone', () => {
  const start = (day: number) =>
    `2026-03-0${day} 05:06:07.891+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4, qemu version: 7.2.22\n`;
  const refusal = `qemu: warning: ${create}: Invalid argument\n`;
  expect(parse(`${start(1)}${refusal}${refusal}${start(2)}${refusal}`)).toMatchObject([{ times: 1 }]);
  expect(parse(`${start(1)}${refusal}${start(2)}`)).toEqual([]);
  expect(parse(refusal)).toHaveLength(1);
});

test('with a trace in the same text, the resource of the line before', () => {
  const traced = readFileSync('test/fixtures/qemu-7.2/trace/stderr.txt', 'utf8');
  expect(parse(traced)).toMatchObject([{ times: 1, resources: [{ resourceId: 5, sizeBytes: 68157440 }] }]);
  expect(parse(readFileSync('test/fixtures/qemu-7.2/trace/stamped.txt', 'utf8'))).toMatchObject([
    { line: expect.stringContaining('a guest qemu'), resources: [{ resourceId: 5 }] },
  ]);
  // Without its own trace, or with another event after it.
  const [bare] = parse(readFileSync('test/fixtures/qemu-7.2/trace/file-stderr.txt', 'utf8'));
  expect(bare).not.toHaveProperty('resources');
  const late = traced.replace(/(?=qemu-system)/, 'virtio_gpu_cmd_res_flush res 0x2, w 1, h 1, x 0, y 0\n');
  expect(parse(late)[0]).not.toHaveProperty('resources');
  const many = Array.from(
    { length: 9 },
    (_, i) =>
      `virtio_gpu_cmd_res_create_blob res 0x${i}, size 4096\nq: warning: ${create}: Invalid argument\n`,
  );
  expect(parse(many.join(''))[0]).toMatchObject({
    times: 9,
    resources: Array.from({ length: 8 }, (_, i) => ({ resourceId: i + 1 })),
  });
});

test('any text: nothing is thrown, lines are bounded, each line is counted once', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(create, ': Invalid argument', '\n', '\r\n', 'open /dev/udmabuf: ', 'x'.repeat(700)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), pieces => {
      const text = pieces.join('');
      const found = parse(text);
      const lines = text.split('\n').filter(line => /udmabuf: /.test(line)).length;
      const times = found.reduce((sum, refusal) => sum + refusal.times, 0);
      expect(times).toBeLessThanOrEqual(lines);
      for (const { line } of found) {
        expect(line.length).toBeLessThanOrEqual(500);
        expect(line).not.toContain('\n');
      }
    }),
  );
});
