import { formatBytes, formatSpan, plural } from '../format.ts';
import { type PastPoint, pointOf } from './past.ts';
import { mayBeUdmabuf, type Outcome, type Rule, type Unjudged, unlisted } from './rule.ts';

/** Fewer buffers than these are no leak, however they grew. */
export const LEAK_BUFFERS = 16;
/** Samples and time that growth has to go on for. A start that is over is flat again within a quarter of the time. */
export const LEAK_SAMPLES = 8;
export const LEAK_MS = 60_000;
const QUARTERS = 4;

/** The first and the last point of a growth. */
interface Growth {
  readonly from: PastPoint;
  readonly to: PastPoint;
  readonly samples: number;
}

/**
 * The longest stretch up to now in which a value never fell, at least doubled, and rose in every quarter of the time: what grows
 * at a start, and then stays, is flat in the last one.
 * @param points oldest first, the newest is now
 */
export function growth(points: readonly PastPoint[], value: (point: PastPoint) => number): Growth | null {
  const to = points.at(-1);
  if (!to) return null;
  let first = points.length - 1;
  while (first > 0 && valueAt(points, first - 1, value) <= valueAt(points, first, value)) first--;
  for (; points.length - first >= LEAK_SAMPLES; first++) {
    const from = points[first] as PastPoint;
    if (to.time - from.time < LEAK_MS) return null;
    if (value(to) < 2 * value(from) || value(to) === 0) continue;
    if (risesThroughout(points.slice(first), value)) return { from, to, samples: points.length - first };
  }
  return null;
}

const valueAt = (points: readonly PastPoint[], i: number, value: (point: PastPoint) => number): number =>
  value(points[i] as PastPoint);

function risesThroughout(points: readonly PastPoint[], value: (point: PastPoint) => number): boolean {
  const [from] = points;
  const to = points.at(-1);
  if (!from || !to) return false;
  let before = value(from);
  for (let quarter = 1; quarter <= QUARTERS; quarter++) {
    const until = from.time + ((to.time - from.time) * quarter) / QUARTERS;
    let now = before;
    for (const point of points) if (point.time <= until) now = value(point);
    if (now <= before) return false;
    before = now;
  }
  return true;
}

export const leakRules: readonly Rule[] = [
  {
    id: 'leak',
    severity: 'warning',
    fires: `Buffers, or bytes of them, grow from sample to sample: at least doubled over ${formatSpan(LEAK_MS)} or more, in every quarter of the time, never fewer.`,
    needs: ['buffers', 'past'],
    check: (sample, past) => {
      const whole = unlisted(sample);
      if (whole !== null) return { found: [], because: [whole] };
      const mine = sample.resources.filter(mayBeUdmabuf);
      // So few buffers are no leak, whatever was before.
      if (mine.length < LEAK_BUFFERS) return { found: [], because: [] };
      const time = Date.parse(sample.takenAt);
      const points = [...(past?.points ?? []).filter(point => point.time < time), pointOf(sample, time)];
      const span = time - (points[0]?.time ?? time);
      if (past === null || points.length < LEAK_SAMPLES || span < LEAK_MS) {
        const seen = `${plural(points.length, 'sample')} over ${formatSpan(span)}`;
        return {
          found: [],
          because: [
            `growth takes time to see: ${seen} so far, of ${LEAK_SAMPLES} over ${formatSpan(LEAK_MS)} that it needs`,
          ],
        };
      }
      return judge(sample, points);
    },
  },
];

function judge(sample: Unjudged, points: readonly PastPoint[]): Outcome {
  // Bytes of which a part is unknown may seem to grow when it becomes known.
  const sized = sample.resources.every(({ sizeBytes }) => sizeBytes !== null);
  const buffers = growth(points, point => point.buffers);
  const bytes = sized ? growth(points, point => point.bytes) : null;
  const grown = buffers ?? bytes;
  if (!grown) return { found: [], because: [] };
  const { from, to, samples } = grown;
  const span = formatSpan(to.time - from.time);
  const { pid, kind } = sample.target;
  return {
    found: [
      {
        resource: null,
        title: buffers
          ? `${from.buffers} buffers became ${to.buffers} in ${span}, and never fewer`
          : `${formatBytes(from.bytes)} of buffers became ${formatBytes(to.bytes)} in ${span}, and never less`,
        explanation: [
          `In every quarter of the ${span} that this process was watched, buffers were made and none was let go of. Each holds its pages`,
          'until its last fd, mapping and importer is gone, and no limit of the process (RLIMIT_MEMLOCK, for one) counts them.',
          kind === 'qemu'
            ? 'A guest that makes blobs and never destroys them does this, and so does a QEMU that loses the fd of a buffer.'
            : 'A program that gets buffers and never closes them does this.',
        ].join(' '),
        remedy:
          kind === 'qemu'
            ? 'Look in the guest for the program that makes blob resources (its compositor, mostly) and end it; a reset of the guest (system_reset) destroys its resources: buffers that are there afterwards are QEMU’s leak.'
            : 'End the process that grows; look at which fds of its are dma-bufs, and who sent them.',
        evidence: [
          {
            source: `/proc/${pid}/fd`,
            field: `buffers in ${plural(samples, 'sample')}, ${new Date(from.time).toISOString()} to ${new Date(to.time).toISOString()}`,
            value: `${from.buffers} → ${to.buffers}, ${formatBytes(from.bytes)} → ${formatBytes(to.bytes)}`,
            recheck: `sudo ls -l /proc/${pid}/fd | grep -c '/dmabuf:'`,
          },
        ],
      },
    ],
    because: [],
  };
}
