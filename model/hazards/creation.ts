import { capital, formatBytes, plural } from '../format.ts';
import type { Refusal } from '../snapshot.ts';
import { printable } from '../text.ts';
import { blobDevices, deviceEvidence, deviceName, liveBlobs, ofBlobs } from './blobs.ts';
import {
  type Cause,
  deviceCauses,
  holeCauses,
  hugetlbCauses,
  hugetlbRefused,
  limitCauses,
  memoryCauses,
  noMemoryCauses,
} from './causes.ts';
import {
  type Evidence,
  type Outcome,
  type Reason,
  type Rule,
  type Told,
  type Unjudged,
  whyMissing,
} from './rule.ts';

/** Causes of one error, the likeliest first; one that is certain stands alone. */
function causesOf(sample: Unjudged, { errno, line }: Refusal): Cause[] {
  const candidates = /virtio_gpu_create_udmabuf/.test(line)
    ? createCauses(sample, errno)
    : deviceCauses(sample, errno);
  const certain = candidates.filter(cause => cause.certain);
  return certain.length > 0 ? certain : candidates;
}

function createCauses(sample: Unjudged, errno: string | null): Cause[] {
  switch (errno) {
    case 'EINVAL': {
      const limits = limitCauses(sample);
      return [...memoryCauses(sample), ...limits.known, ...holeCauses(sample), ...limits.open];
    }
    case 'ENOMEM':
      return noMemoryCauses(sample);
    case 'EBADFD':
      return [...memoryCauses(sample), ...hugetlbCauses(sample)];
    case 'EMFILE':
      return [
        {
          certain: true,
          words: 'QEMU has as many files open as it may (EMFILE): a buffer takes a file',
          apart: 'Max open files of /proc/PID/limits is reached',
          fix: 'start QEMU with a higher limit (ulimit -n, LimitNOFILE=, max_files of libvirt’s qemu.conf)',
          evidence: [
            {
              source: `/proc/${sample.target.pid}/limits`,
              field: 'Max open files',
              value: 'reached, by the error',
              recheck: `grep 'open files' /proc/${sample.target.pid}/limits; sudo ls /proc/${sample.target.pid}/fd | wc -l`,
            },
          ],
        },
      ];
    default:
      return [];
  }
}

/** Refusals of a creation; a failed mmap afterwards is another thing. */
const isRefusal = ({ line }: Refusal): boolean => !/virtio_gpu_remap_udmabuf/.test(line);

const refusalEvidence = ({ target }: Unjudged, { source, line, times }: Refusal): Evidence => ({
  source: printable(source),
  field: `message of QEMU, ${plural(times, 'time')}`,
  value: printable(line),
  recheck: source.startsWith('/var/log/libvirt/')
    ? 'sudo grep -a udmabuf /var/log/libvirt/qemu/*.log'
    : `sudo grep -a udmabuf /proc/${target.pid}/fd/2`,
});

/** By QEMU's trace; empty without. */
function whichResources(refusals: readonly Refusal[]): string {
  const all = refusals.flatMap(({ resources }) => resources ?? []);
  if (all.length === 0) return '';
  const times = refusals.reduce((sum, refusal) => sum + refusal.times, 0);
  const names = all.map(
    ({ resourceId, sizeBytes }) =>
      `resource ${resourceId}${sizeBytes === null ? '' : ` of ${formatBytes(sizeBytes)}`}`,
  );
  return `By its trace ${all.length === 1 ? 'it was' : 'they were'} ${listOf(names)}${all.length < times ? `, and ${times - all.length} that it does not name` : ''}. `;
}

const listOf = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;

/** Distinct causes, in order. */
function distinctCauses(all: readonly Cause[]): Cause[] {
  const seen = new Map(all.map(cause => [cause.words, cause]));
  return [...seen.values()];
}

function listed(causes: readonly Cause[]): string {
  const [only] = causes;
  if (!only) return 'No cause that is known for this error fits what was read.';
  if (causes.length === 1) return `It is refused because ${only.words}.`;
  return `What is left after the readings, the likeliest first: ${causes
    .map(({ words, apart }, i) => `(${i + 1}) ${words} — told by: ${apart}`)
    .join('; ')}.`;
}

function remedyOf(causes: readonly Cause[]): string {
  const [first] = causes;
  if (!first) return 'Look at the guest’s kernel log and at QEMU’s command line with the line above.';
  if (causes.every(({ certain }) => certain))
    return `${capital(causes.map(({ fix }) => fix).join('; and '))}.`;
  const fix = capital(first.fix);
  return causes.length === 1
    ? `${fix}.`
    : `${fix}. If it is another cause: ${causes
        .slice(1)
        .map((cause, i) => `(${i + 2}) ${cause.fix}`)
        .join('; ')}.`;
}

