import { equals } from '../../model/filter/combine.ts';
import { formatBytes, plural } from '../../model/format.ts';
import type { RamBackend, Target } from '../../model/snapshot.ts';
import { printable } from '../../model/text.ts';
import { hex } from '../../model/units.ts';
import type { Column } from '../tables/column.ts';

/** memfds that the process maps as guest RAM. */
export const ramColumns: readonly Column<RamBackend>[] = [
  {
    id: 'id',
    title: 'Backend',
    hint: 'QEMU’s id of the memory backend; ? where nothing tells which one this is.',
    width: 10,
    text: ({ id }) => printable(id ?? '?'),
    value: ({ id }) => id,
  },
  {
    id: 'inode',
    title: 'memfd',
    hint: 'Inode of the memfd.',
    width: 8,
    align: 'right',
    face: 'data',
    text: ({ inode }) => String(inode),
    value: ({ inode }) => inode,
    clause: ({ inode }) => equals('ram', inode),
  },
  {
    id: 'size',
    title: 'Size',
    hint: 'Size of the memfd.',
    width: 10,
    align: 'right',
    face: 'data',
    text: ({ sizeBytes }) => formatBytes(sizeBytes),
    value: ({ sizeBytes }) => sizeBytes,
  },
  {
    id: 'page',
    title: 'Pages of',
    hint: 'Page size of the memfd.',
    width: 8,
    align: 'right',
    face: 'data',
    text: ({ pageSizeBytes }) => (pageSizeBytes === null ? '?' : formatBytes(pageSizeBytes)),
    value: ({ pageSizeBytes }) => pageSizeBytes,
  },
  {
    id: 'share',
    title: 'Mapped',
    hint: 'shared: udmabuf sees what the guest writes. private: it never does (share=off).',
    width: 8,
    text: ({ share }) => (share ? 'shared' : 'private'),
    tone: ({ share }) => (share ? 'plain' : 'error'),
  },
  {
    id: 'sealed',
    title: 'F_SEAL_SHRINK',
    hint: 'udmabuf refuses a memfd without this seal.',
    width: 13,
    text: ({ sealed }) => (sealed === null ? '?' : sealed ? 'yes' : 'no'),
    value: ({ sealed }) => sealed,
    tone: ({ sealed }) => (sealed === false ? 'warning' : 'plain'),
  },
  {
    id: 'hva',
    title: 'In QEMU at',
    hint: 'Virtual address in the process.',
    width: 15,
    align: 'right',
    face: 'data',
    text: ({ hva }) => printable(hva),
  },
  {
    id: 'guest',
    title: 'In the guest at',
    hint: 'Guest physical addresses, first and last byte; ? without a monitor to ask.',
    width: 22,
    face: 'data',
    text: ({ guestRanges }) =>
      guestRanges === null
        ? '?'
        : guestRanges
            .map(({ gpa, bytes }) => `${printable(gpa)}–${hex(BigInt(gpa) + BigInt(bytes) - 1n)}`)
            .join(', '),
    value: ({ guestRanges }) => guestRanges?.map(range => ({ ...range })) ?? null,
  },
];

/** What the kernel accounts to the process, and its limit, in a sentence; udmabuf's pages are in none of the counters. */
export function lockedText(target: Target): string {
  const bytes = (value: number | null) => (value === null ? 'unknown' : formatBytes(value));
  const limit =
    target.memlockLimitBytes === null
      ? 'unknown'
      : target.memlockLimitBytes === 'unlimited'
        ? 'none'
        : formatBytes(Number(target.memlockLimitBytes));
  return `RLIMIT_MEMLOCK ${limit}, VmLck ${bytes(target.vmLckBytes)}, VmPin ${bytes(target.vmPinBytes)}, HugetlbPages ${bytes(target.hugetlbBytes)}.`;
}

/** Devices of the command line that matter to pinned pages, by kind. */
export function devicesText(devices: NonNullable<Target['devices']>): string {
  const kinds = [
    [devices.virtioGpu, 'virtio-gpu'],
    [devices.balloon, 'balloon'],
    [devices.virtioMem, 'virtio-mem'],
    [devices.vfio, 'vfio'],
    [devices.vdpa, 'vdpa'],
  ] as const;
  return `${kinds
    .map(([list, kind]) =>
      list.length === 0
        ? `no ${kind}`
        : `${plural(list.length, `${kind} device`)} (${list
            .map(({ id, driver, properties }) =>
              printable(
                [id ?? driver, ...('blob' in properties ? [`blob=${properties.blob}`] : [])].join(' '),
              ),
            )
            .join(', ')})`,
    )
    .join(', ')}.`;
}
