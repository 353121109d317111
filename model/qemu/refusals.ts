import type { Refusal } from '../snapshot.ts';
import { parseTraceLine, type TraceLine } from './gpu-trace.ts';

/**
 * What QEMU prints when a udmabuf cannot be made: ui/udmabuf.c (`open /dev/udmabuf: …`), hw/display/virtio-gpu-udmabuf.c
 * (`virtio_gpu_create_udmabuf: UDMABUF_CREATE_LIST: …`, `virtio_gpu_remap_udmabuf: dmabuf mmap failed: …`) and
 * virtio-gpu-base.c (`cannot enable blob resources …` of 7.2, `need rutabaga or udmabuf …` of 10.x).
 */
const MESSAGE =
  /(?:virtio_gpu_(?:create|remap)_udmabuf: [^\n]*|open \/dev\/udmabuf: [^\n]*|cannot enable blob resources without udmabuf|need rutabaga or udmabuf for blob resources)/;

/** libvirt keeps one log a guest: this line of its qemuLogOperation() begins each run. */
const STARTING = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+\d{4}: starting up libvirt version/m;

/** strerror(3) of the C locale. */
const ERRNO: Readonly<Record<string, string>> = {
  'Invalid argument': 'EINVAL',
  'Cannot allocate memory': 'ENOMEM',
  'File descriptor in bad state': 'EBADFD',
  'Bad file descriptor': 'EBADF',
  'Bad address': 'EFAULT',
  'Too many open files': 'EMFILE',
  'Too many open files in system': 'ENFILE',
  'Permission denied': 'EACCES',
  'Operation not permitted': 'EPERM',
  'No such file or directory': 'ENOENT',
  'No such device': 'ENODEV',
  'No such device or address': 'ENXIO',
  'Inappropriate ioctl for device': 'ENOTTY',
};

/** Longest part of a line that is kept. */
const MOST_CHARACTERS = 500;
/** Resources of a message that are kept. */
const MOST_RESOURCES = 8;

/**
 * Refusals in a piece of QEMU's standard error, one a message whatever stands before it (program, time, guest), in the order in
 * which they first came; `line` is the last one of its message, cut after 500 characters. Of a log of libvirt only the last run
 * counts. Where the same text has QEMU's trace, a refusal is about the resource of the trace line before it: one thread prints both
 * (virtio_gpu_resource_create_blob() of hw/display/virtio-gpu.c). Nothing is thrown: a text without such lines has none.
 */
export function parseRefusals(text: string, source: string): Refusal[] {
  const from = lastStart(text);
  const found = new Map<string, Refusal>();
  let before: TraceLine | 'damaged' | null = null;
  for (const line of text.slice(from).split('\n')) {
    const message = MESSAGE.exec(line)?.[0].replace(/\r$/, '');
    if (message === undefined) {
      // Any other event of the device's commands is of a later one.
      if (line.includes('virtio_gpu_')) before = parseTraceLine(line);
      continue;
    }
    const refused = message.startsWith('virtio_gpu_create_udmabuf') ? createdBy(before) : [];
    before = null;
    const resources = [...(found.get(message)?.resources ?? []), ...refused].slice(-MOST_RESOURCES);
    found.set(message, {
      source,
      line: line.replace(/\r$/, '').slice(0, MOST_CHARACTERS),
      errno: ERRNO[/: ([^:]*)$/.exec(message)?.[1] ?? ''] ?? null,
      times: (found.get(message)?.times ?? 0) + 1,
      ...(resources.length > 0 ? { resources } : {}),
    });
  }
  return [...found.values()];
}

function createdBy(line: TraceLine | 'damaged' | null): NonNullable<Refusal['resources']> {
  if (line === null || line === 'damaged' || line.event !== 'virtio_gpu_cmd_res_create_blob') return [];
  return [{ resourceId: line.resourceId, sizeBytes: line.sizeBytes }];
}

function lastStart(text: string): number {
  let from = 0;
  for (const match of text.matchAll(new RegExp(STARTING, 'gm'))) from = match.index;
  return from;
}