function seen(sample: Unjudged, refusals: readonly Refusal[]): Told {
  const causes = distinctCauses(refusals.flatMap(refusal => causesOf(sample, refusal)));
  const times = refusals.reduce((sum, refusal) => sum + refusal.times, 0);
  const errors = [...new Set(refusals.flatMap(({ errno }) => errno ?? []))];
  const still = causes.some(({ certain }) => certain);
  return {
    resource: null,
    severity: still ? 'error' : 'warning',
    title: `QEMU was refused a buffer ${plural(times, 'time')}${errors.length > 0 ? ` (${errors.join(', ')})` : ''}`,
    explanation: `QEMU has printed that it could not make a buffer of a blob; the guest then sees “response 0x1200” and a black screen. ${whichResources(refusals)}${listed(causes)}`,
    remedy: remedyOf(causes),
    evidence: [
      ...refusals.map(refusal => refusalEvidence(sample, refusal)),
      ...causes.flatMap(({ evidence }) => evidence),
    ],
  };
}

/** What will be refused, by the configuration alone. */
function certainCauses(sample: Unjudged): Cause[] {
  if (blobDevices(sample).length === 0) return [];
  return [
    ...memoryCauses(sample).filter(({ certain }) => certain),
    ...(hugetlbRefused(sample) === 'likely' ? hugetlbCauses(sample) : []),
    ...limitCauses(sample).known.filter(({ certain }) => certain),
  ];
}

const foreseen = (causes: readonly Cause[]): Told => ({
  resource: null,
  severity: 'warning',
  title: causes.some(({ certain }) => certain)
    ? 'The configuration makes QEMU’s next buffer fail'
    : 'QEMU’s next buffer will most likely fail',
  explanation: `No refusal was seen yet. ${causes.map(({ words }) => `UDMABUF_CREATE_LIST will be refused because ${words}.`).join(' ')} QEMU starts all the same: it looks only for a memory backend whose file has seals.`,
  remedy: remedyOf(causes),
  evidence: causes.flatMap(({ evidence }) => evidence),
});

function checkRefused(sample: Unjudged): Outcome {
  const { target, sources } = sample;
  const because: Reason[] = [];
  if (target.devices === null)
    because.push(
      whyMissing(
        'the configuration is not known',
        sources,
        ['cmdline'],
        'the command line could not be read',
      ),
    );
  const told = target.refusals ?? null;
  if (told === null)
    because.push(whyMissing('what QEMU printed is not known', sources, ['refusals'], 'it was not read'));
  const refusals = (told ?? []).filter(isRefusal);
  if (refusals.length > 0) return { found: [seen(sample, refusals)], because };
  const causes = certainCauses(sample);
  return { found: causes.length > 0 ? [foreseen(causes)] : [], because };
}

function checkWithout(sample: Unjudged): Outcome {
  const { target, sources, host } = sample;
  if (target.devices === null)
    return {
      found: [],
      because: [
        whyMissing(
          'it is not known whether blob=on',
          sources,
          ['cmdline'],
          'the command line could not be read',
        ),
      ],
    };
  const [device] = blobDevices(sample);
  if (!device) return { found: [], because: [] };
  const because: Reason[] = [];
  const works = liveBlobs(sample).some(({ exporter }) => exporter === 'udmabuf');
  const causes = memoryCauses(sample);
  if ((target.machineMemory ?? null) === null)
    because.push(
      whyMissing(
        'what the guest’s memory lies in is not known',
        sources,
        ['machine-memory'],
        'it was not read',
      ),
    );
  const open = target.open ?? null;
  if (!works && (open?.udmabuf === 0 || (open === null && host.kernel.udmabufEra === 'absent'))) {
    const errno =
      host.udmabuf.device === 'absent' || host.kernel.udmabufEra === 'absent' ? 'ENOENT' : 'EACCES';
    causes.push(...deviceCauses(sample, errno));
  } else if (!works && open === null)
    because.push(
      whyMissing(
        'whether QEMU has /dev/udmabuf open is not known',
        sources,
        ['open-devices'],
        'it was not read',
      ),
    );
  if (causes.length === 0) return { found: [], because };
  return {
    found: [
      {
        resource: null,
        ...(works ? { severity: 'warning' as const } : {}),
        title: works
          ? 'blob=on, and part of the guest’s memory cannot become buffers'
          : 'blob=on, and no blob of this guest can become a buffer',
        explanation: `${deviceName(device)} lets the guest make blobs, and QEMU turns each that has more than one piece of memory into a udmabuf. Here it cannot: ${causes.map(({ words }) => words).join('; ')}. QEMU starts without a word about its memory, and the guest’s screen stays black or blobs are copied.`,
        remedy: remedyOf(causes),
        evidence: [
          deviceEvidence(sample, device, `${deviceName(device)}: blob=on`),
          ...causes.flatMap(({ evidence }) => evidence),
        ],
      },
    ],
    because,
  };
}

export const creationRules: readonly Rule[] = [
  {
    id: 'create-refused',
    severity: 'error',
    fires: 'QEMU has told of a refused UDMABUF_CREATE_LIST, or its configuration makes one certain.',
    needs: ['devices', 'limits', 'machine-memory', 'ram', 'refusals'],
    check: ofBlobs(checkRefused),
  },
  {
    id: 'blob-without-udmabuf',
    severity: 'error',
    fires: 'blob=on, but the device, its permissions, seals or the memory backend make it useless.',
    needs: ['devices', 'machine-memory', 'open-devices', 'udmabuf-device'],
    check: ofBlobs(checkWithout),
  },
];
