import type { GpuTrace, Shown, TracedBuffer } from '../qemu/gpu-trace.ts';
import type { Virtio } from '../snapshot.ts';

/** A dma-buf that udmabuf made and QEMU has mapped. */
export interface MappedBuffer {
  readonly inode: number;
  readonly sizeBytes: number | null;
  /** ms since 1970, rounded down; null: not known. */
  readonly createdMs: number | null;
}

/** The kernel stamps an inode with the time of the last tick (ktime_get_coarse_real_ts64), at 100 Hz up to 10 ms ago. */
const TICK_MS = 10;

function fits({ sizeBytes, createdMs }: MappedBuffer, traced: TracedBuffer): boolean {
  if (sizeBytes === null || sizeBytes !== traced.sizeBytes) return false;
  if (traced.atMs === null || createdMs === null) return true;
  return createdMs >= traced.atMs - TICK_MS - 1 && (traced.beforeMs === null || createdMs <= traced.beforeMs);
}

/**
 * Which resource each dma-buf is, by what both sides know: order and size, and time where the trace has it. The dma-bufs are matched
 * to the traced buffers in every way that keeps their order; a dma-buf is what all of these ways agree on. That is right because the
 * true way is one of them: QEMU makes dma-bufs one by one, in the order of its trace (hw/display/virtio-gpu.c), and the kernel
 * counts their inodes upwards (dma_buf_getfile() of drivers/dma-buf/dma-buf.c, since 5.18). Buffers that no trace can have seen are
 * left out. Nothing is told where inodes and times disagree on the order, or no way is left.
 * @param mine in any order
 * @returns by inode; one that is not told is not in it
 */
export function joinTrace(mine: readonly MappedBuffer[], trace: GpuTrace): Map<number, Virtio> {
  const ordered = [...mine].sort((a, b) => a.inode - b.inode);
  if (ordered.some(({ createdMs }, i) => (createdMs ?? 0) < (ordered[i - 1]?.createdMs ?? 0)))
    return new Map();
  const { sinceMs } = trace;
  const buffers = trace.whole
    ? ordered
    : ordered.filter(({ createdMs }) => createdMs !== null && sinceMs !== null && createdMs >= sinceMs);
  const first = embed(buffers, trace.buffers);
  const last = embed([...buffers].reverse(), [...trace.buffers].reverse())
    ?.reverse()
    .map(place => trace.buffers.length - 1 - place);
  if (!first || !last) return new Map();
  const told = buffers.flatMap((buffer, i): [number, Virtio][] => {
    const ways = trace.buffers.slice(first[i], (last[i] ?? -1) + 1).filter(traced => fits(buffer, traced));
    const virtio = agreed(ways);
    return virtio === null ? [] : [[buffer.inode, virtio]];
  });
  return new Map(told);
}

/** For each buffer the first place that leaves room for those before it; null: they do not fit. */
function embed(buffers: readonly MappedBuffer[], traced: readonly TracedBuffer[]): number[] | null {
  const places: number[] = [];
  let next = 0;
  for (const buffer of buffers) {
    while (next < traced.length && !fits(buffer, traced[next] as TracedBuffer)) next++;
    if (next === traced.length) return null;
    places.push(next++);
  }
  return places;
}

function agreed(ways: readonly TracedBuffer[]): Virtio | null {
  const only = <T>(values: Iterable<T>): T | undefined => {
    const distinct = new Set(values);
    return distinct.size === 1 ? [...distinct][0] : undefined;
  };
  const resourceId = only(ways.map(way => way.resourceId)) ?? null;
  const shown = only(ways.map(({ scanout }): Shown => scanout));
  const scanout = shown === undefined ? 'unknown' : shown;
  return resourceId === null && scanout === 'unknown' ? null : { resourceId, scanout };
}
