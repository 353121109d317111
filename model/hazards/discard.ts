import { formatBytes, plural } from '../format.ts';
import type { TargetDevice } from '../snapshot.ts';
import { deviceName, isOn, liveBlobs, recheckOptions, unknownDevices } from './blobs.ts';
import {
  type Evidence,
  type Outcome,
  type Reason,
  type Rule,
  type Unjudged,
  unlisted,
  whyMissing,
} from './rule.ts';

/*
 * Balloon, free page reporting, virtio-mem and incoming postcopy all end in ram_block_discard_range() of QEMU (softmmu/physmem.c),
 * a hole in the memfd. vfio and vdpa forbid what would cut them off (ram_block_discard_disable, ram_block_uncoordinated_discard_disable);
 * virtio-gpu does not, in any release up to 10.2.
 */

/** Something that may throw pages of the guest away. */
interface Discarder {
  readonly words: string;
  /** It is at work, not merely there. */
  readonly active: boolean;
  readonly evidence: Evidence;
}

const balloonOf = (sample: Unjudged, device: TargetDevice): Discarder => {
  const reports = isOn(device.properties['free-page-reporting']);
  return {
    words: reports
      ? `The balloon ${deviceName(device)} reports free pages (free-page-reporting=on), and QEMU discards each that it is told of`
      : `The balloon ${deviceName(device)} discards what the guest gives up when the balloon is inflated`,
    active: reports,
    evidence: {
      source: `/proc/${sample.target.pid}/cmdline`,
      field: `-device ${deviceName(device)}`,
      value: reports ? 'free-page-reporting=on' : 'no free page reporting',
      recheck: recheckOptions(sample, 'virtio-balloon'),
    },
  };
};

const virtioMemOf = (sample: Unjudged, device: TargetDevice): Discarder => ({
  words: `The memory device ${deviceName(device)} discards memory when it is unplugged, and all that is unplugged when the guest restarts`,
  active: false,
  evidence: {
    source: `/proc/${sample.target.pid}/cmdline`,
    field: `-device ${deviceName(device)}`,
    value: 'virtio-mem',
    recheck: recheckOptions(sample, 'virtio-mem'),
  },
});

/** Postcopy throws away what the source sent before and has changed since; at the destination, so with -incoming. */
function postcopyOf({ target }: Unjudged): Discarder | undefined {
  const { incoming, capabilities, status } = target.migration ?? {};
  const on = capabilities?.includes('postcopy-ram') ?? false;
  const running = /^postcopy-/.test(status ?? '');
  const over = status === 'completed' || status === 'failed' || status === 'cancelled';
  if (over || (!on && !running && (incoming ?? null) === null)) return undefined;
  // Precopy alone discards nothing.
  if (capabilities && !on && !running) return undefined;
  return {
    words: on
      ? 'Postcopy migration is allowed (postcopy-ram), which discards pages of the destination that are out of date'
      : 'This QEMU waits for a migration (-incoming), which discards pages if it becomes postcopy',
    active: on && (running || (incoming ?? null) !== null),
    evidence: {
      source: 'QMP query-migrate-capabilities, query-migrate',
      field: 'postcopy-ram, status, -incoming',
      value: `${capabilities ? (on ? 'on' : 'off') : 'unknown'}, ${status ?? 'none'}, ${(incoming ?? null) === null ? 'no' : 'yes'}`,
      recheck: `sudo pinscope snapshot --pid ${target.pid} --json | tr -d ' \\n' | grep -o '"migration":{[^}]*}'`,
    },
  };
}

/** Devices with which QEMU allows no discard that it does not coordinate: a balloon then does nothing. */
function inhibits({ target }: Unjudged): { balloon: boolean; all: boolean } {
  const { devices, open } = target;
  const vfio =
    (devices?.vfio.length ?? 0) > 0 || (open?.vfioDevices ?? 0) > 0 || (open?.vfioGroups.length ?? 0) > 0;
  const vdpa = (devices?.vdpa.length ?? 0) > 0 || (open?.vdpa?.length ?? 0) > 0;
  return { balloon: vfio || vdpa, all: vdpa };
}

function check(sample: Unjudged): Outcome {
  const whole = unlisted(sample);
  if (whole !== null) return { found: [], because: [whole] };
  const { target, sources } = sample;
  const live = liveBlobs(sample);
  if (target.kind !== 'qemu' || live.length === 0) return { found: [], because: [] };
  const because: Reason[] = [];
  const { devices, migration, qmp } = target;
  if (devices === null) because.push(unknownDevices(sample));
  if ((migration?.capabilities ?? null) === null)
    because.push(
      whyMissing(
        'whether postcopy is allowed is not known',
        sources,
        ['qmp', 'migration'],
        qmp === 'ok' ? 'QEMU did not say' : 'there is no monitor',
      ),
    );
  const inhibited = inhibits(sample);
  const discarders = [
    ...(inhibited.balloon ? [] : (devices?.balloon ?? []).map(device => balloonOf(sample, device))),
    ...(inhibited.all ? [] : (devices?.virtioMem ?? []).map(device => virtioMemOf(sample, device))),
    ...[postcopyOf(sample)].filter((each): each is Discarder => each !== undefined),
  ];
  if (discarders.length === 0) return { found: [], because };
  const active = discarders.some(each => each.active);
  const bytes = live.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
  return {
    found: [
      {
        resource: null,
        severity: active ? 'warning' : 'info',
        title: `Pages of ${plural(live.length, 'live buffer')} ${active ? 'are open to being discarded' : 'could be discarded'}`,
        explanation: `${discarders.map(({ words }) => `${words}.`).join(' ')} QEMU forbids this beside vfio and vdpa, and not beside virtio-gpu: a page of a live buffer (${formatBytes(bytes)} now) that is thrown away stays with the buffer and is lost to the guest, see disconnected. It takes a guest that gives up pages of a buffer in use, or a restart or migration${active ? '' : '; merely having it does nothing'}.`,
        remedy:
          'Run blob=true without it (virtio-balloon, virtio-mem, free-page-reporting=on, postcopy-ram), or leave it and look for disconnected after each use of it.',
        evidence: [
          ...discarders.map(({ evidence }) => evidence),
          {
            source: 'maps, fdinfo',
            field: 'live buffers',
            value: `${live.length}, ${formatBytes(bytes)}`,
            recheck: `sudo grep -c '/dmabuf:' /proc/${target.pid}/maps; sudo ls -l /proc/${target.pid}/fd | grep -c '/dmabuf:'`,
          },
        ],
      },
    ],
    because,
  };
}

export const discardRules: readonly Rule[] = [
  {
    id: 'discard-possible',
    severity: 'warning',
    fires:
      'Balloon, virtio-mem, free page reporting or postcopy beside live buffers, and nothing inhibits them.',
    needs: ['devices', 'migration', 'buffers', 'open-devices'],
    check,
  },
];
