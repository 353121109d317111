import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseQemuCommandLine } from '../model/qemu/cmdline.ts';
import { loadNative } from '../native/index.ts';
import { HostFiles } from './files.ts';
import { QemuTraces, TRACE_PATTERNS } from './qemu-trace.ts';

const dir = mkdtempSync(join(tmpdir(), 'pinscope-trace-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const gpu = ['qemu', '-device', 'virtio-gpu-pci,blob=true'];
const reset = 'virtio_gpu_features virgl 0\n';
const create = (id: number) => `virtio_gpu_cmd_res_create_blob res 0x${id}, size 4096\n`;
const flip = 'virtio_gpu_cmd_set_scanout_blob id 0, res 0x1, w 16, h 16, x 0, y 0\n';
const off = 'virtio_gpu_cmd_set_scanout id 0, res 0x0, w 0, h 0, x 0, y 0\n';
const on = (change: Record<string, boolean> = {}) =>
  new Map(
    Object.entries({
      virtio_gpu_cmd_res_create_blob: true,
      virtio_gpu_cmd_set_scanout: true,
      virtio_gpu_cmd_set_scanout_blob: true,
      ...change,
    }),
  );
const OPENED_BY_FOPEN = constants.O_WRONLY | constants.O_CREAT;

interface Made {
  readonly path: string;
  readonly pid: number;
  readonly traces: QemuTraces;
  read(
    argv?: readonly string[],
    states?: ReadonlyMap<string, boolean> | null,
    meanwhile?: () => void,
  ): ReturnType<QemuTraces['end']>;
}

/** A process whose fd `fd` is a file with this text; its standard error is thrown away unless it is that. */
async function withLog(text: string, use: (made: Made) => Promise<void>, fd = 2): Promise<void> {
  const path = join(dir, `it’s a log ${Math.random()}`);
  writeFileSync(path, text);
  const opened = openSync(path, OPENED_BY_FOPEN);
  const child = spawn('sleep', ['60'], {
    stdio: Array.from({ length: fd + 1 }, (_, i) => (i === fd ? opened : 'ignore')),
  });
  await once(child, 'spawn');
  const files = new HostFiles();
  const traces = new QemuTraces();
  const pid = child.pid ?? 0;
  try {
    await use({
      path,
      pid,
      traces,
      async read(argv = gpu, states = null, meanwhile = () => {}) {
        const request = { pid, commandLine: parseQemuCommandLine(argv), states };
        const began = await traces.begin(files, loadNative(), request);
        if (began.state !== 'ok') return began as never;
        meanwhile();
        return traces.end(files, request);
      },
    });
  } finally {
    child.kill();
    closeSync(opened);
  }
}
const listed = (reading: Awaited<ReturnType<Made['read']>>) =>
  reading.state === 'ok'
    ? reading.value.buffers.map(({ resourceId, scanout }) => [resourceId, scanout])
    : reading.detail;

describe('a real process', () => {
  test.each([2, 5])('the file behind fd %d, read on from sample to sample', async fd => {
    await withLog(
      reset + create(1),
      async ({ path, read }) => {
        const traced = [...gpu, ...TRACE_PATTERNS.flatMap(pattern => ['-trace', pattern])];
        expect(listed(await read(traced))).toEqual([[1, null]]);
        appendFileSync(path, create(2) + flip);
        expect(listed(await read(traced, null, () => appendFileSync(path, create(3))))).toEqual([
          [1, 0],
          [2, null],
          [3, null],
        ]);
        // Emptied, as logrotate's copytruncate does.
        writeFileSync(path, reset);
        expect(listed(await read(traced))).toEqual([]);
      },
      fd,
    );
  });
  test('a first look at a long log leaves turns to others', async () => {
    const pieces = 16;
    const text = reset + create(1) + flip.repeat((pieces * 2 ** 20) / flip.length) + create(2);
    await withLog(text, async ({ read }) => {
      let turns = 0;
      const count = setInterval(() => turns++, 0);
      expect(listed(await read())).toEqual([
        [1, 'unknown'],
        [2, 'unknown'],
      ]);
      clearInterval(count);
      expect(turns).toBeGreaterThan(pieces / 2);
    });
  });
  test('where the recorded trace lies', async () => {
    await withLog(
      readFileSync('test/fixtures/qemu-7.2/trace/run-time.txt', 'utf8'),
      async ({ pid, read }) => {
        expect(await read()).toMatchObject({ state: 'ok', source: `/proc/${pid}/fd/7` });
        expect(listed(await read())).toEqual([[1, 0]]);
      },
      7,
    );
  });
  test('scanouts are told only where both of their events are known to be traced', async () => {
    await withLog(reset + create(1) + flip, async ({ path, read }) => {
      expect(listed(await read())).toEqual([[1, 'unknown']]);
      expect(listed(await read(gpu, on()))).toEqual([[1, 0]]);
      expect(listed(await read(gpu, on({ virtio_gpu_cmd_set_scanout: false })))).toEqual([[1, 'unknown']]);
      appendFileSync(path, off);
      expect(listed(await read())).toEqual([[1, null]]);
    });
  });
  test('what is not known says why', async () => {
    await withLog(create(1), async ({ read }) => {
      expect(listed(await read())).toContain('began after resources may have been made');
      expect(listed(await read([...gpu, '-trace', 'virtio_gpu_*']))).toEqual([[1, null]]);
      expect(listed(await read(gpu, on({ virtio_gpu_cmd_res_create_blob: false })))).toContain(
        'does not trace',
      );
      expect(listed(await read([...gpu, '-device', 'virtio-vga']))).toContain('2 virtio-gpu devices');
      expect(listed(await read(['qemu']))).toContain('has no virtio-gpu');
      expect(listed(await read([...gpu, '-incoming', 'defer']))).toContain('came from another QEMU');
      expect(listed(await read([...gpu, '-loadvm', 'x']))).toContain('from a snapshot');
    });
    await withLog('qemu: hello\n', async ({ path, read }) => {
      expect(listed(await read())).toMatch(
        new RegExp(`a trace of virtio-gpu is not in ${path}; start QEMU with -D FILE -trace`),
      );
    });
  });
  test('a file that is open for reading too, a disk image or a serial log of a chardev, is none', async () => {
    const path = join(dir, 'image');
    writeFileSync(path, reset + create(1));
    const image = openSync(path, 'r+');
    const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', image] });
    await once(child, 'spawn');
    try {
      const request = { pid: child.pid ?? 0, commandLine: parseQemuCommandLine(gpu), states: null };
      expect(await new QemuTraces().begin(new HostFiles(), loadNative(), request)).toMatchObject({
        state: 'absent',
        detail: expect.stringContaining('cannot be read back'),
      });
    } finally {
      child.kill();
      closeSync(image);
    }
  });
});
