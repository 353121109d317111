import { formatSpan } from '../format.ts';
import type { SampledResource } from '../run-columns.ts';
import type { Virtio } from '../snapshot.ts';
import { printable } from '../text.ts';
import { ageOf, bufferRule, created, sizeOf } from './buffer-rule.ts';
import { type Evidence, heldWord, type Rule, type Unjudged, whyMissing } from './rule.ts';
import { isIdle, recheckMember } from './use.ts';

/** How long a buffer may be idle before it is a warning. */
export const IDLE_MS = 60_000;
/** From which age on a buffer is told of as held for long. */
export const LONG_PIN_MS = 600_000;

const idlePin = bufferRule(
  {
    id: 'idle-pin',
    severity: 'warning',
    fires: `A udmabuf holds its pages while no device is attached and no process maps it: info at first, a warning after ${formatSpan(IDLE_MS)}.`,
    needs: ['attachments', 'holders', 'past'],
  },
  (resource, sample, past) => {
    const idle = isIdle(sample, resource);
    if (idle !== true) return idle === false ? null : idle;
    const since = past?.idleSince(resource.inode) ?? null;
    const span = since === null ? null : Date.parse(sample.takenAt) - since;
    const age = ageOf(sample, resource);
    const long = span !== null && span >= IDLE_MS;
    const word = heldWord(sample);
    const from = since === null ? 'now' : `since ${new Date(since).toISOString()}, in every sample`;
    return {
      severity: long ? 'warning' : 'info',
      title: `${sizeOf(resource)} ${word} with no device attached and no mapping${span !== null && span > 0 ? ` for ${formatSpan(span)}` : ''}`,
      explanation: [
        'Only file descriptors keep this buffer: nobody reads or writes it. A dma-buf is meant to be pinned only while a device maps it,',
        'but udmabuf takes its pages when the buffer is made and gives them back when its last reference goes.',
        span === null
          ? `Since when it is idle one sample cannot tell${age === null ? '' : `; at most for ${formatSpan(age)}, its age`}.`
          : `It was so in every sample for ${formatSpan(span)}.`,
      ].join(' '),
      remedy:
        'Close it where it is not needed (have the guest destroy the resource), or make it when it is used. A buffer that only waits for its next use is fine as long as its memory is not missed.',
      evidence: [
        {
          source: sample.sources.some(({ name, state }) => name === 'kernel-memory' && state === 'ok')
            ? 'kernel-memory'
            : 'bufinfo',
          field: `devices attached, ${from}`,
          value: '0',
          recheck: recheckMember(sample, resource.inode, '"attachments":[^]]*\\]'),
        },
        {
          source: '/proc/*/maps',
          field: `mappings, ${from}`,
          value: '0',
          recheck: `sudo sh -c 'cat /proc/[0-9]*/maps 2>/dev/null; true' | awk '$5==${resource.inode}&&$6~"^/dmabuf:"' | wc -l`,
        },
        created(sample, resource),
      ],
    };
  },
);

const longPin = bufferRule(
  {
    id: 'long-pin',
    severity: 'warning',
    fires: `A udmabuf holds its pages for more than ${formatSpan(LONG_PIN_MS)}: a warning if it is no scanout, info where that is not known.`,
    needs: ['created', 'scanout'],
  },
  (resource, sample) => {
    const age = ageOf(sample, resource);
    if (age === null)
      return whyMissing(
        'when it was made is not known',
        sample.sources,
        ['holders', 'kernel-memory'],
        'its inode could not be read',
      );
    const { virtio } = resource;
    // What is on a screen is there for as long as it is shown.
    if (age < LONG_PIN_MS || typeof virtio?.scanout === 'number') return null;
    const unshown = virtio?.scanout === null;
    const mapped = resource.holders.filter(({ mappings }) => mappings.length > 0);
    const users = [
      ...mapped.map(({ pid, comm }) => `${comm} (${pid}) maps it`),
      ...(resource.attachments ?? []).map(({ device }) => `${device} is attached`),
    ];
    return {
      severity: unshown ? 'warning' : 'info',
      title: `${sizeOf(resource)} ${heldWord(sample)} for ${formatSpan(age)}${unshown ? ', and no scanout' : ''}`,
      explanation: [
        'A udmabuf holds its pages for as long as it lives, “possibly forever”: they can be neither moved nor swapped, compaction and hot',
        'unplug have to leave them.',
        unshown
          ? `${whichResource(virtio)} is shown on no scanout, by QEMU’s trace.`
          : `Whether it is a scanout, which is rightly there for as long as it is shown, is not known${whyUnknown(sample)}.`,
        users.length > 0
          ? `${users.slice(0, 4).join(', ')}${users.length > 4 ? ` and ${users.length - 4} more` : ''}.`
          : '',
      ]
        .join(' ')
        .trim(),
      remedy:
        'Nothing has to be done for what is shown or worked on. Otherwise have the guest destroy the resource; keep guest memory that is held for long out of ZONE_MOVABLE and CMA.',
      evidence: [created(sample, resource), ...traceEvidence(sample, resource)],
    };
  },
);

const whichResource = ({ resourceId }: Virtio): string =>
  resourceId === null
    ? 'It is one of several resources of its size, none of which'
    : `It is resource ${resourceId}, which`;

/** Why the trace does not tell. */
function whyUnknown({ sources, target }: Unjudged): string {
  const trace = sources.find(({ name }) => name === 'qemu-trace');
  return trace === undefined || trace.state === 'ok'
    ? ''
    : ` (qemu-trace is ${trace.state}; pinscope doctor --pid ${target.pid} --explain long-pin says what would tell)`;
}

/** The line that made the resource, as virtio_gpu_cmd_res_create_blob of hw/display/trace-events prints it. */
function traceEvidence({ sources }: Unjudged, { virtio, sizeBytes }: SampledResource): Evidence[] {
  const trace = sources.find(({ name, state }) => name === 'qemu-trace' && state === 'ok');
  if (trace === undefined || virtio === null || virtio.scanout === 'unknown' || sizeBytes === null) return [];
  const made =
    virtio.resourceId === null
      ? `res 0x[0-9a-f]+, size ${sizeBytes}`
      : `res 0x${virtio.resourceId.toString(16)}, size ${sizeBytes}`;
  const file = trace.detail.replaceAll("'", "'\\''");
  return [
    {
      source: printable(trace.detail),
      field: 'trace of its creation; no later line shows it',
      value: `virtio_gpu_cmd_res_create_blob ${made}`,
      recheck: `sudo grep -aE 'virtio_gpu_(features|cmd_(set_scanout.*|res_create_blob ${made}))' '${file}'`,
    },
  ];
}

export const lifetimeRules: readonly Rule[] = [idlePin, longPin];
